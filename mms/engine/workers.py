"""Which worker a load goes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from mms.errors import ServiceUnavailable
from mms.fleet.worker import Worker

_FEW: Final = 20.0  # messages, of lately: as good as none


class Living(Protocol):
    """A fleet, as far as choosing goes."""

    @property
    def workers(self) -> tuple[Worker, ...]: ...

    async def wait_ready(self, timeout_s: float) -> None:
        """Until at least one worker is ready; raises TimeoutError, ServiceUnavailable."""
        ...


FleetOf = Callable[[str], Awaitable[Living]]
"""The fleet of the environment of that name, ``""`` for the server's own."""


class LoadChooser:
    """The least busy worker takes the next load: loads slow their neighbours down (the GIL).

    A quick model that is asked all the time is seldom in flight at a given moment, so what a worker
    was asked lately counts too, roughly: what is twice as much as another was is too much.
    """

    def __init__(
        self,
        fleet_of: FleetOf,
        *,
        until_measured: Callable[[tuple[Worker, ...]], Awaitable[object]],
    ) -> None:
        self._fleet_of = fleet_of
        self._until_measured = until_measured
        # By environment and worker id: the loads given to it, to break ties evenly.
        self._given: dict[str, dict[int, int]] = {}

    async def for_load(self, deadline: float, environment: str = "") -> Worker:
        """Waits for a worker to live, and for what it takes of the memory budget to be known."""
        while True:
            fleet = await self._fleet_of(environment)
            try:
                await fleet.wait_ready(max(0.0, deadline - time.monotonic()))
                await self._until_measured(fleet.workers)
                if living := fleet.workers:
                    return self._least_busy(environment, living)
                await asyncio.sleep(0.01)  # the last one has just gone
            except TimeoutError:
                raise ServiceUnavailable(
                    "no worker process is alive just now: see the server's log", retry_after_s=2
                ) from None

    def _least_busy(self, environment: str, living: tuple[Worker, ...]) -> Worker:
        before = self._given.get(environment, {})
        given = {worker.id: before.get(worker.id, 0) for worker in living}
        most = _FEW + 2 * min(worker.lately for worker in living)
        chosen = min(
            living,
            key=lambda w: (w.loads_pending, w.inflight, w.lately > most, given[w.id], w.id),
        )
        given[chosen.id] += 1
        self._given[environment] = given
        return chosen
