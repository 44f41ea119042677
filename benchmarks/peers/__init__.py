"""The contenders: one file each, run by a Python of its own environment, printing one line of JSON."""
