from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from mms.api.client_watch import ClientWatch
from tests.api.world import until


class Client:
    """The receiving end of a connection that a test can close."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.listeners = 0

    async def receive(self) -> Message:
        self.listeners += 1
        try:
            await self.gone.wait()
        finally:
            self.listeners -= 1
        return {"type": "http.disconnect"}


async def test_a_watch_that_is_stopped_listens_no_more() -> None:
    """A later request on the connection is none of its business."""
    client = Client()
    watch = ClientWatch(client.receive, lambda: 60)
    watch.body_read()
    await until(lambda: client.listeners == 1, "listening")
    watch.stop()
    await until(lambda: client.listeners == 0, "stopped")
    client.gone.set()
    await asyncio.sleep(0)
    assert not watch.is_gone


async def test_a_disconnect_cancels_the_task_and_tells_why() -> None:
    """The flag is set before the cancellation arrives."""
    client = Client()
    watch = ClientWatch(client.receive, lambda: 60)
    watch.body_read()
    client.gone.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    assert (watch.is_gone, watch.is_late) == (True, False)
    cancelled = asyncio.current_task()
    assert cancelled is not None
    cancelled.uncancel()


async def test_a_deadline_that_has_passed_already_ends_a_late_body() -> None:
    """Never a negative timer; the reason is the deadline."""
    watch = ClientWatch(Client().receive, lambda: -5)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    assert (watch.is_gone, watch.is_late) == (False, True)
    cancelled = asyncio.current_task()
    assert cancelled is not None
    cancelled.uncancel()
