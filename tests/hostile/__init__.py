"""A corpus of hostile artifacts and requests that the tests build themselves, and what it proves.

Every sample would leave a mark in a canary's folder if any of it ran. None may.
"""
