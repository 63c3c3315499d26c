"""What happens to a request on the short way when that comes to nothing."""

from __future__ import annotations

import asyncio
from typing import cast

from mms.api.ports import OnAnswer
from mms.types import Invocation
from tests.api.fake_backend import FakeBackend, FakeSubmission
from tests.api.world import running


class _Dropped:
    def drop(self) -> None:
        """Never: it is told at once."""


class _DyingWorkers(FakeBackend):
    """Its models are resident, and their worker is always just dying."""

    def submit(
        self, key: str, invocation: Invocation, /, *, deadline: float, on_answer: OnAnswer
    ) -> FakeSubmission | None:
        self.deadlines.append(deadline)
        asyncio.get_running_loop().call_soon(on_answer, None)
        return cast("FakeSubmission", _Dropped())


async def test_a_request_that_is_tried_again_has_no_more_time_than_it_had() -> None:
    """Its deadline counts from its arrival."""
    backend = _DyingWorkers()
    async with running(backend) as world:
        assert (await world.invoke("m")).status == 200
        (record,) = world.records.seen
    first, second = backend.deadlines
    assert second == first
    assert record.status == 200
    assert backend.inflight == 0
