"""The memory budget: what models may take, from what the processes below the front really use.

Every two seconds the workers' and the zygote's PSS is read; what isn't models' measured bytes is
overhead, and the budget less the overhead is the registry's capacity. When it falls, models leave.
A worker that holds a quarter of the budget beyond its models, three readings in a row, is replaced.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mms.engine.copy import Copy
from mms.engine.departure import Departures
from mms.engine.registry import ModelRegistry
from mms.fleet.worker import Worker

log = logging.getLogger("mms.memory")
INTERVAL_S = 2.0
SMOOTHING = 0.5  # of a fall
LATELY = 20  # readings
DRIFT_SHARE = 0.25
DRIFT_READINGS = 3  # a large load or batch may take as much for a moment


class Measured(Protocol):
    """The fleet, as far as memory goes."""

    @property
    def workers(self) -> tuple[Worker, ...]: ...

    def memory(self) -> dict[int, int]:
        """PSS in bytes by process id; blocking, for a thread."""
        ...


@dataclass(slots=True)
class Reading:
    """One worker's PSS when it was new, and how much it holds beyond its models now."""

    base: int
    drift: int = 0
    times: int = 0  # that the drift has been too much, in a row


class MemoryKeeper:
    """Keeps the registry's capacity true. ``replace`` is asked for a worker that has drifted."""

    def __init__(
        self,
        *,
        budget: int,
        fleet: Measured,
        registry: ModelRegistry[Copy],
        departures: Departures,
        replace: Callable[[Worker], Awaitable[None]],
        other_bytes: Callable[[], int],
    ) -> None:
        self.budget = budget
        self.process_bytes: dict[int, int] = {}
        self.first_reading = asyncio.Event()  # set once the capacity is known
        self._fleet = fleet
        self._registry = registry
        self._departures = departures
        self._replace = replace
        self._other_bytes = other_bytes  # a disk tier that is really memory
        self._overhead: float | None = None
        self._lately: deque[int] = deque(maxlen=LATELY)  # overheads: what can be again soon
        self._readings: dict[int, Reading] = {}
        self._replacing: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """For ever; cancel it to stop."""
        while True:
            try:
                await self.measure()
            except Exception:
                log.exception("memory could not be read")
            await asyncio.sleep(INTERVAL_S if self.first_reading.is_set() else 0.1)

    async def until_counted(self, workers: Iterable[Worker]) -> None:
        """Until the capacity is known, and what these workers take by themselves is off it."""
        await self.first_reading.wait()
        if not any(worker.pid in self.process_bytes for worker in workers):
            await self.measure()

    async def measure(self) -> None:
        """Read once, set the capacity, and let go what no longer fits."""
        before = self._registry.resident_bytes
        reserved = self._registry.reserved_bytes
        self.process_bytes = await asyncio.to_thread(self._fleet.memory)
        if not self._fleet.workers:
            return
        measured = sum(self.process_bytes.values()) + self._other_bytes()
        after, reserved_after = self._registry.resident_bytes, self._registry.reserved_bytes
        self._set_capacity(
            least=measured - max(before + reserved, after + reserved_after),
            most=measured - min(before, after),
        )
        self._departures.leave_soon(self._registry.shrink(), reason="pressure")
        self._watch_drift()
        self.first_reading.set()

    def _set_capacity(self, *, least: int, most: int) -> None:
        """How much of a reservation is in use already nobody knows: the overhead is in between."""
        overhead = max(0, least, min(most, int(self._overhead or 0)))
        if self._overhead is None:
            self._overhead = overhead
            log.info(
                "memory budget",
                extra={"budget_bytes": self.budget, "overhead_bytes": overhead},
            )
            if overhead >= self.budget:
                log.error(
                    "no memory for models: the workers alone take more than MMS_MEMORY_BUDGET; "
                    "raise it, or lower MMS_WORKERS",
                    extra={"budget_bytes": self.budget, "overhead_bytes": overhead},
                )
        # A rise counts at once, for the budget is a promise; a fall slowly: peaks come again.
        self._overhead = max(overhead, self._overhead + SMOOTHING * (overhead - self._overhead))
        self._registry.capacity = int(self.budget - self._overhead)
        self._lately.append(overhead)
        self._registry.ceiling = self.budget - min(self._lately)

    def _watch_drift(self) -> None:
        living = {w.id: w for w in self._fleet.workers}
        self._readings = {i: r for i, r in self._readings.items() if i in living}
        for worker in living.values():
            pss = self.process_bytes.get(worker.pid)
            if pss is None:
                continue
            models = self._registry.bytes_of(worker.id)
            reading = self._readings.setdefault(worker.id, Reading(base=pss - models))
            reading.drift = pss - models - reading.base
            is_much = reading.drift > DRIFT_SHARE * self.budget
            reading.times = reading.times + 1 if is_much else 0
        self._replace_worst(living)

    def _replace_worst(self, living: dict[int, Worker]) -> None:
        if self._replacing is not None and not self._replacing.done():
            return
        drifted = [i for i, reading in self._readings.items() if reading.times >= DRIFT_READINGS]
        if drifted:
            worst = max(drifted, key=lambda i: self._readings[i].drift)
            log.warning(
                "worker replaced: it holds memory that its models don't account for",
                extra={"worker": worst, "bytes": self._readings[worst].drift},
            )
            self._readings[worst].times = 0  # where it can't be replaced: not again at once
            self._replacing = asyncio.ensure_future(self._replace(living[worst]))
