"""What ends the demo early: one line that says what happened and what to do."""

from __future__ import annotations


class DemoError(Exception):
    """The message is all that is shown."""
