"""Flights and departures against each other: who may go when, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mms.engine.registry import ModelState
from mms.errors import (
    InsufficientStorage,
    ModelLoadError,
    ModelNotReady,
    NoRoom,
    ServiceUnavailable,
)
from mms.fleet.outcome import LostReason
from mms.fleet.worker import Worker
from tests.engine.fakes import MB, World, settle


async def test_many_requests_share_one_flight() -> None:
    """A thousand ask for one cold model: one fetch, one load, everybody is answered."""
    world = World()
    world.source.gate.close()
    asked = [world.ask("m") for _ in range(1000)]
    await settle()
    world.source.gate.open()
    answers = await asyncio.gather(*asked[:8])
    assert world.source.fetched == ["m"]
    assert world.workers[0].loads.came == 1
    assert {answer.tier for answer in answers} == {"store"}
    await asyncio.gather(*asked, return_exceptions=True)
    world.check()


async def test_a_flight_goes_on_when_all_who_waited_have_gone() -> None:
    """The next request finds the model in memory."""
    world = World()
    world.source.gate.close()
    asked = [world.ask("m") for _ in range(3)]
    await settle()
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    world.source.gate.open()
    await settle()
    assert (await world.invoke("m")).tier == "memory"
    assert world.source.fetched == ["m"]
    world.check()


async def test_a_stalled_load_delays_no_other_model() -> None:
    """No lock is held across a load."""
    world = World()
    first, second = world.workers
    first.loads.close()
    stalled = world.ask("slow")
    await settle()
    first.retiring = True  # so that the other worker is taken
    assert (await world.invoke("quick")).body == b"2"
    assert second.held
    assert not stalled.done()
    first.loads.open()
    assert (await stalled).body == b"1"
    world.check()


async def test_unloading_during_the_load_waits_for_it_and_answers_who_waited() -> None:
    """DELETE in the middle of a load: the waiters get answers, then the model goes."""
    world = World()
    worker = world.workers[0]
    worker.loads.close()
    waiters = [world.ask("m") for _ in range(3)]
    await settle()
    unload = asyncio.create_task(world.engine.unload("m"))
    await settle()
    assert not unload.done()
    worker.loads.open()
    assert [answer.body for answer in await asyncio.gather(*waiters)] == [b"1"] * 3
    await unload
    assert world.resident() == set()
    world.check()


async def test_unloading_waits_for_the_requests_in_it_and_new_ones_load_it_again() -> None:
    """What is in use is answered by the copy it has; who comes later gets a new one."""
    world = World()
    await world.invoke("m")
    worker = world.workers[0]
    worker.runs.close()
    using = world.ask("m")
    await settle()
    unload = asyncio.create_task(world.engine.unload("m"))
    later = world.ask("m")
    await settle()
    assert not unload.done()
    assert worker.unloads.came == 0
    worker.runs.open()
    await asyncio.gather(using, unload, later)
    assert world.source.fetched == ["m", "m"]
    assert worker.unloads.came == 1
    world.check()


async def test_giving_up_an_unload_does_not_give_up_the_unloading() -> None:
    """Its client hangs up: the model's bytes are free all the same."""
    world = World()
    await world.invoke("m")
    worker = world.workers[0]
    worker.unloads.close()
    unload = asyncio.create_task(world.engine.unload("m"))
    await settle()
    unload.cancel()
    await settle()
    assert world.registry.resident_bytes > 0
    worker.unloads.open()
    await settle()
    assert world.registry.resident_bytes == 0
    world.check()


async def test_a_load_that_times_out_while_others_leave_loses_no_bytes() -> None:
    """Its victims' memory is given back, and its own reservation too."""
    world = World(capacity=10 * MB, load_timeout_s=0.1)
    worker = world.workers[0]
    for key in ("a", "b", "c"):
        world.source.sizes[key] = 1
        await world.invoke(key)
    worker.unloads.close()
    world.source.sizes["huge"] = 10 * MB
    with pytest.raises(ServiceUnavailable, match="MMS_LOAD_TIMEOUT"):
        await world.invoke("huge")
    assert world.registry.reserved_bytes == 0
    assert world.registry.resident_bytes == 3 * MB
    worker.unloads.open()
    await settle()
    world.check()
    assert world.registry.resident_bytes == 0


async def test_a_load_starts_only_when_the_room_it_needs_is_free() -> None:
    """The memory of who left for it counts until it is back."""
    world = World(capacity=10 * MB)
    worker = world.workers[0]
    await world.invoke("old")
    worker.unloads.close()
    world.source.sizes["new"] = 8 * MB
    asked = world.ask("new")
    await settle()
    assert (worker.loads.came, worker.unloads.came) == (1, 1)
    worker.unloads.open()
    await asked
    assert world.resident() == {"new"}
    world.check()


async def test_a_batch_that_was_given_up_keeps_its_model_until_it_is_done() -> None:
    """A model isn't unloaded under a batch, though nobody waits for the answers any more."""
    world = World()
    worker = world.workers[0]
    await world.invoke("m")
    worker.runs.close()
    asked = world.ask("m")
    await settle()
    asked.cancel()
    await settle()
    unload = asyncio.create_task(world.engine.unload("m"))
    await settle()
    assert worker.unloads.came == 0
    worker.runs.open()
    await unload
    world.check()


