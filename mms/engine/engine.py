"""The engine: the one sequence that answers an invocation, over one registry.

Admission comes before it (``mms.engine.admission``), HTTP around it (``mms.api``). Decisions are
the registry's; what brings a model is a flight, what takes it away a departure, what runs it a
lane.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial

from mms.engine.admission import Admission
from mms.engine.copy import Copy, Entry
from mms.engine.departure import Departures
from mms.engine.failures import FailureBook
from mms.engine.flight import FlightLimits, Flights, Workers
from mms.engine.lane import Lane, LaneLimits, Outcome, Pending, WorkerGone
from mms.engine.ports import Source
from mms.engine.registry import ModelRegistry, ModelState
from mms.engine.submission import OnAnswer, Submission, warm_answer
from mms.errors import Draining, ModelNotFound, ModelNotReady, ServiceUnavailable
from mms.fleet.payloads import Reply
from mms.fleet.worker import Worker
from mms.metrics import Metrics
from mms.types import Answer, Invocation, Loaded

log = logging.getLogger("mms.engine")
SWEEP_S = 0.1  # how often deadlines are looked at


@dataclass(slots=True, kw_only=True, frozen=True)
class EngineLimits:
    """The settings the engine needs, under their own names."""

    load_wait_s: float
    lane: LaneLimits
    flight: FlightLimits
    max_inflight: int
    max_inflight_bytes: int


class Engine:
    """See the module. Lives on one event loop; ``start`` and ``aclose`` bracket its background."""

    def __init__(
        self,
        *,
        source: Source,
        workers: Workers,
        registry: ModelRegistry[Copy],
        metrics: Metrics,
        limits: EngineLimits,
    ) -> None:
        self.registry = registry
        self.admission = Admission(
            max_requests=limits.max_inflight, max_bytes=limits.max_inflight_bytes
        )
        self.failures = FailureBook(time.monotonic)
        self.departures = Departures(registry, metrics)
        self.flights = Flights(
            source=source,
            workers=workers,
            registry=registry,
            failures=self.failures,
            departures=self.departures,
            metrics=metrics,
            limits=limits.flight,
            make_lane=self._make_lane,
        )
        self._limits = limits
        self._metrics = metrics
        self._busy: set[Lane] = set()  # lanes whose deadlines are looked at
        self._sweeper: asyncio.Task[None] | None = None

    # -- the sequence -----------------------------------------------------------------------------

    async def invoke(self, key: str, invocation: Invocation, *, deadline: float) -> Answer:
        """Answer one invocation. ``deadline`` is on time.monotonic's clock.

        Raises what ``mms.errors`` has. Cancelling it drops the request wherever it is.
        """
        for attempt in (1, 2):
            entry = self._acquire(key)
            try:
                return await self._answer(entry, invocation, deadline, is_first=attempt == 1)
            except WorkerGone:
                log.info("request moved", extra={"target": key, "attempt": attempt})
            finally:
                self._release(entry)
        raise ServiceUnavailable(
            "two workers died before this request could start: try again", retry_after_s=1
        )

    def _acquire(self, key: str) -> Entry:
        if self.registry.find(key) is None:
            self.failures.refuse(key)
        return self.registry.acquire(key)

    def _release(self, entry: Entry) -> None:
        self.registry.release(entry)
        self.departures.released(entry)

    async def _answer(
        self, entry: Entry, invocation: Invocation, deadline: float, *, is_first: bool
    ) -> Answer:
        was_resident = entry.state is ModelState.READY
        if not was_resident:
            await self._wait(entry, min(self._limits.load_wait_s, deadline - time.monotonic()))
        if is_first:
            self._metrics.cache_request("memory" if was_resident else entry.tier)
        copy = entry.copy
        if copy is None:
            raise WorkerGone
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        pending = copy.lane.submit(
            invocation.spec, invocation.body, deadline, partial(_resolve, reply)
        )
        self._busy.add(copy.lane)
        try:
            answer = warm_answer(entry, pending, await reply)
        finally:
            pending.drop()
        if not was_resident:
            answer.tier = entry.tier
            answer.fetch_s = entry.fetch_s
            answer.load_s = entry.load_s
        return answer

    def submit(
        self, key: str, invocation: Invocation, *, deadline: float, on_answer: OnAnswer
    ) -> Submission | None:
        """The same for a resident model, without a task; None: it isn't one, ask ``invoke``.

        Raises Overloaded. ``on_answer`` is never called before this returns, nor after a ``drop``.
        """
        entry = self.registry.find(key)
        if entry is None or entry.state is not ModelState.READY or entry.copy is None:
            return None
        lane = entry.copy.lane
        submission = Submission(entry, on_answer, self._release)
        submission.pending = lane.submit(
            invocation.spec, invocation.body, deadline, submission.settled
        )
        self.registry.acquire(key)
        self._metrics.cache_request("memory")
        self._busy.add(lane)
        return submission

    async def _wait(self, entry: Entry, patience_s: float) -> None:
        """For the entry's flight; raises its error, or ModelNotReady when patience ends first."""
        started = time.monotonic()
        flight = self.flights.join(entry)
        done, _ = await asyncio.wait({flight}, timeout=max(0.0, patience_s))
        self._metrics.loading_wait(time.monotonic() - started)
        if not done:
            raise ModelNotReady(
                f"{entry.key} still loads after {patience_s:.3g} s; the load goes on: try again",
                retry_after_s=2.0,
            )
        error = flight.result() if not flight.cancelled() else Draining("shutting down")
        if error is not None:
            raise error.again()  # each waiter has its own

    # -- models by name, for the container's model API ---------------------------------------------

    async def load(self, key: str, *, deadline: float) -> bool:
        """Bring a model without invoking it; False when it was resident already."""
        entry = self._acquire(key)
        try:
            if entry.state is ModelState.READY:
                return False
            await self._wait(entry, deadline - time.monotonic())
        finally:
            self._release(entry)
        return True

    async def unload(self, key: str) -> None:
        """Unload a model and return when its memory is back. Raises ModelNotFound."""
        entry = self.registry.find(key)
        if entry is None:
            raise ModelNotFound(f"{key} is not loaded")
        if entry.state is not ModelState.READY:
            await asyncio.wait({self.flights.join(entry)})
        if self.registry.find(key) is entry and entry.state is ModelState.READY:
            self.registry.retire(entry)
            await self.departures.leave([entry], reason="request")

    # -- workers come and go ---------------------------------------------------------------------

    def worker_lost(self, worker: Worker) -> None:
        """Forget its models; what was queued for them is tried elsewhere."""
        for entry in self.registry.entries_of(worker.id):
            if entry.copy is not None:
                entry.copy.lane.abandon()
                entry.copy.let_files_go()
        for entry in self.registry.worker_lost(worker.id):
            self._metrics.evicted("memory", "worker_lost")
            self._metrics.forget(entry.key)
        self.departures.wake_who_wait_for_room()

    async def empty(self, worker: Worker) -> None:
        """Take every model out of a worker that is to be replaced; returns when it is empty.

        What still loads there is waited for, and then goes too.
        """
        while here := self.registry.entries_of(worker.id):
            leaving = [entry for entry in here if entry.state is ModelState.READY]
            for entry in leaving:
                self.registry.retire(entry)
            self.departures.leave_soon(leaving, reason="worker_replaced")
            await self.departures.room()

    # -- life -------------------------------------------------------------------------------------

    @property
    def queue_depth(self) -> int:
        return sum(lane.queued for lane in self._busy)

    async def start(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep(), name="deadlines")

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.flights.aclose()
        await self.departures.aclose()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for lane in list(self._busy):
                lane.expire(now)
                if lane.is_idle:
                    self._busy.discard(lane)

    def _make_lane(self, entry: Entry, worker: Worker, loaded: Loaded) -> Lane:
        def on_batch(size: int, rows: int, predict_s: float) -> None:
            self._metrics.batch(size, rows)
            self._metrics.predict(entry.key, predict_s)

        limits = self._limits.lane
        if not loaded.batchable:  # its requests run one by one, and hang or die one by one
            limits = replace(limits, max_batch=1)
        return Lane(
            entry.model_id,
            worker,
            limits,
            on_batch=on_batch,
            on_send=lambda: self.registry.pin(entry),
            on_land=lambda: self._release(entry),
        )


def _resolve(reply: asyncio.Future[Reply], _pending: Pending, outcome: Outcome) -> None:
    if reply.done():  # the task that waited for it was cancelled
        return
    if isinstance(outcome, Reply):
        reply.set_result(outcome)
    else:
        reply.set_exception(outcome)
