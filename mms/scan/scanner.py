"""The work of a scan: bring each artifact here, have a worker look at it, let it go again.

Workers of the server's own kind do the looking, so a file that kills a process costs one worker
and gets its verdict for that. Everything is fetched into a folder of the scan's own and removed
at once: the cache of a running server isn't touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mms.errors import MmsError, ModelLoadError, OtherEnvironment, ServiceUnavailable
from mms.fleet.outcome import LostReason, WorkerLost
from mms.fleet.pools import Pools
from mms.fleet.worker import Worker
from mms.scan.verdict import Verdict, of_error, of_findings
from mms.store.base import ArtifactStore
from mms.store.disk import DiskCache
from mms.store.fetch import fetch
from mms.types import Loaded, TargetModel

_READY_S: Final = 120.0
_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact as the store lists it."""

    target: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    load: bool  # measure it, and predict once
    options: dict[str, object]  # of a load, as for serving
    limit_s: float  # for one artifact, fetched and looked at


class Scanner:
    """Looks at ``side_by_side`` artifacts at a time, each in a worker of ``pools``."""

    def __init__(
        self,
        store: ArtifactStore,
        cache: DiskCache,
        pools: Pools,
        options: ScanOptions,
        *,
        side_by_side: int,
    ) -> None:
        self._store = store
        self._cache = cache
        self._pools = pools
        self._options = options
        self._side_by_side = side_by_side
        self._last_id = 0

    async def scan(self, subjects: Sequence[Subject]) -> AsyncIterator[Verdict]:
        """Verdicts as they come, in no order."""
        waiting = iter(subjects)
        running: set[asyncio.Task[Verdict]] = set()
        try:
            while True:
                while len(running) < self._side_by_side and (one := next(waiting, None)):
                    running.add(asyncio.create_task(self._verdict(one)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _verdict(self, subject: Subject) -> Verdict:
        try:
            return await self._look_at(subject)
        except MmsError as error:
            return of_error(subject.target, subject.bytes, error)

    async def _look_at(self, subject: Subject) -> Verdict:
        deadline = time.monotonic() + self._options.limit_s
        target = TargetModel(subject.target)
        fetched = await asyncio.to_thread(
            fetch, self._store, self._cache, target, deadline=deadline
        )
        environment = ""
        try:
            try:
                loaded = await self._load(fetched.artifact.path, "")
            except OtherEnvironment as other:
                environment = other.message
                loaded = await self._load(fetched.artifact.path, environment)
        finally:
            fetched.lease.release()
            self._cache.remove(self._store.id, target)
        verdict = of_findings(subject.target, subject.bytes, loaded)
        return replace(verdict, environment=environment) if environment else verdict

    async def _load(self, path: Path, environment: str) -> Loaded:
        options = {**self._options.options, "measure": self._options.load}
        if environment:  # there or nowhere
            options["environments"] = {}
        for _ in range(_ATTEMPTS):
            worker = await self._worker(environment)
            self._last_id += 1
            model_id = self._last_id
            try:
                loaded: Loaded = await worker.load(
                    model_id, path, options, limit_s=self._options.limit_s
                )
            except WorkerLost as lost:
                if lost.began:
                    raise ModelLoadError(_death(lost.how)) from None
                continue
            await worker.unload(model_id)
            return loaded
        raise ServiceUnavailable("no worker process lived long enough to look at it")

    async def _worker(self, environment: str) -> Worker:
        fleet = await self._pools.of(environment)
        try:
            async with asyncio.timeout(_READY_S):
                while not (living := fleet.workers):
                    await fleet.wait_ready(_READY_S)
                    await asyncio.sleep(0)
        except TimeoutError:
            raise ServiceUnavailable("no worker process could be started: see the log") from None
        return min(living, key=lambda worker: (worker.loading, worker.id))


def _death(how: LostReason) -> str:
    if how == "timeout":
        return "it was given up: reading it took too long"
    if how == "oom":
        return "the process that read it was killed for want of memory"
    return f"it killed the process that read it ({how})"
