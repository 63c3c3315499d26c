"""Where keys' artifacts come from: a prefix by way of the disk tier, or folders in place."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mms.engine.ports import ArtifactFault, Fetched, StillBroken
from mms.errors import InsufficientStorage, ModelLoadError, ModelNotFound, StoreUnavailable
from mms.metrics import Metrics
from mms.store.base import ArtifactStore, NotModified
from mms.store.disk import DiskCache
from mms.store.fetch import ArtifactError, OversizeError, fetch
from mms.store.fetch import Fetched as FetchedToDisk
from mms.types import Artifact, TargetModel

MAX_MEMBERS = 10_000  # of a folder that a caller names: not the whole disk
AWAY_S = 5.0  # after the store could not be asked, how long copies on disk are taken unasked


class PrefixSource:
    """Targets below a prefix. Fetches run in threads of their own, ``max_fetches`` side by side."""

    def __init__(
        self,
        store: ArtifactStore,
        cache: asyncio.Future[DiskCache],
        *,
        max_fetches: int,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._cache = cache
        self._metrics = metrics
        self._away_until = 0.0
        self._pool = ThreadPoolExecutor(max_fetches, thread_name_prefix="fetch")

    async def fetch(self, key: str, *, deadline: float, known_broken: str | None) -> Fetched:
        work = functools.partial(
            fetch,
            self._store,
            await asyncio.shield(self._cache),
            TargetModel(key),
            deadline=deadline,
            known_broken=known_broken,
            is_store_away=time.monotonic() < self._away_until,
        )
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work)
        try:
            fetched = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_give_back)
            raise
        except ArtifactError as error:  # a plain one from here: each waiter gets its own
            raise ArtifactFault(ModelLoadError(error.message), error.etag) from None
        except OversizeError as error:
            raise ArtifactFault(InsufficientStorage(error.message), error.etag) from None
        except NotModified:
            raise StillBroken from None
        except StoreUnavailable:
            self._away_until = time.monotonic() + AWAY_S
            raise
        if fetched.stale and time.monotonic() >= self._away_until:
            self._away_until = time.monotonic() + AWAY_S
        for _ in fetched.evicted:
            self._metrics.evicted("disk", "disk_budget")
        return Fetched(
            artifact=fetched.artifact,
            tier=fetched.tier,
            seconds=fetched.seconds,
            bytes=fetched.bytes,
            release=fetched.lease.release,
        )

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _give_back(future: asyncio.Future[FetchedToDisk]) -> None:
    """A fetch nobody waits for any more: its artifact stays on disk, unheld."""
    if not future.cancelled() and future.exception() is None:
        future.result().lease.release()


class FolderSource:
    """Folders that somebody else has unpacked: SageMaker's. Nothing is ever written there."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}

    async def fetch(self, key: str, *, deadline: float, known_broken: str | None) -> Fetched:
        del deadline, known_broken
        folder = self.folders.get(key)
        if folder is None:
            raise ModelNotFound(f"{key} is not loaded")
        started = time.monotonic()
        artifact = await asyncio.to_thread(artifact_in_place, folder)
        return Fetched(
            artifact=artifact,
            tier="disk",
            seconds=time.monotonic() - started,
            bytes=0,
            release=lambda: None,
        )


def artifact_in_place(folder: Path) -> Artifact:
    """A folder as an artifact; its version comes from its files' names, sizes and times."""
    if not folder.is_dir():
        raise ModelNotFound(f"there is no folder {folder}")
    digest, total, members = hashlib.sha256(), 0, 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        members += len(folders) + len(files)
        if members > MAX_MEMBERS:
            raise ModelLoadError(f"the folder holds more than {MAX_MEMBERS:,} files and folders")
        for name in sorted(files):
            try:
                stat = Path(root, name).stat()
            except OSError:  # a link that leads nowhere: whoever reads it says so
                stat = Path(root, name).lstat()
            total += stat.st_size
            relative = os.path.relpath(Path(root, name), folder)
            digest.update(os.fsencode(relative))
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    version = digest.hexdigest()
    return Artifact(
        path=folder, etag=version, version=version[:12], sha256="", unpacked_bytes=total
    )
