"""A bound on what a piece of code may allocate, for libraries that believe what a file announces.

The kernel's own limit on a process's data, lowered for a while: an allocation beyond it fails as if
memory had run out, before a page of it is touched. It is the process's, so other threads are under
it meanwhile. There is room to spare for them; who runs out of it all the same tries again
:func:`unbounded`, since who runs beside a load did nothing wrong.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final


class _Bounds:
    """At most one is in place."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.Lock()
        self.turn = 0  # counts each that is put and each that is lifted: odd while one is in place
        self._changing = threading.Lock()
        self._before = (0, 0)
        self._without = 0  # who must not be under one just now

    def put(self, most: int) -> None:
        with self._changing:
            if self._without:
                return
            soft, hard = self._before = resource.getrlimit(resource.RLIMIT_DATA)
            limits = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_DATA, (min([most, *limits]), hard))
            self.turn += 1

    def lift(self, *, without: int = 0) -> None:
        """``without``: that one more, or one less, must not be under a bound from here on."""
        with self._changing:
            self._without += without
            if self.turn % 2:
                resource.setrlimit(resource.RLIMIT_DATA, self._before)
                self.turn += 1


class Bound:
    """One that is in place, or was."""

    def __init__(self, extra: int) -> None:
        self._extra = extra
        self._had = _data_bytes()

    def is_taken_by_others(self) -> bool:
        """Once the bounded code has let go what it had: whether others have most of the room."""
        return _data_bytes() - self._had > self._extra // 2


_bounds: Final = _Bounds()


@contextmanager
def at_most(extra: int) -> Iterator[Bound]:
    """Let the process take about ``extra`` bytes more than it has now."""
    with _bounds.one_at_a_time:  # else the last to leave would put back the first one's limit
        _bounds.put(_data_bytes() + extra)
        try:
            yield Bound(extra)
        finally:
            _bounds.lift()


def turn() -> int:
    """For :func:`was_bounded`, to be asked before."""
    return _bounds.turn


def was_bounded(since: int) -> bool:
    """Whether a bound is in place, or was at any time since ``turn()``."""
    return bool(since % 2) or _bounds.turn != since


@contextmanager
def unbounded() -> Iterator[None]:
    """In here there is no bound: one that is in place is lifted, and what it was for goes on."""
    _bounds.lift(without=1)
    try:
        yield
    finally:
        _bounds.lift(without=-1)


def _data_bytes() -> int:
    """What the process has of the memory that the limit counts, and its stack."""
    pages = Path("/proc/self/statm").read_bytes().split()[5]
    return int(pages) * resource.getpagesize()
