"""What a store is: where artifacts come from. Synchronous; the engine calls it in threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mms.errors import ModelNotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from datetime import datetime

    from mms.types import TargetModel


class NotModified(Exception):
    """The store still has the version that was named in ``known_etag``."""


class Denied(ModelNotFound):
    """The store says 403 for this one: missing, or not for us; it doesn't tell."""


class StoreRefused(StoreUnavailable):
    """Bucket or credentials are wrong: waiting won't help, an operator will."""


def missing(target: str) -> ModelNotFound:
    """The error for what isn't in the store; a folder is easily asked for without its slash."""
    hint = "" if "." in target.rpartition("/")[2] else "; a folder's name ends with a slash"
    return ModelNotFound(f"model {target!r} was not found: the store has no such object{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a store has done since it was made; the metrics read it."""

    requests: dict[tuple[str, str], int]  # (op, outcome) -> count
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of a listing; ``key`` is relative to the store's prefix."""

    key: str
    etag: str
    size: int
    modified: datetime


class ArtifactStream(Protocol):
    """An artifact's bytes, in order, once. Closing early is allowed and releases everything."""

    etag: str
    size: int  # bytes, as announced; read() raises StoreUnavailable when fewer arrive

    def read(self, n: int = -1, /) -> bytes:
        """Up to ``n`` bytes, b"" at the end. Raises StoreUnavailable when the store fails."""
        ...

    def close(self) -> None: ...


class ArtifactStore(Protocol):
    """One prefix of artifacts."""

    id: str  # "s3://bucket/prefix/" or the local folder: part of the disk tier's key

    def open(
        self, target: TargetModel, *, known_etag: str | None, deadline: float
    ) -> ArtifactStream:
        """Open an artifact with a single request.

        ``deadline`` is on ``time.monotonic``'s clock and covers reading too. Raises NotModified,
        ModelNotFound, StoreUnavailable. Does no retries of its own: :mod:`mms.store.fetch` does.
        """
        ...

    def list(self, prefix: str = "", *, after: str = "", deadline: float) -> Iterator[Listed]:
        """The objects whose keys begin with ``prefix`` and come after ``after``.

        In the order of code points (some servers: folder by folder). Asks page by page as it is
        read. Raises Denied to who may not list, StoreUnavailable.
        """
        ...

    def read_all(
        self, listed: Sequence[Listed], *, deadline: float
    ) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
        """Each object's blocks, in the versions listed: several at once are on their way.

        In any order, each to be read before the next is taken. Raises StoreUnavailable where an
        object was changed or deleted since, Denied. Closing early releases everything.
        """
        ...

    def check(self) -> None:
        """Once at start: raises ``StoreUnavailable`` or ``ValidationError`` saying what is wrong.

        A store that is merely down is no reason not to start.
        """
        ...

    def stats(self) -> StoreStats: ...

    def close(self) -> None: ...
