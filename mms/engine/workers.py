"""Which worker a load goes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from mms.errors import ServiceUnavailable
from mms.fleet.worker import Worker


class Living(Protocol):
    """The fleet, as far as choosing goes."""

    @property
    def workers(self) -> tuple[Worker, ...]: ...

    async def wait_ready(self, timeout_s: float) -> None:
        """Until at least one worker is ready; raises TimeoutError."""
        ...


class LoadChooser:
    """The least busy worker takes the next load: loads slow their neighbours down (the GIL)."""

    def __init__(self, fleet: Living, *, until_measured: Callable[[], Awaitable[object]]) -> None:
        self._fleet = fleet
        self._until_measured = until_measured
        self._given: dict[int, int] = {}  # worker id -> loads given to it, to break ties evenly

    async def for_load(self, deadline: float) -> Worker:
        """Waits for a worker to live, and for the memory budget to be known."""
        while True:
            try:
                await self._fleet.wait_ready(max(0.0, deadline - time.monotonic()))
                await self._until_measured()
                if living := self._fleet.workers:
                    return self._least_busy(living)
                await asyncio.sleep(0.01)  # the last one has just gone
            except TimeoutError:
                raise ServiceUnavailable(
                    "no worker process is alive just now: see the server's log", retry_after_s=2
                ) from None

    def _least_busy(self, living: tuple[Worker, ...]) -> Worker:
        given = {worker.id: self._given.get(worker.id, 0) for worker in living}
        chosen = min(living, key=lambda w: (w.loading, w.inflight, given[w.id], w.id))
        given[chosen.id] += 1
        self._given = given
        return chosen
