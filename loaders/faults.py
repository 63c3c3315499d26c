"""What a framework's exception says, as callers may read it. Never raises anything itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MAX_TEXT: Final = 200


def first_line(error: Exception) -> str:
    """An error in one line, without the folders of this machine."""
    if isinstance(error, OSError) and error.filename:
        return f"{type(error).__name__}: {error.strerror}: {Path(str(error.filename)).name!r}"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:_MAX_TEXT]}".rstrip(": ")
