"""A small fuzzer for the places where bytes from outside come in: ``python -m tests.fuzz``."""
