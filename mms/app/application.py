"""Puts the parts together and runs them: the one place that knows them all.

``serve`` binds first, so that ``/ping`` is answered within half a second; what takes longer (the
frameworks, the disk tier's index, the S3 client, a single model) starts behind the open port. What
would fail the same way at every start ends the server with a ``StartError``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from functools import partial

import uvloop

from mms.api.build import Api, build_app
from mms.api.server import BindError, Server, bind
from mms.app.gauges import Gauges
from mms.app.observer import RequestObserver
from mms.app.options import api_options, engine_limits, fleet_options, server_options
from mms.app.prefix import Prefix
from mms.engine.backends import SINGLE, PlatformBackend, PrefixBackend, SingleBackend
from mms.engine.copy import Copy
from mms.engine.engine import Engine
from mms.engine.memory import MemoryKeeper
from mms.engine.registry import ModelRegistry
from mms.engine.source import FolderSource
from mms.engine.workers import LoadChooser
from mms.errors import MmsError, StoreUnavailable
from mms.fleet.interpreters import find_interpreters
from mms.fleet.outcome import LostReason
from mms.fleet.pools import Pools
from mms.fleet.worker import Worker
from mms.log.access import AccessLog
from mms.log.sink import LogSink, configure
from mms.media.headers import spec_for
from mms.metrics import Metrics
from mms.settings import Settings, StartError

log = logging.getLogger("mms.app")
Backend = PrefixBackend | PlatformBackend | SingleBackend


def serve(settings: Settings) -> int:
    """Serve until told to end; returns the exit code. Raises StartError."""
    sink = configure(settings)
    try:
        sock = bind(settings.host, settings.port)
        return uvloop.run(_run(settings, sock, sink))
    except (BindError, MmsError) as error:
        raise StartError(str(error)) from None
    finally:
        sink.close()


async def _run(settings: Settings, sock: socket.socket, sink: LogSink) -> int:
    return await Application(settings, sink).run(sock, AccessLog(settings, sink))


def _settle() -> None:
    """Keep collections from walking through what is here for good: modules, the S3 client's tables.

    A full one stalled the event loop for 40 to 60 ms.
    """
    gc.collect()
    gc.freeze()


class Application:
    """One server process: its parts, in the order in which they need each other."""

    def __init__(self, settings: Settings, sink: LogSink) -> None:
        self.settings = settings
        self.failure: StartError | None = None
        self.metrics = Metrics(top_models=settings.top_models)
        interpreters = find_interpreters(settings.envs)
        self.pools = Pools(
            workers=settings.workers,
            options=fleet_options(settings, os.environ),
            listener=self,
            interpreters=interpreters,
            is_used=lambda worker: bool(self.registry.entries_of(worker.id)),
            clock=time.monotonic,
        )
        self.registry: ModelRegistry[Copy] = ModelRegistry(
            capacity=settings.memory_budget_bytes,
            clock=time.monotonic,
            evicts=settings.mode != "multi",
        )
        self.prefix = Prefix(settings, self.metrics) if settings.models else None
        self.folders = FolderSource()
        self.workers = LoadChooser(self.pools.of, until_measured=self._until_measured)
        self.engine = Engine(
            source=self.prefix.source if self.prefix else self.folders,
            workers=self.workers,
            registry=self.registry,
            metrics=self.metrics,
            limits=engine_limits(settings, interpreters),
        )
        self.memory = MemoryKeeper(
            budget=settings.memory_budget_bytes,
            fleet=self.pools,
            registry=self.registry,
            departures=self.engine.departures,
            replace=self._replace,
            other_bytes=self.prefix.bytes_in_memory if self.prefix else lambda: 0,
        )
        self.backend = self._backend()
        self.gauges = Gauges(
            engine=self.engine,
            memory=self.memory,
            pools=self.pools,
            prefix=self.prefix,
            is_ready=lambda: self.backend.is_ready,
            sink=sink,
        )
        self.metrics.bind(self.gauges.sample)

    def _backend(self) -> Backend:
        has_worker = self._has_worker
        load_s = self.settings.load_timeout_s
        if self.prefix is not None:
            return PrefixBackend(
                self.engine, has_worker=has_worker, store_id=self.prefix.store.id, load_s=load_s
            )
        if self.settings.mode == "multi":
            return PlatformBackend(
                self.engine, has_worker=has_worker, source=self.folders, load_s=load_s
            )
        folder = self.folders.folders[SINGLE] = self.settings.model_dir
        return SingleBackend(self.engine, has_worker=has_worker, folder=folder, load_s=load_s)

    async def run(self, sock: socket.socket, access_log: AccessLog) -> int:
        """Serve on ``sock`` until the drain is over. Raises StartError."""
        observer = RequestObserver(self.metrics, access_log)
        server = Server(
            self._api(observer),
            server_options(self.settings),
            drainable=self.backend,
            observer=observer,
        )
        with server.capture_signals():
            async with self._running(server):
                await server.serve_on(sock)
        if self.failure is not None:
            raise self.failure
        return 0

    def _api(self, observer: RequestObserver) -> Api:
        return build_app(
            self.backend,
            api_options(self.settings),
            # A script of a model's own may read and write any type.
            spec_for=partial(spec_for, any_type=self.settings.trust == "all"),
            metrics=self.metrics.render,
            observer=observer,
        )

    @contextlib.asynccontextmanager
    async def _running(self, server: Server) -> AsyncIterator[None]:
        await self.engine.start()
        await self.pools.start()
        tasks = [
            asyncio.create_task(self._open(server), name="open"),
            asyncio.create_task(self.memory.run(), name="memory"),
            asyncio.create_task(self.pools.run(), name="idle environments"),
            asyncio.create_task(self.gauges.watch_loop(self.metrics), name="loop lag"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.engine.aclose()
            await self.pools.aclose()
            if self.prefix is not None:
                await self.prefix.aclose()

    async def _open(self, server: Server) -> None:
        """What may fail for good, behind the open port: then the server ends with it."""
        try:
            if self.prefix is not None:
                await self.prefix.open()
            elif isinstance(self.backend, SingleBackend):
                await self.backend.start()
        except StoreUnavailable as error:
            # Its models that are on disk can be served, and it may come back.
            log.warning("store out of reach at start", extra={"error": error.message})
        except (MmsError, StartError, OSError) as error:
            self.failure = StartError(str(error))
            server.begin_shutdown()
            server.force()
        _settle()

    # -- what the fleet tells, and what is asked of it --------------------------------------------

    def worker_ready(self, worker: Worker) -> None:
        """Nothing to do: models come to it with the next load."""

    def worker_lost(self, worker: Worker, reason: LostReason) -> None:
        self.engine.worker_lost(worker)
        if reason != "retired":
            self.metrics.worker_restarted(reason)

    def _has_worker(self) -> bool:
        return bool(self.pools.main.workers)

    async def _until_measured(self, workers: tuple[Worker, ...]) -> None:
        await self.memory.until_counted(workers)

    async def _replace(self, worker: Worker) -> None:
        """A worker that has to go: a new one first, then its models leave, then it."""
        try:
            await self.pools.replace(worker)
        except RuntimeError as error:
            log.warning("worker not replaced", extra={"worker": worker.id, "error": str(error)})
            return
        await self.engine.empty(worker)
        await self.pools.retire(worker)
        self.metrics.worker_restarted("memory")
