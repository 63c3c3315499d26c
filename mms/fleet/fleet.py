"""Keeps the workers going: one seat for each, a zygote under them, a tick that looks for hung ones.

A lost worker is replaced at once, and with growing waits when that doesn't help. A replacement is
ready before the old one goes. Knows nothing of models, requests or memory budgets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from mms.fleet.backoff import Backoff
from mms.fleet.memory import pss_of
from mms.fleet.outcome import FleetOptions, LostReason
from mms.fleet.page import StatusPage
from mms.fleet.worker import Worker
from mms.fleet.zygote import Zygote

_log = logging.getLogger("mms.fleet")

_REAP_S: Final = 5.0  # what a zygote may take to kill its workers


class FleetListener(Protocol):
    """Is told on the loop; workers that never were ready are not mentioned."""

    def worker_ready(self, worker: Worker) -> None: ...

    def worker_lost(self, worker: Worker, reason: LostReason) -> None: ...


@dataclass(slots=True)
class _Seat:
    backoff: Backoff
    worker: Worker | None = None
    vacated: asyncio.Event = field(default_factory=asyncio.Event)


class Fleet:
    """``await start()``, then ``await aclose()``; all calls but :meth:`memory` on the loop."""

    def __init__(self, *, workers: int, options: FleetOptions, listener: FleetListener) -> None:
        self._options = options
        self._listener = listener
        self._seats = [_Seat(Backoff(*options.backoff_s)) for _ in range(workers)]
        self._all: dict[int, Worker] = {}  # those that are not gone, retiring ones too
        self._zygote: Zygote | None = None
        self._zygote_up = asyncio.Event()
        self._some_ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._last_id = 0

    def __repr__(self) -> str:
        return f"<Fleet {len(self.workers)} of {len(self._seats)} ready, {len(self._all)} alive>"

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that take new work."""
        return tuple(w for w in self._all.values() if w.ready and w.alive and not w.retiring)

    @property
    def zygote_pid(self) -> int | None:
        return None if self._zygote is None else self._zygote.pid

    async def start(self) -> None:
        """Returns at once; workers become ready later."""
        jobs = [self._keep_zygote(), self._watch(), *map(self._tend, self._seats)]
        self._tasks = [asyncio.create_task(job) for job in jobs]

    async def wait_ready(self, timeout_s: float) -> None:
        """Until a worker is ready; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._some_ready.wait()

    async def replace(self, worker: Worker) -> Worker:
        """A new worker, ready, in the seat of ``worker``, which then gets no new work.

        The caller drains the old one and calls :meth:`retire`. Raises RuntimeError if the new one
        doesn't become ready, the old one then goes on; or if that one ended by itself meanwhile.
        """
        new = await self._launch()
        if new is not None:
            await new.settled.wait()
        if new is None or not new.alive:
            raise RuntimeError("no new worker became ready; the old one goes on")
        seat = next((seat for seat in self._seats if seat.worker is worker), None)
        if seat is None:  # and somebody else in it, or soon
            new.shut_down()
            raise RuntimeError("the old worker ended by itself, and was replaced for that")
        seat.worker = new
        worker.retiring = True
        return new

    async def retire(self, worker: Worker, *, timeout_s: float = 5.0) -> None:
        """End a worker that the caller has drained."""
        worker.shut_down()
        await self._until_gone([worker], timeout_s)

    async def aclose(self, timeout_s: float = 5.0) -> None:
        """End everything; whatever is in flight is lost. Returns when no process is left."""
        self._closing.set()
        self._zygote_up.set()
        workers = list(self._all.values())
        for worker in workers:
            worker.shut_down()
        await self._until_gone(workers, timeout_s)
        if self._zygote is not None:
            self._zygote.close()
        await asyncio.gather(*self._tasks)

    def memory(self) -> dict[int, int]:
        """PSS by process of zygote and workers. Slow: call it in a thread."""
        pids = [worker.pid for worker in list(self._all.values()) if worker.pid]
        zygote_pid = self.zygote_pid
        return pss_of(pids if zygote_pid is None else [zygote_pid, *pids])

    async def _keep_zygote(self) -> None:
        backoff = Backoff(*self._options.backoff_s)
        while not self._closing.is_set():
            begun, zygote = time.monotonic(), None
            try:
                zygote = await Zygote.start(self._options, self._zygote_lost)
            except OSError as error:
                _log.warning("the zygote can't be started", extra={"error": str(error)})
            else:
                await self._use_zygote(zygote)
            if not self._closing.is_set():
                lived_s = time.monotonic() - begun
                was_ready = zygote is not None and zygote.has_forked
                await self._pause(backoff.after(was_ready=was_ready, lived_s=lived_s))

    async def _use_zygote(self, zygote: Zygote) -> None:
        if self._closing.is_set():
            zygote.close()
        else:
            self._zygote = zygote
            self._zygote_up.set()
        await zygote.lost.wait()
        await zygote.reap(_REAP_S)
        if not self._closing.is_set():
            _log.error("the zygote ended, its workers with it; starting another")

    def _zygote_lost(self) -> None:
        self._zygote = None
        self._zygote_up.clear()

    async def _watch(self) -> None:
        then = time.monotonic()
        while not self._closing.is_set():
            await self._pause(self._options.tick_s)
            now = time.monotonic()
            for worker in list(self._all.values()):
                worker.tick(now - then)
            then = now

    async def _tend(self, seat: _Seat) -> None:
        """Keep a worker in this seat until the fleet closes."""
        while not self._closing.is_set():
            if seat.worker is None:
                seat.worker = await self._launch()
            if seat.worker is None:
                await self._pause(seat.backoff.after(was_ready=False, lived_s=0.0))
                continue
            while not (worker := seat.worker).gone.is_set():  # who sits there may be replaced
                seat.vacated.clear()
                await seat.vacated.wait()
            seat.worker = None
            lived_s = time.monotonic() - worker.made_at
            await self._pause(seat.backoff.after(was_ready=worker.ready, lived_s=lived_s))

    async def _launch(self) -> Worker | None:
        """A worker that is on its way; ``None`` when there can be none now."""
        if not self._closing.is_set():
            await self._zygote_up.wait()
        zygote = self._zygote
        if self._closing.is_set() or zygote is None:
            return None
        try:
            return await self._fork(zygote)
        except OSError as error:
            _log.warning("a worker can't be started", extra={"error": str(error)})
            return None

    async def _fork(self, zygote: Zygote) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            page, page_fd = StatusPage.create()
            self._last_id += 1
            worker = Worker(
                self._last_id,
                page=page,
                zygote=zygote,
                options=self._options,
                on_ready=self._on_ready,
                on_gone=self._on_gone,
            )
            self._all[worker.id] = worker
            try:
                zygote.fork(worker, theirs, page_fd)
            finally:
                os.close(page_fd)
        await worker.channel.connect(ours)
        return worker

    async def _until_gone(self, workers: list[Worker], timeout_s: float) -> None:
        """After ``timeout_s`` they are killed."""
        try:
            async with asyncio.timeout(timeout_s):
                for worker in workers:
                    await worker.gone.wait()
        except TimeoutError:
            for worker in workers:
                worker.kill("retired")
            for worker in workers:
                await worker.gone.wait()

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the fleet closes."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _on_ready(self, worker: Worker) -> None:
        self._some_ready.set()
        _log.info("worker ready", extra={"worker": worker.id, "pid": worker.pid})
        try:
            self._listener.worker_ready(worker)
        except Exception:  # noqa: BLE001 - a listener's bug is not to stop the fleet
            _log.exception("a listener failed", extra={"worker": worker.id})

    def _on_gone(self, worker: Worker) -> None:
        del self._all[worker.id]
        for seat in self._seats:
            if seat.worker is worker:
                seat.vacated.set()
        if not self.workers:
            self._some_ready.clear()
        level = logging.INFO if worker.reason == "retired" else logging.WARNING
        fields = {"worker": worker.id, "pid": worker.pid, "reason": worker.reason}
        _log.log(level, "worker ended", extra=fields)
        if not worker.ready:
            return
        try:
            self._listener.worker_lost(worker, worker.reason)
        except Exception:  # noqa: BLE001 - a listener's bug is not to stop the fleet
            _log.exception("a listener failed", extra={"worker": worker.id})