async def test_a_worker_that_dies_between_loaded_and_commit_costs_one_more_load() -> None:
    """Nothing is committed into a dead worker; the model is loaded elsewhere."""
    world = World()
    first, second = world.workers
    first.dies_once_loaded = True
    assert (await world.invoke("m")).body == b"2"
    assert second.held
    world.lose(first)
    world.check()


@pytest.mark.parametrize(
    ("reason", "error"), [("crashed", ModelLoadError), ("killed", ServiceUnavailable)]
)
async def test_two_lost_workers_end_a_load(reason: LostReason, error: type[Exception]) -> None:
    """A model that kills who loads it is a load error; the zygote's death is nobody's fault."""
    world = World()
    for worker in world.workers:
        worker.reason = reason
        worker.loads.close()
    asked = world.ask("m")
    await settle()
    for worker in world.workers:
        world.lose(worker)
        await settle()
        world.workers[0].alive = worker is world.workers[1]
    with pytest.raises(error):
        await asked
    world.check()


async def test_what_is_queued_in_a_lost_worker_runs_elsewhere() -> None:
    """Its request had not started."""
    world = World()
    first = world.workers[0]
    await world.invoke("m")
    first.runs.close()
    asked = world.ask("m")
    await settle()
    world.lose(first)
    assert (await asked).body == b"2"
    world.check()


async def test_a_replaced_worker_is_empty_of_what_was_loading_too() -> None:
    """Requests that wait for a load into it are answered before it goes."""
    world = World()
    old = world.workers[0]
    await world.invoke("there")
    old.loads.close()
    old.runs.close()
    coming, using = world.ask("coming"), world.ask("there")
    await settle()
    old.retiring = True
    emptied = asyncio.create_task(world.engine.empty(cast("Worker", old)))
    await settle()
    old.runs.open()
    await settle()
    assert not emptied.done()
    old.loads.open()
    answers = await asyncio.gather(coming, using)
    assert [answer.body for answer in answers] == [b"1", b"1"]
    await emptied
    assert not old.held
    assert world.registry.entries_of(old.id) == []
    world.check()


async def test_no_room_while_everything_is_in_use_is_said_after_the_wait() -> None:
    """503 with a hint when to try again; the models in use are untouched."""
    world = World(capacity=10 * MB)
    world.engine.departures.room_wait_s = 0.05
    world.source.sizes["new"] = 8 * MB
    await world.invoke("used")
    world.workers[0].runs.close()
    using = world.ask("used")
    await settle()
    with pytest.raises(NoRoom) as refused:
        await world.invoke("new")
    assert refused.value.retry_after_s
    world.workers[0].runs.open()
    assert (await using).tier == "memory"
    world.check()


async def test_a_model_larger_than_its_estimate_waits_for_room_and_loads_again() -> None:
    """It leaves at once, since the budget is a promise, and comes back when it fits."""
    world = World(capacity=10 * MB)
    worker = world.workers[0]
    worker.size = 6 * MB
    await world.invoke("used")
    worker.runs.close()
    using = world.ask("used")
    await settle()
    worker.size = 5 * MB
    coming = world.ask("larger")
    await settle()
    assert (worker.loads.came, len(worker.held)) == (2, 1)
    assert world.registry.reserved_bytes == 0
    worker.runs.open()
    await using
    assert (await coming).body == b"1"
    assert (worker.loads.came, world.source.fetched) == (3, ["used", "larger"])
    assert world.resident() == {"larger"}
    world.check()


async def test_who_waits_for_room_goes_on_when_a_model_is_out_of_use() -> None:
    """The last answer of a model in use makes the room: no wait until a timer."""
    world = World(capacity=10 * MB)
    world.source.sizes["new"] = 8 * MB
    await world.invoke("used")
    world.workers[0].runs.close()
    using = world.ask("used")
    await settle()
    coming = world.ask("new")
    await settle()
    world.workers[0].runs.open()
    await settle()
    assert using.done()
    assert world.source.fetched == ["used", "new"]
    assert world.resident() == {"new"}
    await coming
    world.check()


async def test_a_model_measured_too_large_leaves_again_and_is_remembered() -> None:
    """507 after one load; then without another fetch, and those in memory stay."""
    world = World(capacity=10 * MB)
    await world.invoke("warm")
    world.workers[0].size = 11 * MB
    for _ in range(2):
        with pytest.raises(InsufficientStorage):
            await world.invoke("huge")
    assert world.source.fetched == ["warm", "huge"]
    assert world.resident() == {"warm"}
    world.check()


async def test_the_capacity_may_fall_under_a_load() -> None:
    """A load that doesn't fit any more is refused for now, and leaves nothing behind."""
    world = World(capacity=10 * MB)
    world.workers[0].loads.close()
    world.source.sizes["m"] = 4 * MB
    asked = world.ask("m")
    await settle()
    world.registry.capacity = 1000
    assert world.registry.shrink() == []
    world.workers[0].loads.open()
    with pytest.raises(NoRoom):
        await asked
    world.check()
    world.registry.ceiling = 1000  # and so it will stay
    with pytest.raises(InsufficientStorage):
        await world.ask("m")
    world.check()


async def test_impatience_is_a_429_and_the_load_goes_on() -> None:
    """A request waits MMS_LOAD_WAIT; the flight doesn't care."""
    world = World()
    world.source.gate.close()
    with pytest.raises(ModelNotReady):
        await world.engine.load("m", deadline=0.0)
    entry = world.registry.find("m")
    assert entry is not None
    assert entry.state is ModelState.FETCHING
    world.source.gate.open()
    await settle()
    assert world.resident() == {"m"}
    world.check()
