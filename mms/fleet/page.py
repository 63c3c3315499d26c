"""The status page: 4 KiB of memory that a worker writes and the front reads, without messages.

So the front knows of a worker that is dead or stopped what it could no longer say: whether its
heart beat, and which batches it had started. Native 64-bit words, each written at once::

    0      heartbeat: the worker's monotonic clock, ns; every 500 ms, by a thread of its own
    8..71  one for each thread that runs batches: the id of the batch it has started, or 0

A worker may write anything here: the front takes it for numbers that concern that worker alone. The
size is sealed, for a page that shrinks under the reader would kill the front (SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from typing import Final

BYTES: Final = 4096
SLOTS: Final = 64
_FIRST: Final = 8


class StatusPage:
    """One side's mapping; :meth:`create` in the front, :meth:`attach` in the worker."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, BYTES)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls) -> tuple[StatusPage, int]:
        """A fresh page, and the descriptor to hand to the worker (the caller closes it)."""
        fd = os.memfd_create("mms-status", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, BYTES)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return cls(fd), fd
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> StatusPage:
        """The worker's mapping; takes the descriptor over."""
        try:
            return cls(fd)
        finally:
            os.close(fd)

    def beat(self) -> None:
        self._words[0] = time.monotonic_ns()

    def start(self, slot: int, batch_id: int) -> None:
        self._words[_FIRST + slot] = batch_id

    def end(self, slot: int) -> None:
        self._words[_FIRST + slot] = 0

    def heartbeat(self) -> int:
        return self._words[0]

    def started(self) -> frozenset[int]:
        """The batches that run now, or that ran when the worker died."""
        return frozenset(self._words[_FIRST : _FIRST + SLOTS]) - {0}

    def close(self) -> None:
        self._words.release()
        self._map.close()
