"""Which worker a load goes to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import cast

import pytest

from mms.engine.workers import LoadChooser
from mms.errors import ServiceUnavailable
from mms.fleet.worker import Worker
from tests.engine.fakes import FakeWorker


class Living:
    """The fake of the chooser's view of the fleet."""

    def __init__(self, count: int) -> None:
        self.fakes = [FakeWorker(number) for number in range(1, count + 1)]
        self.is_ready = asyncio.Event()
        if count:
            self.is_ready.set()

    @property
    def workers(self) -> tuple[Worker, ...]:
        return tuple(cast("Worker", fake) for fake in self.fakes)

    async def wait_ready(self, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            await self.is_ready.wait()


def chooser(
    living: Living, measured: asyncio.Event | None = None, **environments: Living
) -> LoadChooser:
    async def fleet_of(environment: str) -> Living:
        return environments[environment] if environment else living

    async def until_measured(workers: tuple[Worker, ...]) -> None:
        if measured is not None:
            await measured.wait()

    return LoadChooser(fleet_of, until_measured=until_measured)


def soon() -> float:
    return time.monotonic() + 10


async def test_idle_workers_take_turns() -> None:
    living = Living(3)
    choose = chooser(living)
    chosen = Counter([(await choose.for_load(soon())).id for _ in range(9)])
    assert chosen == {1: 3, 2: 3, 3: 3}


async def test_one_that_loads_is_taken_last() -> None:
    """A worker has one load slot; one that answers requests is better than one that loads."""
    living = Living(2)
    living.fakes[0].loads_pending = 1
    living.fakes[1].inflight = 50
    assert (await chooser(living).for_load(soon())).id == 2


async def test_the_one_with_least_in_flight_is_taken() -> None:
    """A load slows its neighbours down."""
    living = Living(2)
    living.fakes[0].inflight = 1
    choose = chooser(living)
    assert [(await choose.for_load(soon())).id for _ in range(3)] == [2, 2, 2]


async def test_loads_are_shared_out_though_one_answers_more() -> None:
    """Else the idle one would be given a line of them while the other had none."""
    living = Living(2)
    living.fakes[0].lately = 5000.0
    living.fakes[1].loads_pending = 1
    assert (await chooser(living).for_load(soon())).id == 1


async def test_one_that_was_asked_much_lately_is_spared() -> None:
    """Though nothing of its quick models is in flight just now."""
    living = Living(2)
    living.fakes[0].lately = 900.0
    living.fakes[1].lately = 40.0
    choose = chooser(living)
    assert [(await choose.for_load(soon())).id for _ in range(3)] == [2, 2, 2]


async def test_workers_that_are_asked_about_as_much_take_turns() -> None:
    living = Living(2)
    living.fakes[0].lately = 900.0
    living.fakes[1].lately = 600.0
    choose = chooser(living)
    assert [(await choose.for_load(soon())).id for _ in range(4)] == [1, 2, 1, 2]


async def test_an_environments_workers_are_its_own() -> None:
    """They take turns among themselves, whatever the others have been given."""
    here, there = Living(2), Living(2)
    there.fakes = [FakeWorker(11), FakeWorker(12)]
    choose = chooser(here, old=there)
    turns = [(await choose.for_load(soon(), name)).id for name in ("", "old", "old", "", "old")]
    assert turns == [1, 11, 12, 2, 11]


async def test_it_waits_until_a_worker_lives() -> None:
    living = Living(0)
    waiting = asyncio.create_task(chooser(living).for_load(soon()))
    await asyncio.sleep(0)
    living.fakes.append(FakeWorker(7))
    living.is_ready.set()
    assert (await waiting).id == 7


async def test_it_waits_until_the_memory_budget_is_known() -> None:
    """Before the first reading nobody knows what fits."""
    measured = asyncio.Event()
    waiting = asyncio.create_task(chooser(Living(1), measured).for_load(soon()))
    await asyncio.sleep(0)
    assert not waiting.done()
    measured.set()
    assert (await waiting).id == 1


async def test_no_worker_until_the_deadline_is_a_503() -> None:
    with pytest.raises(ServiceUnavailable, match="no worker process") as refused:
        await chooser(Living(0)).for_load(time.monotonic())
    assert refused.value.retry_after_s
