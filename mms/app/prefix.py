"""The self-hosted way's store and disk tier: opened behind the open port, closed at the end."""

from __future__ import annotations

import asyncio

from mms.engine.source import PrefixSource
from mms.metrics import Metrics
from mms.settings import Settings, disk_budget_bytes
from mms.settings.host import free_disk
from mms.store.disk import DiskCache
from mms.store.open import open_store


class Prefix:
    """``source`` may be asked at once: it waits for the disk tier to be open."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        assert settings.models is not None
        self._settings = settings
        self._cache: asyncio.Future[DiskCache] = asyncio.get_running_loop().create_future()
        self.store = open_store(
            settings.models,
            endpoint_url=settings.s3_endpoint_url,
            connections=settings.max_loads,
        )
        self.source = PrefixSource(
            self.store, self._cache, max_fetches=settings.max_loads, metrics=metrics
        )

    @property
    def cache(self) -> DiskCache | None:
        """The disk tier, once it is open."""
        is_open = self._cache.done() and not self._cache.cancelled()
        return self._cache.result() if is_open else None

    async def open(self) -> None:
        """Index the disk tier, then ask the store whether it can be read at all.

        Raises CacheInUse, StartError, ValidationError; StoreUnavailable when it is merely away.
        """
        self._cache.set_result(await asyncio.to_thread(self._open_cache))
        await asyncio.to_thread(self.store.check)

    def bytes_in_memory(self) -> int:
        """What of the disk tier is memory, because its folder is on a tmpfs."""
        cache = self.cache
        return cache.bytes if cache is not None and cache.is_memory() else 0

    async def aclose(self) -> None:
        self.source.close()
        await asyncio.to_thread(self.store.close)
        if self.cache is not None:
            self.cache.close()

    def _open_cache(self) -> DiskCache:
        settings = self._settings

        def budget(held: int) -> int:
            free = free_disk(settings.cache_dir)
            return disk_budget_bytes(settings.disk_budget, free=free, held=held)

        return DiskCache(settings.cache_dir, budget_bytes=budget)
