"""What may happen meanwhile: deaths, cancellations and departures beside loads and requests."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mms.engine.registry import ModelState
from mms.errors import ModelLoadError, ModelTimeout, ServiceUnavailable
from tests.engine.world import engine_world
from tests.fleet.world import until


async def test_a_departure_goes_on_when_who_waits_for_it_has_gone(tmp_path: Path) -> None:
    """Else its memory would count for ever."""
    async with engine_world(tmp_path) as world:
        key = world.model("a")
        answering = world.asking(key, "sleep 0.3")
        await until(lambda: (e := world.engine.registry.find(key)) and e.state is ModelState.READY)
        unloading = asyncio.create_task(world.engine.unload(key))
        await until(lambda: world.engine.departures.under_way)
        unloading.cancel()
        await answering
        await until(lambda: world.engine.registry.resident_bytes == 0)
        world.engine.registry.check_valid()


async def test_requests_between_a_workers_silence_and_its_end_move_on(tmp_path: Path) -> None:
    """It is known to be lost before its models are forgotten; they wait that time out."""
    async with engine_world(tmp_path, workers=2) as world:
        key = world.model("a")
        await world.ask(key)
        worker = world.worker_of(key)
        zygote_pid = world.fleet.zygote_pid
        assert zygote_pid is not None
        os.kill(zygote_pid, signal.SIGSTOP)  # it would tell of the death at once
        try:
            os.kill(worker.pid, signal.SIGKILL)
            await until(lambda: not worker.alive)
            assert not worker.gone.is_set()
            assert (await world.ask(key)).tier == "disk"
        finally:
            os.kill(zygote_pid, signal.SIGCONT)


async def test_what_loads_in_a_worker_that_is_emptied_goes_too(tmp_path: Path) -> None:
    """A model that arrives late would be lost with the worker, and its requests."""
    async with engine_world(tmp_path) as world:
        [old] = world.fleet.workers
        early, late = world.model("early"), world.model("late", "sleep 0.5")
        await world.ask(early)
        answering = world.asking(early, "sleep 1"), world.asking(late, "sleep 1")
        await until(lambda: old.loading and old.inflight)
        await world.fleet.replace(old)
        await world.engine.empty(old)
        await world.fleet.retire(old)
        assert [answer.body for answer in await asyncio.gather(*answering)] == [b"slept"] * 2
        assert not world.engine.registry.entries_of(old.id)
        world.engine.registry.check_valid()


async def test_a_load_in_line_behind_a_killer_is_not_blamed(tmp_path: Path) -> None:
    """It had not begun; only what was loading when a worker died twice is refused."""
    async with engine_world(tmp_path) as world:
        killer, innocent = world.model("killer", "die"), world.model("innocent")
        first, second = world.asking(killer), world.asking(innocent)
        with pytest.raises(ModelLoadError):
            await first
        assert (await second).body == b""
        world.engine.registry.check_valid()


async def test_a_load_that_never_began_is_not_the_artifacts_fault(tmp_path: Path) -> None:
    """The one in the way is refused as too slow; the one behind it may come again at once."""
    async with engine_world(tmp_path, load_timeout_s=0.5) as world:
        slow, innocent = world.model("slow", "sleep 1"), world.model("innocent")
        first, second = world.asking(slow), world.asking(innocent)
        with pytest.raises(ServiceUnavailable):
            await second
        with pytest.raises(ModelLoadError):
            await first
        [worker] = world.fleet.workers
        await until(lambda: not worker.loading)
        assert (await world.ask(innocent)).body == b""
        assert world.source.held == 0


async def test_a_model_that_still_computes_is_not_evicted(tmp_path: Path) -> None:
    """Whoever asked may have gone; its memory is in use until the batch is done."""
    async with engine_world(tmp_path) as world:
        key = world.model("a")
        await world.ask(key)
        with pytest.raises(ModelTimeout):
            await world.ask(key, "sleep 1", timeout_s=0.2)
        registry = world.engine.registry
        registry.capacity = 0
        assert registry.shrink() == []
        await until(lambda: (e := registry.find(key)) and e.pins == 0)
        assert [entry.key for entry in registry.shrink()] == [key]
