"""The memory keeper: the registry's capacity follows what processes really take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from mms.engine.memory import DRIFT_READINGS, MemoryKeeper
from mms.errors import InsufficientStorage, NoRoom
from mms.fleet.worker import Worker
from tests.engine.fakes import MB, World, artifact, settle

BUDGET = 400 * MB
ZYGOTE = 999


@dataclass
class Processes:
    """What the kernel would say: PSS by process id. The fake of the keeper's view of the fleet."""

    workers: tuple[Worker, ...]
    pss: dict[int, int] = field(default_factory=dict)

    def memory(self) -> dict[int, int]:
        return dict(self.pss)


class Scene:
    """A world, its processes of 50 MB each, and a keeper that looks at both."""

    def __init__(self) -> None:
        self.world = World(capacity=BUDGET)
        self.registry = self.world.registry
        workers = tuple(cast("Worker", worker) for worker in self.world.workers)
        base = {worker.pid: 50 * MB for worker in workers}
        self.processes = Processes(workers, {ZYGOTE: 50 * MB} | base)
        self.replaced: list[int] = []
        self.stays = False
        self.disk_bytes = 0
        self.keeper = MemoryKeeper(
            budget=BUDGET,
            fleet=self.processes,
            registry=self.registry,
            departures=self.world.engine.departures,
            replace=self._replace,
            other_bytes=lambda: self.disk_bytes,
        )

    async def _replace(self, worker: Worker) -> None:
        self.replaced.append(worker.id)
        if not self.stays:
            self.processes.workers = tuple(w for w in self.processes.workers if w is not worker)

    async def measure(self, times: int = 1) -> int:
        for _ in range(times):
            await self.keeper.measure()
        await settle()
        return self.registry.capacity // MB

    def grow(self, megabytes: int, worker: int = 1) -> None:
        self.processes.pss[1000 + worker] += megabytes * MB

    async def bring(self, key: str, megabytes: int) -> None:
        """Load a model whose worker's PSS grows by just what it measures."""
        self.registry.sizes.learn(key, artifact(etag=f"etag of {key}"), megabytes * MB)
        for worker in self.world.workers:
            worker.size = megabytes * MB
        await self.world.invoke(key)
        self.grow(megabytes)


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_models_may_take_what_the_processes_leave(scene: Scene) -> None:
    """The budget less the PSS of zygote and workers; known once there was a reading."""
    assert not scene.keeper.first_reading.is_set()
    assert await scene.measure() == 400 - 150
    assert scene.keeper.first_reading.is_set()


async def test_nothing_is_known_before_a_worker_lives(scene: Scene) -> None:
    """Loads wait for a reading that has a worker in it."""
    scene.processes.workers = ()
    await scene.measure()
    assert not scene.keeper.first_reading.is_set()


async def test_models_by_their_measured_size_are_no_overhead(scene: Scene) -> None:
    """Loading changes what is left, not what models may take."""
    await scene.measure()
    await scene.bring("a", 80)
    await scene.bring("b", 70)
    assert await scene.measure(3) == 250


async def test_memory_that_others_took_may_come_back(scene: Scene) -> None:
    """What fitted once can fit again: that is no reason to call it too large for good."""
    scene.world.engine.departures.room_wait_s = 0.05
    await scene.measure()
    scene.grow(300, worker=2)
    assert await scene.measure() < 0
    with pytest.raises(NoRoom):
        await scene.bring("a", 70)
    with pytest.raises(InsufficientStorage):
        await scene.bring("b", 260)
    scene.grow(-300, worker=2)
    await scene.measure(12)
    await scene.bring("a", 70)


async def test_the_least_recently_used_leave_when_other_memory_grows(scene: Scene) -> None:
    """The budget holds for all of it: what predicts leave behind drives models out."""
    await scene.measure()
    for key in ("a", "b", "c"):
        await scene.bring(key, 70)
    await scene.world.invoke("a")
    scene.grow(60, worker=2)
    await scene.measure()
    assert scene.world.resident() == {"a", "c"}
    scene.grow(-70)  # b's memory is back
    assert 190 <= await scene.measure(9) <= 191
    assert scene.world.resident() == {"a", "c"}
    scene.world.check()


async def test_a_rise_counts_at_once_and_a_fall_slowly(scene: Scene) -> None:
    """The budget is a promise, and peaks come again."""
    await scene.measure()
    scene.grow(64)
    assert await scene.measure() == 250 - 64
    scene.grow(-64)
    assert [await scene.measure() for _ in range(3)] == [250 - 32, 250 - 16, 250 - 8]


async def test_a_disk_tier_on_tmpfs_is_memory(scene: Scene) -> None:
    """What the cache folder takes, models can't."""
    scene.disk_bytes = 100 * MB
    assert await scene.measure() == 150


async def test_an_open_reservation_hides_no_growth_beyond_it(scene: Scene) -> None:
    """How much of it is in use nobody knows: only what exceeds it counts."""
    await scene.measure()
    entry = scene.registry.acquire("m")
    scene.registry.sizes.learn("m", artifact(), 40 * MB)
    scene.registry.reserve(entry, artifact(), 1)
    for used in (0, 20, 40):
        scene.processes.pss[1001] = (50 + used) * MB
        assert await scene.measure(3) == 250
    scene.grow(30)
    assert await scene.measure() == 220


async def test_the_capacity_comes_back_though_loads_never_pause(scene: Scene) -> None:
    """A peak is over when it is over, also under steady cold traffic."""
    await scene.measure()
    entry = scene.registry.acquire("m")
    scene.registry.sizes.learn("m", artifact(), 10 * MB)
    scene.registry.reserve(entry, artifact(), 1)
    scene.grow(100)
    assert await scene.measure(9) < 165
    scene.grow(-100)
    assert await scene.measure(9) >= 249


async def test_no_memory_at_all_is_said_and_nothing_fits(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers that alone take the budget: one line names the settings."""
    scene.grow(300)
    assert await scene.measure() < 0
    assert "MMS_MEMORY_BUDGET" in caplog.text


async def test_a_worker_that_has_drifted_is_replaced_once(scene: Scene) -> None:
    """A quarter of the budget beyond its models, for three readings in a row."""
    await scene.measure()
    scene.grow(101, worker=2)
    await scene.measure(DRIFT_READINGS - 1)
    assert scene.replaced == []
    await scene.measure(5)
    assert scene.replaced == [2]


async def test_a_peak_costs_no_worker(scene: Scene) -> None:
    """A large batch or load may take as much for a moment."""
    await scene.measure()
    for _ in range(5):
        scene.grow(150)
        await scene.measure(DRIFT_READINGS - 1)
        scene.grow(-150)
        await scene.measure()
    assert scene.replaced == []


async def test_a_worker_full_of_models_has_not_drifted(scene: Scene) -> None:
    """What models measure is theirs."""
    await scene.measure()
    await scene.bring("m", 150)
    await scene.measure(5)
    assert scene.replaced == []


async def test_a_replacement_that_fails_is_tried_again(scene: Scene) -> None:
    """And holds up no other worker's."""
    scene.stays = True
    await scene.measure()
    scene.grow(101, worker=1)
    await scene.measure(DRIFT_READINGS)
    await scene.measure(DRIFT_READINGS)
    assert scene.replaced == [1, 1]


async def test_run_measures_until_cancelled(scene: Scene) -> None:
    """The first reading comes as soon as there is a worker."""
    task = asyncio.create_task(scene.keeper.run())
    async with asyncio.timeout(10):
        await scene.keeper.first_reading.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(scene.keeper.process_bytes) == {ZYGOTE, 1001, 1002}
