"""What callers of the disk tier hold: an artifact that stays, or room for one in the making."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mms.store.archive import Unpacked
    from mms.store.disk import DiskCache
    from mms.store.layout import Entry
    from mms.types import Artifact


class Lease:
    """An artifact on the disk that stays there until released; a context manager."""

    def __init__(self, entry: Entry, artifact: Artifact, release: Callable[[], None]) -> None:
        self.entry = entry
        self.artifact = artifact
        self._release: Callable[[], None] | None = release

    @property
    def etag(self) -> str:
        return self.entry.etag

    def release(self) -> None:
        """The first call counts; more do nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Reservation:
    """Disk space for one artifact in the making, and the folder to make it in.

    A context manager: left without :meth:`commit`, it gives back the space and the folder.
    """

    def __init__(self, cache: DiskCache, new: str, folder: Path) -> None:
        self.id = new
        self.folder = folder
        self.evicted: list[Entry] = []
        self.held = 0
        self._cache = cache

    def expect(self, total: int) -> None:
        """Refuse early what can never fit."""
        self._cache.refuse_oversize(total)

    def need(self, total: int) -> None:
        """Hold ``total`` bytes in all, evicting for them."""
        if total > self.held:
            self._cache.grow(self, total)

    def commit(self, store_id: str, target: str, etag: str, unpacked: Unpacked) -> Lease:
        """Turn what was unpacked into an entry, leased to the caller."""
        return self._cache.commit(self, store_id, target, etag, unpacked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.give_back(self)
