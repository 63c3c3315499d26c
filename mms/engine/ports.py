"""What the engine needs from its surroundings: where artifacts come from, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mms.errors import MmsError
from mms.types import Artifact, Tier


class StillBroken(Exception):
    """The store still has the very version that is known not to load."""


class ArtifactFault(Exception):
    """The artifact with this ETag can't be unpacked; ``error`` says why."""

    def __init__(self, error: MmsError, etag: str) -> None:
        super().__init__(error.message)
        self.error = error
        self.etag = etag


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artifact on this machine, held there until ``release`` is called."""

    artifact: Artifact
    tier: Tier
    seconds: float
    bytes: int  # over the wire
    release: Callable[[], None]


class Source(Protocol):
    """Where a key's artifact comes from: a prefix by way of the disk tier, or a folder in place."""

    async def fetch(self, key: str, *, deadline: float, known_broken: str | None) -> Fetched:
        """Bring it here. ``known_broken`` is the ETag of a version not to bother with.

        Raises StillBroken, ArtifactFault, ModelNotFound, StoreUnavailable, NoRoom,
        InsufficientStorage.
        """
        ...
