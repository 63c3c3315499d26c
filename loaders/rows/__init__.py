"""Requests fitted to models: rows and tensors in, arrays out."""
