"""What a pull costs, beside what users would pick instead: `make bench`."""
