"""A folder on this machine as a store. Reads below its root only, whatever links say."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mms.errors import ModelNotFound, StoreUnavailable, ValidationError
from mms.store.base import Denied, Listed, NotModified, StoreStats, missing
from mms.store.local_listing import etag_of, walk
from mms.types import TargetModel

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_BLOCK = 1 << 20
_CHANGED = "the artifact was changed while it was read"
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
_DENIED = {errno.EACCES, errno.EPERM}


class LocalStream:
    """An open file; notices when it is changed under the reader."""

    def __init__(
        self,
        fd: int,
        found: os.stat_result,
        *,
        is_over: Callable[[], bool],
        count: Callable[[int], None],
    ) -> None:
        self.etag = etag_of(found)
        self.size = found.st_size
        self._fd = fd
        self._is_over = is_over
        self._left = self.size
        self._count = count

    def read(self, n: int = -1, /) -> bytes:
        if n < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if self._is_over():
            raise StoreUnavailable("the model folder is too slow: the time for this load is over")
        try:
            block = os.read(self._fd, min(n, self._left)) if n and self._left else b""
            changed = etag_of(os.fstat(self._fd)) != self.etag
        except OSError as exc:
            raise StoreUnavailable(f"the model folder can't be read: {exc.strerror}") from exc
        if changed or (n and self._left and not block):
            raise StoreUnavailable(_CHANGED)
        self._left -= len(block)
        self._count(len(block))
        return block

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LocalStore:
    """The artifacts below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.id = str(root.absolute())
        self._is_closed = False
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._bytes = 0

    def open(self, target: TargetModel, *, known_etag: str | None, deadline: float) -> LocalStream:
        """Open a file; its etag is made of its time, size and inode."""
        try:
            stream = self._open(target, deadline)
        except ModelNotFound:
            self._note("not_found")
            raise
        except StoreUnavailable:
            self._note("error")
            raise
        if stream.etag == known_etag:
            stream.close()
            self._note("not_modified")
            raise NotModified
        self._note("ok")
        return stream

    def list(self, prefix: str = "", *, after: str = "", deadline: float) -> Iterator[Listed]:
        """The files as a bucket lists its objects; each walk counts as one request."""
        try:
            yield from walk(self._root, prefix, after, deadline)
        except OSError as exc:
            self._note("error", op="list")
            raise _problem(exc, prefix) from exc
        except StoreUnavailable:
            self._note("error", op="list")
            raise
        self._note("ok", op="list")

    def read_all(
        self, listed: Sequence[Listed], *, deadline: float
    ) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
        """File by file: a disk has nothing on its way."""
        for one in listed:
            with closing(self._open_listed(one, deadline)) as stream:
                yield one, iter(partial(stream.read, _BLOCK), b"")

    def _open_listed(self, one: Listed, deadline: float) -> LocalStream:
        try:
            stream = self.open(TargetModel(one.key), known_etag=None, deadline=deadline)
        except Denied:
            raise
        except ModelNotFound as exc:
            raise StoreUnavailable(_CHANGED) from exc
        if stream.etag != one.etag:
            stream.close()
            raise StoreUnavailable(_CHANGED)
        return stream

    def check(self) -> None:
        if not self._root.is_dir():
            raise ValidationError(
                f"the model folder {self._root} doesn't exist or is no folder: "
                "name one that does, or s3://bucket/prefix/ (MMS_MODELS)"
            )
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise ValidationError(f"the model folder {self._root} may not be read by this user")

    def stats(self) -> StoreStats:
        with self._lock:
            return StoreStats(requests=dict(self._requests), bytes=self._bytes)

    def close(self) -> None:
        """What is being read ends with an error, so that no thread holds up the process's end."""
        self._is_closed = True

    def _open(self, target: TargetModel, deadline: float) -> LocalStream:
        try:
            # A pipe must not block the open.
            # As text: a Path would drop the slash at the end, and a file would have two names.
            fd = os.open(f"{self._root}/{target}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise _problem(exc, target) from exc
        except ValueError:  # a NUL in the name
            raise missing(target) from None
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and self._is_inside(fd):
            return LocalStream(
                fd,
                found,
                is_over=lambda: self._is_closed or time.monotonic() >= deadline,
                count=self._count,
            )
        os.close(fd)
        raise missing(target)

    def _is_inside(self, fd: int) -> bool:
        """Asked of the open file, so that no link can be changed between check and use."""
        return Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(self._root.resolve())

    def _count(self, n: int) -> None:
        with self._lock:
            self._bytes += n

    def _note(self, outcome: str, *, op: str = "get") -> None:
        with self._lock:
            self._requests[op, outcome] += 1


def _problem(exc: OSError, target: str) -> Exception:
    if exc.errno in _MISSING:
        return missing(target)
    if exc.errno in _DENIED:
        return Denied(f"model {target!r}: missing, or no permission to read it")
    return StoreUnavailable(f"the model folder can't be read: {exc.strerror}")
