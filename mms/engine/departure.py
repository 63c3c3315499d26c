"""Departures: models on their way out of memory, and who waits for the room they leave.

A model leaves once nobody uses it any more; its memory counts until its worker has given it back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from mms.engine.copy import Copy
from mms.engine.registry import ModelEntry, ModelRegistry
from mms.metrics import Metrics

log = logging.getLogger("mms.engine")
ROOM_WAIT_S = 20.0  # how long a load waits for others to be out of use before it is a 503


class Departures:
    """Unloads what the registry has retired."""

    def __init__(
        self,
        registry: ModelRegistry[Copy],
        metrics: Metrics,
        *,
        room_wait_s: float = ROOM_WAIT_S,
    ) -> None:
        self.room_wait_s = room_wait_s
        self._registry = registry
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_use: dict[int, asyncio.Future[None]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    async def leave(self, entries: Iterable[ModelEntry[Copy]], *, reason: str) -> None:
        """Unload retired entries; returns when their memory is back."""
        if tasks := self.leave_soon(entries, reason=reason):
            await asyncio.wait(tasks)  # they go on when who waits for them is cancelled

    def leave_soon(
        self, entries: Iterable[ModelEntry[Copy]], *, reason: str
    ) -> list[asyncio.Task[None]]:
        """The same, without waiting for it."""
        tasks = [asyncio.create_task(self._unload(entry, reason)) for entry in entries]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return tasks

    def released(self, entry: ModelEntry[Copy]) -> None:
        """A pin was given back: a retired entry may go now, and others may find room."""
        if entry.pins == 0:
            in_use = self._in_use.pop(entry.model_id, None)
            if in_use is not None and not in_use.done():
                in_use.set_result(None)
            self.wake_who_wait_for_room()

    async def room(self) -> None:
        """Until something has changed that may have made room; a second at most."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await asyncio.wait({future}, timeout=1.0)

    def wake_who_wait_for_room(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _unload(self, entry: ModelEntry[Copy], reason: str) -> None:
        if entry.pins > 0:
            in_use = asyncio.get_running_loop().create_future()
            self._in_use[entry.model_id] = in_use
            await in_use
        started = time.monotonic()
        copy = entry.copy
        if copy is not None:
            await copy.worker.unload(entry.model_id)
            copy.let_files_go()
        self._registry.unloaded(entry)
        self.wake_who_wait_for_room()
        self._metrics.unloaded(time.monotonic() - started)
        self._metrics.evicted("memory", reason)
        if self._registry.find(entry.key) is None:
            self._metrics.forget(entry.key)
        log.info("model unloaded", extra={"target": entry.key, "reason": reason})
