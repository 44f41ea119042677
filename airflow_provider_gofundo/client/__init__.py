"""One request: authorised, paced, retried, and checked."""
