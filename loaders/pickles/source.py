"""A pickle's bytes, decompressed on the way, bounded.

Owns opening a ``.joblib`` or ``.pkl`` file as joblib would (zlib, gzip, bz2, xz, lzma) with two
limits that joblib lacks: how much may come out of a compressed file, and that no single read asks
for more than can be there. Never writes, never maps memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from loaders.base import LoadError
from loaders.pickles.extent import Keys, Walk
from loaders.sniff import HEAD_BYTES, compression

MAX_RATIO: Final = 200
"""How many bytes may come out per byte that went in; models compress 2 to 50 times."""
FREE_BYTES: Final = 64 << 20
"""Small files may exceed the ratio up to this size."""
MAX_BYTES: Final = 16 << 30
_MAX_COPIES: Final = 4  # of all bytes: a call's argument may be the state of what it makes
_MAX_WALKS: Final = 4  # of every byte: an item takes one at least, and is part of few states
_FREE_ITEMS: Final = 1 << 20
_FEW: Final = 64  # states of objects; what is longer holds no array that is copied
_BUFFER_BYTES = 1 << 18
BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)


class _Zlib(io.RawIOBase):
    """A zlib stream as a file; the standard library has one for every other kind."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._inflate.eof:
            tail = self._inflate.unconsumed_tail
            block = tail or self._file.read(_BUFFER_BYTES)
            data = self._inflate.decompress(block, len(view))
            if data:
                view[: len(data)] = data
                return len(data)
            if not block:
                raise EOFError("the zlib stream ends in the middle")
        return 0


class _Counted(io.RawIOBase):
    """Passes on what it reads up to ``limit`` bytes; then the file is a bomb."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.passed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        n = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self.passed += n
        if self.passed > self._limit:
            raise LoadError("the model file unpacks to far more than its size, so it is refused")
        return cast("int", n)


class Source:
    """What the unpickler reads from: a file whose reads are never larger than ``limit``."""

    def __init__(self, file: io.BufferedReader[Any], limit: int, passed: Callable[[], int]) -> None:
        self._file = file
        self._limit = limit
        self._passed = passed
        self._copied = 0
        self._walked = 0
        self.readline = file.readline
        self.keys = Keys()

    def check(self, n: int) -> None:
        """Refuse to allocate ``n`` bytes that can't come."""
        if not 0 <= n <= self._limit:
            raise LoadError("the model file is corrupt: it announces more bytes than it can hold")

    def charge(self, *things: Any) -> None:
        """Count what is copied; one that copies the same again and again grows without bounds."""
        self._walk(things)
        self._copied += sum(map(_weight, things))
        if self._copied > _MAX_COPIES * self._limit + FREE_BYTES:
            raise LoadError("the pickle unpacks to far more than its size, so it is refused")

    def _walk(self, things: tuple[Any, ...]) -> None:
        """Look at what is about to be used, and don't look at the same for ever."""
        walk = Walk()
        for thing in things:
            walk.into(thing)
        self._walked += walk.count
        if self._walked > _MAX_WALKS * self._passed() + _FREE_ITEMS:
            raise LoadError("the pickle uses the same large things again and again: refused")

    def read(self, n: int) -> bytes:
        if n > self._limit:
            self.check(n)
        return self._file.read(n)

    def readinto(self, view: memoryview) -> None:
        """Fill ``view`` wholly."""
        done = 0
        while done < len(view):
            n = self._file.readinto(view[done:])
            if not n:
                raise EOFError("the file ends within an array")
            done += n


def _weight(thing: Any) -> int:
    """How many bytes or items are copied of it, by the types that can be large."""
    if isinstance(thing, np.ndarray):
        return int(thing.nbytes)
    if isinstance(thing, (str, bytes, bytearray)):
        return len(thing)
    if not isinstance(thing, (list, tuple, dict)):
        return 0
    is_state = isinstance(thing, tuple) and len(thing) <= _FEW
    return len(thing) + (sum(map(_weight, thing)) if is_state else 0)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a pickle for reading, whatever it is compressed with."""
    size = path.stat().st_size
    with io.BufferedReader(path.open("rb", buffering=0), _BUFFER_BYTES) as file:
        kind = compression(file.peek(HEAD_BYTES)[:HEAD_BYTES])
        if kind is None:
            yield Source(file, size, file.tell)
            return
        limit = min(max(size * MAX_RATIO, FREE_BYTES), MAX_BYTES)
        with _decompressed(file, kind) as plain:
            counted = _Counted(plain, limit)
            yield Source(io.BufferedReader(counted, _BUFFER_BYTES), limit, lambda: counted.passed)


def _decompressed(file: BinaryIO, kind: str) -> BinaryIO:
    if kind == "zlib":
        return cast("BinaryIO", _Zlib(file))
    if kind == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if kind == "bz2":
        return cast("BinaryIO", bz2.BZ2File(file))
    if kind in {"xz", "lzma"}:
        return cast("BinaryIO", lzma.LZMAFile(file))
    raise LoadError(
        f"the model is compressed with {kind}, which isn't supported: save it again with "
        "joblib.dump(model, path, compress=3)"
    )
