"""Whether the client of one request is still there, and sends its body in time.

One timer a request. Most requests are answered before it fires; only then is a task spent on
listening for the disconnect, or the deadline armed for a body that is still on its way. Either ends
the request's task by cancelling it; ``is_gone`` and ``is_late`` tell why. A task that is cancelled
with neither set was cancelled by the server's shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive

PATIENCE_S = 0.05


class ClientWatch:
    """Watches from its making until ``stop``; made in the task that it may cancel."""

    __slots__ = (
        "_has_looked",
        "_loop",
        "_receive",
        "_remaining_s",
        "_task",
        "_timer",
        "_watcher",
        "is_gone",
        "is_late",
        "is_reading",
    )

    def __init__(self, receive: Receive, remaining_s: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._receive = receive
        self._remaining_s = remaining_s
        self._watcher: asyncio.Task[None] | None = None
        self._has_looked = False
        self.is_reading = True
        self.is_gone = False
        self.is_late = False
        self._timer = self._loop.call_later(PATIENCE_S, self._look)

    def body_read(self) -> None:
        """The body is complete: from now on a disconnect is what matters."""
        self.is_reading = False
        if self._has_looked:  # else the first timer is still to come and finds us waiting
            self._timer.cancel()
            self._timer = self._loop.call_later(PATIENCE_S, self._look)

    def stop(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _look(self) -> None:
        self._has_looked = True
        if self.is_reading:
            self._timer = self._loop.call_later(max(0.0, self._remaining_s()), self._too_late)
        else:
            self._watcher = self._loop.create_task(self._await_disconnect(self._receive))

    def _too_late(self) -> None:
        self.is_late = True
        self._cancel()

    async def _await_disconnect(self, receive: Callable[[], Awaitable[Any]]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
