"""All worker processes of a server: its own fleet, and one for each environment that is in use.

An environment's fleet is made by the first load that asks for it, has few workers, and is closed
once it has been of no use for a while. One that doesn't start is tried again after a pause. To
those who watch memory, workers or the end of it all, this is one fleet. Knows no models.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mms.errors import ModelLoadError
from mms.fleet.fleet import Fleet, FleetListener
from mms.fleet.interpreters import Interpreter
from mms.fleet.outcome import FleetOptions
from mms.fleet.worker import Worker

_log = logging.getLogger("mms.fleet")

WORKERS: Final = 2  # of an environment: enough for a load beside a predict
IDLE_S: Final = 300.0
RETRY_S: Final = 30.0  # after an environment didn't start
TICK_S: Final = 5.0
_IN_VAIN: Final = 6  # processes, that is two zygotes with what they forked


@dataclass(slots=True)
class _Pool:
    fleet: Fleet
    opened_at: float
    used_at: float


class Pools:
    """``is_used`` says whether a worker holds, or is to hold, a model."""

    def __init__(
        self,
        *,
        workers: int,
        options: FleetOptions,
        listener: FleetListener,
        interpreters: Mapping[str, Interpreter],
        is_used: Callable[[Worker], bool],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._listener = listener
        self._interpreters = interpreters
        self._is_used = is_used
        self._clock = clock
        self._ids = itertools.count(1)
        self.main = Fleet(workers=workers, options=options, listener=listener, ids=self._ids)
        self._pools: dict[str, _Pool] = {}
        self._closing: set[Fleet] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that take new work, wherever they are."""
        return tuple(worker for fleet in self._fleets() for worker in fleet.workers)

    @property
    def zygote_pids(self) -> frozenset[int]:
        return frozenset(f.zygote_pid for f in self._fleets() if f.zygote_pid is not None)

    @property
    def environments(self) -> tuple[str, ...]:
        """Those that have processes."""
        return tuple(self._pools)

    async def start(self) -> None:
        """Returns at once; only the server's own fleet is there from the start."""
        await self.main.start()

    async def of(self, environment: str) -> Fleet:
        """The fleet of an environment, made if need be; of the server itself for ``""``."""
        if not environment:
            return self.main
        pool, now = self._pools.get(environment), self._clock()
        if pool is not None and _is_hopeless(pool.fleet) and now - pool.opened_at >= RETRY_S:
            self._close(environment)
            pool = None
        if pool is None:
            pool = self._pools[environment] = _Pool(self._make(environment), now, now)
            _log.info("environment opened", extra={"environment": environment})
            await pool.fleet.start()
        pool.used_at = now
        return pool.fleet

    async def replace(self, worker: Worker) -> Worker:
        """See :meth:`Fleet.replace`."""
        return await self._fleet_of(worker).replace(worker)

    async def retire(self, worker: Worker) -> None:
        await self._fleet_of(worker).retire(worker)

    def memory(self) -> dict[int, int]:
        """PSS by process of all of them. Slow: call it in a thread."""
        return {pid: size for fleet in self._fleets() for pid, size in fleet.memory().items()}

    async def run(self) -> None:
        """Close what has been idle for long, for ever; cancel it to stop."""
        while True:
            await asyncio.sleep(TICK_S)
            self.close_idle()

    def close_idle(self) -> None:
        """Looks once."""
        now = self._clock()
        for name, pool in list(self._pools.items()):
            if any(self._is_used(worker) for worker in pool.fleet.workers):
                pool.used_at = now
            elif now - pool.used_at >= IDLE_S:
                _log.info("environment closed: no model needs it", extra={"environment": name})
                self._close(name)

    async def aclose(self) -> None:
        """End everything. Returns when no process is left."""
        for name in list(self._pools):
            self._close(name)
        await asyncio.gather(self.main.aclose(), *self._tasks)

    def _fleets(self) -> list[Fleet]:
        """Those on their way out too: they still take memory."""
        return [self.main, *(pool.fleet for pool in list(self._pools.values())), *self._closing]

    def _fleet_of(self, worker: Worker) -> Fleet:
        return next((fleet for fleet in self._fleets() if fleet.has(worker)), self.main)

    def _make(self, environment: str) -> Fleet:
        interpreter = self._interpreters.get(environment)
        if interpreter is None:
            raise ModelLoadError("the model asks for an environment that isn't in MMS_ENVS")
        options = replace(
            self._options,
            environment=environment,
            python=interpreter.python,
            max_in_vain=_IN_VAIN,
        )
        return Fleet(workers=WORKERS, options=options, listener=self._listener, ids=self._ids)

    def _close(self, environment: str) -> None:
        fleet = self._pools.pop(environment).fleet
        self._closing.add(fleet)
        task = asyncio.create_task(fleet.aclose(), name=f"close {environment}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._closing.discard(fleet))


def _is_hopeless(fleet: Fleet) -> bool:
    """It starts no more workers; one that it has all the same is not to be lost."""
    return fleet.has_given_up and not fleet.workers
