"""Get one artifact onto the disk: from the disk tier if the store agrees, else from the store.

The whole sequence, synchronous, for a thread: look up, ask the store with one GET (a folder: with a
listing), unpack while it arrives, commit. Retries faults of the store, never of the artifact. An
artifact is committed only after its last byte was read and checked; whatever happens before leaves
nothing behind.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mms.errors import (
    InsufficientStorage,
    ModelLoadError,
    NoRoom,
    ServiceUnavailable,
    StoreUnavailable,
)
from mms.store.artifact import open_artifact
from mms.store.base import NotModified, StoreRefused
from mms.store.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from mms.store.artifact import Opened
    from mms.store.base import ArtifactStore
    from mms.store.disk import DiskCache
    from mms.store.layout import Entry
    from mms.store.leases import Lease
    from mms.types import Artifact, TargetModel

log = logging.getLogger("mms.store")

ATTEMPTS = 3
_FIRST_WAIT_S = 0.1
_SHED_BYTES = 256 << 20  # room to make on a disk that is full before its budget is
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DEFAULT_LIMITS = Limits()


class ArtifactError(ModelLoadError):
    """This version of the artifact is broken, and will be until there is another ``etag``."""

    def __init__(self, message: str, *, etag: str) -> None:
        super().__init__(message)
        self.etag = etag


class OversizeError(InsufficientStorage):
    """This version of the artifact can never fit on the disk."""

    def __init__(self, message: str, *, etag: str) -> None:
        super().__init__(message)
        self.etag = etag


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artifact on the disk; the caller releases ``lease`` when it needs the files no more."""

    artifact: Artifact
    lease: Lease
    tier: Literal["disk", "store"]
    seconds: float
    bytes: int  # read from the store
    attempts: int
    evicted: tuple[Entry, ...]
    stale: bool  # the store could not be asked: this is what the disk had


class _Fetch:
    """One call of :func:`fetch`: what it has tried, read and evicted so far."""

    def __init__(
        self,
        store: ArtifactStore,
        cache: DiskCache,
        target: TargetModel,
        *,
        deadline: float,
        known_broken: str | None,
        is_store_away: bool,
        limits: Limits,
    ) -> None:
        self._store = store
        self._cache = cache
        self._target = target
        self._deadline = deadline
        self._known_broken = known_broken
        self._is_store_away = is_store_away
        self._limits = limits
        self._began = time.monotonic()
        self._bytes = 0
        self._attempts = 0
        self._evicted: list[Entry] = []

    def run(self, wait: Callable[[float], None]) -> Fetched:
        kept = self._cache.lookup(self._store.id, self._target)
        if kept is None:
            return self._retry(wait)
        try:
            return self._refresh(kept)
        except NoRoom:
            kept.release()  # the old version may be what takes the room of the new one
            return self._retry(wait)
        except BaseException:
            kept.release()
            raise

    def _refresh(self, kept: Lease) -> Fetched:
        """One attempt, since there is something to fall back on."""
        if self._is_store_away:
            return self._done(kept, "disk", stale=True)
        try:
            new = self._attempt(kept.etag)
        except NotModified:
            return self._done(kept, "disk")
        except StoreUnavailable as exc:
            log.warning(
                "serving the copy on disk: the store could not be asked",
                extra={"target": self._target, "error": exc.message},
            )
            return self._done(kept, "disk", stale=True)
        kept.release()
        return self._done(new, "store")

    def _retry(self, wait: Callable[[float], None]) -> Fetched:
        while True:
            try:
                return self._done(self._attempt(self._known_broken), "store")
            except StoreRefused:
                raise
            except (StoreUnavailable, _DiskFullError) as exc:
                pause = _FIRST_WAIT_S * 4 ** (self._attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
                late = time.monotonic() + pause >= self._deadline
                if self._attempts >= ATTEMPTS or late:
                    raise
                log.warning(
                    "fetch failed, trying again",
                    extra={"target": self._target, "error": exc.message, "wait_s": pause},
                )
            wait(pause)

    def _attempt(self, known_etag: str | None) -> Lease:
        """One version, unpacked and committed; nothing is left of an attempt that fails."""
        self._attempts += 1
        opened = open_artifact(
            self._store,
            self._target,
            known_etag=known_etag,
            deadline=self._deadline,
            limits=self._limits,
        )
        with closing(opened):
            try:
                return self._unpack(opened)
            except ModelLoadError as exc:
                raise ArtifactError(exc.message, etag=opened.etag) from exc
            except InsufficientStorage as exc:
                raise OversizeError(exc.message, etag=opened.etag) from exc
            except OSError as exc:
                raise self._disk_problem(exc) from exc

    def _unpack(self, opened: Opened) -> Lease:
        with self._cache.reserve(0) as room:
            try:
                unpacked = opened.unpack(room.folder, self._limits, room)
                self._bytes += opened.size
                return room.commit(self._store.id, self._target, opened.etag, unpacked)
            finally:
                self._evicted += room.evicted

    def _disk_problem(self, exc: OSError) -> ServiceUnavailable:
        """The disk is smaller than the budget says, or broken; make room for another attempt."""
        if exc.errno not in _FULL:
            return ServiceUnavailable(f"the disk cache can't be written ({exc.strerror})")
        shed = self._cache.shed(_SHED_BYTES)
        self._evicted += shed
        kind = _DiskFullError if shed else NoRoom
        return kind("the disk that holds the cache is full: free some, or lower MMS_DISK_BUDGET")

    def _done(
        self, lease: Lease, tier: Literal["disk", "store"], *, stale: bool = False
    ) -> Fetched:
        return Fetched(
            artifact=lease.artifact,
            lease=lease,
            tier=tier,
            seconds=time.monotonic() - self._began,
            bytes=self._bytes,
            attempts=self._attempts,
            evicted=tuple(self._evicted),
            stale=stale,
        )


class _DiskFullError(NoRoom):
    """The disk was full, but there is more room now."""


def fetch(
    store: ArtifactStore,
    cache: DiskCache,
    target: TargetModel,
    *,
    deadline: float,
    known_broken: str | None = None,
    is_store_away: bool = False,
    limits: Limits = _DEFAULT_LIMITS,
    wait: Callable[[float], None] = time.sleep,
) -> Fetched:
    """The current version of ``target``, on the disk and leased; ``deadline`` is monotonic.

    ``known_broken`` is the ETag of a version not worth fetching again: NotModified is raised where
    the store still has that one. With ``is_store_away`` a copy on disk is taken without asking.
    Raises ModelNotFound, StoreUnavailable (after retries), ArtifactError, OversizeError, NoRoom.
    """
    one = _Fetch(
        store,
        cache,
        target,
        deadline=deadline,
        known_broken=known_broken,
        is_store_away=is_store_away,
        limits=limits,
    )
    return one.run(wait)
