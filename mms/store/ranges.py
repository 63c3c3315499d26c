"""One artifact out of several ranges: in order, a few ahead, bounded in memory, verified.

Knows nothing of S3's client: how to get a range is handed in.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import zlib
from collections import deque
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, Self

from mms.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from concurrent.futures import Executor

    Blocks = list[bytes]
    GetRange = Callable[["Plan", int, threading.Event], Blocks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An object to read: which, how big, and in which portions."""

    target: str
    etag: str
    size: int
    part_bytes: int
    window: int
    deadline: float


def windowed(
    head: Generator[bytes, None, None], get_range: GetRange, plan: Plan, threads: Executor
) -> Generator[bytes, None, None]:
    """``head`` has the first part; then the ranges after it, ``window - 1`` of them on their way.

    ``get_range(plan, start, stop)`` runs in ``threads`` and gives up when ``stop`` is set, which is
    when the reader has closed early or failed.
    """
    stop = threading.Event()
    starts = iter(range(plan.part_bytes, plan.size, plan.part_bytes))

    def ask(n: int) -> list[Future[list[bytes]]]:
        return [threads.submit(get_range, plan, start, stop) for start in islice(starts, n)]

    pending = deque[Future[list[bytes]]]()
    try:
        pending.extend(ask(plan.window - 1))
        yield from head
        while pending:
            part = result_of(pending.popleft(), plan.deadline)
            pending.extend(ask(1))
            yield from part
    finally:
        stop.set()
        head.close()
        for future in pending:
            future.cancel()


def result_of(future: Future[list[bytes]], deadline: float) -> list[bytes]:
    """What a request that is on its way brings, before the deadline."""
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        future.cancel()
        raise StoreUnavailable(
            "the model store is too slow: the time for this load is over"
        ) from None
    except CancelledError:
        raise StoreUnavailable("the model store was closed") from None


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class Checksum:
    """The checksum that came with an object, of its bytes as a whole."""

    def __init__(self, running: _Hash, expected: str) -> None:
        self._running = running
        self._expected = expected

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self | None:
        """The one to hold the bytes against; None if there is none that we can compute.

        A value with a dash is a checksum of checksums of parts, whose sizes we don't know.
        """
        for name, make in (
            ("crc32", _Crc32),
            ("sha256", hashlib.sha256),
            ("sha1", lambda: hashlib.sha1(usedforsecurity=False)),
        ):
            value = headers.get(f"x-amz-checksum-{name}")
            if value and "-" not in value:
                return cls(make(), value)
        return None

    def update(self, block: bytes) -> None:
        self._running.update(block)

    def verify(self) -> None:
        if base64.b64encode(self._running.digest()).decode() != self._expected:
            raise StoreUnavailable("the artifact was damaged on its way: its checksum is wrong")


class S3Stream:
    """An artifact's bytes, whatever requests they come from."""

    def __init__(
        self,
        blocks: Generator[bytes, None, None],
        *,
        etag: str,
        size: int,
        checksum: Checksum | None,
        release: Callable[[], None],
    ) -> None:
        self.etag = etag
        self.size = size
        self._blocks = blocks
        self._checksum = checksum
        self._release = release
        self._left = memoryview(b"")
        self._to_come = size

    def read(self, n: int = -1, /) -> bytes:
        if n < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if not self._left:
            block = self._next_block()
            if len(block) <= n:
                return block
            self._left = memoryview(block)
        taken, self._left = self._left[:n], self._left[n:]
        return bytes(taken)

    def close(self) -> None:
        """Also in the middle: gives up what is on its way."""
        self._blocks.close()
        self._release()  # a generator that never ran doesn't run its own clean-up

    def _next_block(self) -> bytes:
        block = next(self._blocks, b"")
        self._to_come -= len(block)
        if not block and self._to_come:
            raise StoreUnavailable("the model store cut an answer short")
        if self._checksum is not None:
            self._checksum.update(block)
            if not self._to_come:
                self._checksum.verify()
        return block
