"""An artifact that the store has opened, of one object or of many: one way to get it unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mms.store.archive import unpack
from mms.store.folders import open_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mms.store.archive import Unpacked
    from mms.store.base import ArtifactStore, ArtifactStream
    from mms.store.limits import Limits
    from mms.store.tree import Room
    from mms.types import TargetModel


class Opened(Protocol):
    """One version of an artifact, about to be read once."""

    etag: str
    size: int  # bytes to come

    def unpack(self, dest: Path, limits: Limits, room: Room) -> Unpacked:
        """Into ``dest``, an empty folder of ours; raises ModelLoadError, StoreUnavailable."""
        ...

    def close(self) -> None: ...


class OneObject:
    """An archive or a file."""

    def __init__(self, stream: ArtifactStream, target: TargetModel) -> None:
        self.etag = stream.etag
        self.size = stream.size
        self._stream = stream
        self._target = target

    def unpack(self, dest: Path, limits: Limits, room: Room) -> Unpacked:
        room.need(self.size)
        return unpack(self._stream, self._target, dest, limits, room=room)

    def close(self) -> None:
        self._stream.close()


def open_artifact(
    store: ArtifactStore,
    target: TargetModel,
    *,
    known_etag: str | None,
    deadline: float,
    limits: Limits,
) -> Opened:
    """Ask the store once; a slash at the end means a folder, and costs a listing.

    Raises NotModified, ModelNotFound, StoreUnavailable.
    """
    if target.endswith("/"):
        return open_folder(store, target, known_etag=known_etag, deadline=deadline, limits=limits)
    return OneObject(store.open(target, known_etag=known_etag, deadline=deadline), target)
