"""What a store is: where artifacts come from. Synchronous; the engine calls it in threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mms.errors import StoreUnavailable

if TYPE_CHECKING:
    from mms.types import TargetModel


class NotModified(Exception):
    """The store still has the version that was named in ``known_etag``."""


class StoreRefused(StoreUnavailable):
    """Bucket or credentials are wrong: waiting won't help, an operator will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a store has done since it was made; the metrics read it."""

    requests: dict[tuple[str, str], int]  # (op, outcome) -> count
    bytes: int


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

    def check(self) -> None:
        """Once at start: raises ``StoreUnavailable`` or ``ValidationError`` saying what is wrong.

        A store that is merely down is no reason not to start.
        """
        ...

    def stats(self) -> StoreStats: ...

    def close(self) -> None: ...
