"""The SHA-256 of what passes by: of a big stream in a thread beside the one that reads it.

Hashing leaves Python's lock alone, so a second processor does it while the first unpacks and
writes. At most a few blocks wait to be hashed, and no thread outlives its ``Digest``.
"""

from __future__ import annotations

import hashlib
import threading
from queue import Queue
from typing import Self

_BIG = 4 << 20  # less is hashed sooner than a thread is there
_BEHIND = 8  # blocks


class Digest:
    """A context manager: in it, every block is given to ``update``, then ``hexdigest`` asked."""

    def __init__(self, size: int) -> None:
        """``size`` is what is announced; more or less may come."""
        self._hash = hashlib.sha256()
        self._waiting: Queue[bytes | None] = Queue(_BEHIND)
        self._thread: threading.Thread | None = None
        if size >= _BIG:
            self._thread = threading.Thread(target=self._work, name="mms-digest", daemon=True)
            self._thread.start()

    def update(self, block: bytes) -> None:
        if self._thread is None:
            self._hash.update(block)
        else:
            self._waiting.put(block)

    def hexdigest(self) -> str:
        """Of all blocks; none may follow."""
        self._end()
        return self._hash.hexdigest()

    def _work(self) -> None:
        while (block := self._waiting.get()) is not None:
            self._hash.update(block)

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
