"""Pickles read without running anything that came in them."""
