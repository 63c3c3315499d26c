"""Proportional set size: the memory of the processes below the front, shared pages shared out.

Synchronous, and slow for big processes (the kernel walks their pages): call it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def pss_bytes(pid: int) -> int | None:
    """``None`` when the process is gone, or is another user's by now."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def pss_of(pids: Iterable[int]) -> dict[int, int]:
    """By process; those that are gone are left out."""
    found = ((pid, pss_bytes(pid)) for pid in pids)
    return {pid: size for pid, size in found if size is not None}
