"""Keeps the workers going: one seat for each, a zygote under them, a tick that looks for hung ones.

A lost worker is replaced at once, and with growing waits when that doesn't help. A replacement is
ready before the old one goes. Knows nothing of models, requests or memory budgets.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from mms.fleet.backoff import Backoff
from mms.fleet.memory import pss_of
from mms.fleet.outcome import FleetOptions, LostReason, NotStarting
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

    def __init__(
        self,
        *,
        workers: int,
        options: FleetOptions,
        listener: FleetListener,
        ids: Iterator[int] | None = None,
    ) -> None:
        """``ids`` for workers are shared by fleets of one server."""
        self._options = options
        self._listener = listener
        self._seats = [_Seat(Backoff(*options.backoff_s)) for _ in range(workers)]
        self._all: dict[int, Worker] = {}  # those that are not gone, retiring ones too
        self._zygote: Zygote | None = None
        self._zygote_up = asyncio.Event()
        self._some_ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ids = itertools.count(1) if ids is None else ids
        self._in_vain = 0  # processes that ended before a worker was ready, since one was
        self.has_given_up = False  # for good: see FleetOptions.max_in_vain

    def __repr__(self) -> str:
        return f"<Fleet {len(self.workers)} of {len(self._seats)} ready, {len(self._all)} alive>"

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that take new work."""
        return tuple(w for w in self._all.values() if w.ready and w.alive and not w.retiring)

    def has(self, worker: Worker) -> bool:
        return self._all.get(worker.id) is worker

    @property
    def zygote_pid(self) -> int | None:
        return None if self._zygote is None else self._zygote.pid

    async def start(self) -> None:
        """Returns at once; workers become ready later."""
        jobs = [self._keep_zygote(), self._watch(), *map(self._tend, self._seats)]
        self._tasks = [asyncio.create_task(job) for job in jobs]

    async def wait_ready(self, timeout_s: float) -> None:
        """Until a worker is ready; raises TimeoutError, NotStarting."""
        async with asyncio.timeout(timeout_s):
            await self._some_ready.wait()
        if self.has_given_up and not self.workers:
            raise NotStarting(self._options.environment)

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
        while not (self._closing.is_set() or self.has_given_up):
            begun, zygote = time.monotonic(), None
            try:
                zygote = await Zygote.start(self._options, self._zygote_lost)
            except OSError as error:
                _log.warning(
                    "the zygote can't be started", extra=self._named() | {"error": str(error)}
                )
            else:
                await self._use_zygote(zygote)
            if not self._closing.is_set():
                lived_s = time.monotonic() - begun
                was_ready = zygote is not None and zygote.has_forked
                if not was_ready:
                    self._count_in_vain()
                await self._pause(backoff.after(was_ready=was_ready, lived_s=lived_s))

    def _count_in_vain(self) -> None:
        """A zygote or a worker ended before it was of use; enough of that, and none that is."""
        self._in_vain += 1
        most = self._options.max_in_vain
        is_enough = most is not None and self._in_vain >= most
        if is_enough and not (self.workers or self.has_given_up):
            _log.error("no worker starts: given up", extra=self._named())
            self.has_given_up = True
            self._some_ready.set()

    def _named(self) -> dict[str, object]:
        """What log lines say of another environment than the front's own."""
        return {"environment": self._options.environment} if self._options.environment else {}

    async def _use_zygote(self, zygote: Zygote) -> None:
        if self._closing.is_set():
            zygote.close()
        else:
            self._zygote = zygote
            self._zygote_up.set()
        await zygote.lost.wait()
        await zygote.reap(_REAP_S)
        if not self._closing.is_set():
            _log.error("the zygote ended, its workers with it", extra=self._named())

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
        while not (self._closing.is_set() or self.has_given_up):
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
            worker = Worker(
                next(self._ids),
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
        self._in_vain = 0
        self._some_ready.set()
        fields = self._named() | {"worker": worker.id, "pid": worker.pid}
        _log.info("worker ready", extra=fields)
        try:
            self._listener.worker_ready(worker)
        except Exception:  # noqa: BLE001 - a listener's bug is not to stop the fleet
            _log.exception("a listener failed", extra={"worker": worker.id})

    def _on_gone(self, worker: Worker) -> None:
        del self._all[worker.id]
        for seat in self._seats:
            if seat.worker is worker:
                seat.vacated.set()
        if not self.workers and not self.has_given_up:
            self._some_ready.clear()
        level = logging.INFO if worker.reason == "retired" else logging.WARNING
        fields = self._named() | {"worker": worker.id, "pid": worker.pid, "reason": worker.reason}
        _log.log(level, "worker ended", extra=fields)
        if not worker.ready:
            self._count_in_vain()
            return
        try:
            self._listener.worker_lost(worker, worker.reason)
        except Exception:  # noqa: BLE001 - a listener's bug is not to stop the fleet
            _log.exception("a listener failed", extra={"worker": worker.id})
