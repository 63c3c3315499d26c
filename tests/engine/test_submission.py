"""Requests to resident models without a task: the same engine, the same pins."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from mms.engine.submission import Submission
from mms.errors import MmsError
from mms.types import Answer, Invocation
from tests.engine.fakes import FAR, World

NOTHING = Invocation(spec=b"", body=b"")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    made.check()


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Caller:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: asyncio.Future[Answer | MmsError | None] = (
            asyncio.get_running_loop().create_future()
        )
        self.submitted: Submission | None = None

    def answered(self, outcome: Answer | MmsError | None) -> None:
        self.told.set_result(outcome)


async def test_a_model_that_is_not_resident_is_left_to_invoke(world: World) -> None:
    caller = Caller()
    submitted = world.engine.submit("m", NOTHING, deadline=FAR, on_answer=caller.answered)
    assert submitted is None
    assert world.engine.registry.find("m") is None, "nothing has happened"


async def test_a_resident_model_answers_and_is_released(world: World) -> None:
    await world.invoke("m")
    caller = Caller()
    world.engine.submit("m", NOTHING, deadline=FAR, on_answer=caller.answered)
    entry = world.engine.registry.find("m")
    assert entry is not None
    assert entry.pins > 0, "it can't be evicted now"
    outcome = await caller.told
    assert isinstance(outcome, Answer)
    assert outcome.tier == "memory"
    assert entry.pins == 0


async def test_a_dropped_request_is_not_run_and_frees_its_model(world: World) -> None:
    await world.invoke("m")
    caller = Caller()
    submitted = world.engine.submit("m", NOTHING, deadline=FAR, on_answer=caller.answered)
    assert submitted is not None
    submitted.drop()
    submitted.drop()
    entry = world.engine.registry.find("m")
    assert entry is not None
    assert entry.pins == 0
    await world.invoke("m")
    assert not caller.told.done()


async def test_who_was_queued_for_a_worker_that_died_may_ask_again(world: World) -> None:
    await world.invoke("m")
    caller = Caller()
    world.engine.submit("m", NOTHING, deadline=FAR, on_answer=caller.answered)
    world.lose(world.workers[0])
    assert await caller.told is None


@pytest.mark.usefixtures("_no_collector")
async def test_an_answered_request_is_freed_at_once(world: World) -> None:
    """Without waiting for the collector, which walks through all that is alive."""
    await world.invoke("m")
    caller = Caller()
    submitted = world.engine.submit("m", NOTHING, deadline=FAR, on_answer=caller.answered)
    caller.submitted = submitted  # as who asks keeps it, to drop it
    await caller.told
    freed = weakref.ref(caller)
    del caller, submitted
    await asyncio.sleep(0)
    assert freed() is None
