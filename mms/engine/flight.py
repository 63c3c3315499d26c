"""The flight: what brings one cold model, for however many requests that wait for it.

Fetch, reserve, make room, load, commit; a flight belongs to no request and goes on when all of
them have gone. No lock is held anywhere; flights of different models pass each other freely.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cachetools import LRUCache

from mms.engine.copy import Copy, Entry
from mms.engine.departure import Departures
from mms.engine.failures import FailureBook
from mms.engine.lane import Lane
from mms.engine.ports import ArtifactFault, Fetched, Source, StillBroken
from mms.engine.registry import ModelRegistry, ModelState
from mms.errors import (
    InsufficientStorage,
    MmsError,
    ModelLoadError,
    ModelNotFound,
    NoRoom,
    OtherEnvironment,
    ServiceUnavailable,
    StoreUnavailable,
)
from mms.fleet.outcome import WorkerLost
from mms.fleet.worker import Worker
from mms.metrics import Metrics
from mms.types import Loaded

log = logging.getLogger("mms.engine")
DEATHS = 2  # of workers under the load of one model: then it is the model's fault
REMEMBERED = 50_000  # artifacts that are loaded in an environment
KILL_AFTER_S = 5.0  # past its limit a load that still holds its worker's slot is killed with it


class Workers(Protocol):
    """Who can load, as a flight sees it."""

    async def for_load(self, deadline: float, environment: str = "") -> Worker:
        """The worker a load should go to; waits for one to live. Raises ServiceUnavailable.

        ``environment`` is the one whose libraries the model needs, ``""`` the server's own.
        """
        ...


@dataclass(slots=True, kw_only=True)
class FlightLimits:
    load_timeout_s: float
    options: dict[str, object] = field(default_factory=dict)  # for the loader: trust and so on


class Flights:
    """The flights under way, by model id; at most one an entry."""

    def __init__(
        self,
        *,
        source: Source,
        workers: Workers,
        registry: ModelRegistry[Copy],
        failures: FailureBook,
        departures: Departures,
        metrics: Metrics,
        limits: FlightLimits,
        make_lane: Callable[[Entry, Worker, Loaded], Lane],
    ) -> None:
        self._source = source
        self._workers = workers
        self._registry = registry
        self._failures = failures
        self._departures = departures
        self._metrics = metrics
        self._limits = limits
        self._make_lane = make_lane
        self._tasks: dict[int, asyncio.Task[MmsError | None]] = {}
        # By ETag, the environment in which an artifact is loaded, where it isn't the server's own.
        self._environments: LRUCache[str, str] = LRUCache(REMEMBERED)

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def join(self, entry: Entry) -> asyncio.Task[MmsError | None]:
        """The entry's flight, opened if there is none; its result is the error, or None."""
        task = self._tasks.get(entry.model_id)
        if task is None:
            task = asyncio.create_task(self._fly(entry), name=f"flight {entry.key}")
            self._tasks[entry.model_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(entry.model_id, None))
        return task

    async def aclose(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one flight -------------------------------------------------------------------------------

    async def _fly(self, entry: Entry) -> MmsError | None:
        error: MmsError
        etag = ""
        try:
            await self._bring(entry)
        except StillBroken:
            error = self._failures.still_broken(entry.key)
        except ArtifactFault as fault:
            error, etag = fault.error, fault.etag
            self._failures.note(entry.key, error, etag)
        except MmsError as exc:
            error = exc
            etag = entry.artifact.etag if entry.artifact else ""
            self._failures.note(entry.key, error, etag)
        except asyncio.CancelledError:
            self._registry.fail(entry)
            raise
        except Exception:
            log.exception("flight failed", extra={"target": entry.key})
            error = ServiceUnavailable("the model could not be loaded: see the server's log")
        else:
            self._failures.clear(entry.key)
            return None
        self._registry.fail(entry)
        self._departures.wake_who_wait_for_room()
        self._metrics.load_failed(error.reason)
        # A name that nobody has is the caller's mistake: it is no news for the operator.
        level = logging.DEBUG if isinstance(error, ModelNotFound) else logging.WARNING
        log.log(level, "load failed", extra={"target": entry.key, "error": error.message})
        return error

    async def _bring(self, entry: Entry) -> None:
        deadline = time.monotonic() + self._limits.load_timeout_s
        try:
            async with asyncio.timeout(self._limits.load_timeout_s):
                fetched = await self._fetch(entry, deadline)
        except TimeoutError:
            raise StoreUnavailable(f"{entry.key} was not fetched within {self._limit}") from None
        try:
            await self._load(entry, fetched, deadline)
        finally:
            if entry.copy is None or entry.copy.files is None:
                fetched.release()

    @property
    def _limit(self) -> str:
        return f"{self._limits.load_timeout_s:g} s (MMS_LOAD_TIMEOUT)"

    async def _fetch(self, entry: Entry, deadline: float) -> Fetched:
        known_broken = self._failures.known_broken(entry.key)
        fetched = await self._source.fetch(entry.key, deadline=deadline, known_broken=known_broken)
        if known_broken is not None and fetched.artifact.etag == known_broken:
            fetched.release()
            raise StillBroken
        entry.tier = fetched.tier
        entry.fetch_s = fetched.seconds
        entry.artifact = fetched.artifact
        if fetched.tier == "store":
            self._metrics.fetched(fetched.seconds, fetched.bytes)
        return fetched

    async def _load(self, entry: Entry, fetched: Fetched, deadline: float) -> None:
        deaths = 0  # of workers that this load may have killed; or it was another model's fault
        give_up_at = time.monotonic() + self._departures.room_wait_s
        while True:
            environment = self._environments.get(fetched.artifact.etag, "")
            worker = await self._place(entry, fetched, deadline, give_up_at, environment)
            try:
                await self._load_in(worker, entry, fetched, deadline, environment)
            except OtherEnvironment as other:
                if environment:  # it had none to choose from
                    raise ModelLoadError(f"{entry.key} fits no environment") from None
                self._environments[fetched.artifact.etag] = other.message
            except WorkerLost as lost:
                deaths += lost.began
                if deaths == DEATHS:
                    raise _two_workers_lost(entry.key, lost) from None
            except NoRoom:
                # Larger than there is room for: again when there is, with what is known now.
                self._registry.unreserve(entry)
                self._departures.wake_who_wait_for_room()
                if time.monotonic() > give_up_at:
                    raise
            else:
                return

    async def _place(
        self,
        entry: Entry,
        fetched: Fetched,
        deadline: float,
        give_up_at: float,
        environment: str,
    ) -> Worker:
        """The worker to load in, with the memory set aside. Late is nobody's fault here."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                worker = await self._workers.for_load(deadline, environment)
                if entry.state is ModelState.FETCHING:
                    await self._reserve(entry, fetched, worker.id, give_up_at)
                entry.worker_id = worker.id
                return worker
        except TimeoutError:
            raise _not_begun(entry.key, self._limit) from None

    async def _reserve(
        self, entry: Entry, fetched: Fetched, worker_id: int, give_up_at: float
    ) -> None:
        """Set the memory aside, waiting for room while what is loaded is all in use."""
        while True:
            try:
                victims = self._registry.reserve(entry, fetched.artifact, worker_id)
                break
            except NoRoom:
                if time.monotonic() > give_up_at:
                    raise
                await self._departures.room()
        await self._departures.leave(victims, reason="memory")
        while self._registry.is_overcommitted and self._departures.under_way:
            await self._departures.room()

    async def _load_in(
        self, worker: Worker, entry: Entry, fetched: Fetched, deadline: float, environment: str
    ) -> None:
        started = time.monotonic()
        others: dict[str, object] = {"environments": {}} if environment else {}  # there or nowhere
        try:
            async with asyncio.timeout(deadline - started):
                loaded: Loaded = await worker.load(
                    entry.model_id,
                    fetched.artifact.path,
                    self._limits.options | others,
                    limit_s=deadline - started + KILL_AFTER_S,
                )
        except TimeoutError:
            if not worker.has_begun(entry.model_id):
                raise _not_begun(entry.key, self._limit) from None
            raise ModelLoadError(f"{entry.key} did not load within {self._limit}") from None
        if not worker.alive:
            raise WorkerLost(worker.reason, began=True)
        entry.load_s = time.monotonic() - started
        try:
            files = fetched.release if loaded.keeps_files else None
            copy = Copy(worker, self._make_lane(entry, worker, loaded), files)
            victims = self._registry.commit(entry, loaded, copy)
        except MmsError:
            await worker.unload(entry.model_id)
            raise
        self._metrics.loaded(loaded.format, entry.load_s, loaded.bytes)
        log.info(
            "model loaded",
            extra={
                "target": entry.key,
                "version": fetched.artifact.version,
                "tier": fetched.tier,
                "format": loaded.format,
                "bytes": loaded.bytes,
                "worker": worker.id,
                **({"environment": environment} if environment else {}),
                "fetch_ms": round(fetched.seconds * 1000, 1),
                "load_ms": round(entry.load_s * 1000, 1),
            },
        )
        self._departures.leave_soon(victims, reason="memory")


def _not_begun(key: str, limit: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"no worker got to load {key} within {limit}: others were in the way", retry_after_s=1.0
    )


def _two_workers_lost(key: str, lost: WorkerLost) -> MmsError:
    if lost.how in {"killed", "retired"}:  # not the model's doing: worth another try
        return WorkerLost(lost.how, began=lost.began)
    if lost.how == "oom":
        return InsufficientStorage(f"{key} was killed for want of memory while it loaded, twice")
    return ModelLoadError(f"{key} killed the process that loaded it, twice ({lost.how})")
