"""How a script, or a default in its place, says no to a request."""

from __future__ import annotations


class ScriptError(Exception):
    """The script itself says no to a request, with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreadable(Exception):
    """The script reads no such content type."""


class Unwritable(Exception):
    """The script writes no such content type."""
