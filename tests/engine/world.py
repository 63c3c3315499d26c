"""An engine over a real fleet in a few lines; models are files for the tiny runtime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mms.engine.copy import Copy
from mms.engine.engine import Engine, EngineLimits
from mms.engine.flight import FlightLimits
from mms.engine.lane import LaneLimits
from mms.engine.ports import Fetched, Source
from mms.engine.registry import ModelRegistry
from mms.engine.workers import LoadChooser
from mms.errors import ModelNotFound
from mms.fleet.fleet import Fleet
from mms.fleet.outcome import LostReason
from mms.fleet.worker import Worker
from mms.metrics import Metrics
from mms.types import Answer, Artifact, Invocation
from tests.fleet.world import options, until

CAPACITY = 1 << 30


class Files:
    """A source: keys are files of a folder, served in place. Counts what is held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held = 0

    async def fetch(self, key: str, *, deadline: float, known_broken: str | None) -> Fetched:
        path = self.folder / key
        if not path.is_file():
            raise ModelNotFound(f"{key} is not there")
        self.held += 1
        artifact = Artifact(path=path, etag=key, version="1", sha256="", unpacked_bytes=1)
        return Fetched(artifact=artifact, tier="disk", seconds=0, bytes=0, release=self._release)

    def _release(self) -> None:
        self.held -= 1


@dataclass
class World:
    """What the fleet tells goes to the engine, as in the application."""

    source: Files
    engine: Engine
    fleet: Fleet

    def worker_ready(self, worker: Worker) -> None:
        """Nothing to do."""

    def worker_lost(self, worker: Worker, reason: LostReason) -> None:
        self.engine.worker_lost(worker)

    def model(self, key: str, what: str = "ok") -> str:
        (self.source.folder / key).write_text(what, encoding="utf-8")
        return key

    async def ask(self, key: str, spec: str = "echo", timeout_s: float = 20.0) -> Answer:
        invocation = Invocation(spec=spec.encode(), body=b"")
        return await self.engine.invoke(key, invocation, deadline=time.monotonic() + timeout_s)

    def asking(self, key: str, spec: str = "echo", timeout_s: float = 20.0) -> asyncio.Task[Answer]:
        return asyncio.create_task(self.ask(key, spec, timeout_s))

    def worker_of(self, key: str) -> Worker:
        entry = self.engine.registry.find(key)
        assert entry is not None
        assert entry.copy is not None
        return entry.copy.worker


async def measured(workers: tuple[Worker, ...]) -> None:
    """The memory is known at once."""


@asynccontextmanager
async def engine_world(
    folder: Path,
    *,
    workers: int = 1,
    source: Source | None = None,
    load_timeout_s: float = 20.0,
) -> AsyncIterator[World]:
    """Running, with all workers ready; closed whatever happens."""
    registry: ModelRegistry[Copy] = ModelRegistry(capacity=CAPACITY, clock=time.monotonic)
    world = World.__new__(World)
    fleet = Fleet(workers=workers, options=options(), listener=world)
    files = Files(folder)

    async def fleet_of(environment: str) -> Fleet:
        return fleet

    engine = Engine(
        source=source or files,
        workers=LoadChooser(fleet_of, until_measured=measured),
        registry=registry,
        metrics=Metrics(top_models=10),
        limits=EngineLimits(
            load_wait_s=30,
            lane=LaneLimits(max_queue=100, max_batch=8, batch_delay_s=0, request_timeout_s=30),
            flight=FlightLimits(load_timeout_s=load_timeout_s),
            max_inflight=1000,
            max_inflight_bytes=1 << 30,
        ),
    )
    World.__init__(world, files, engine, fleet)
    await engine.start()
    await fleet.start()
    try:
        await until(lambda: len(fleet.workers) == workers)
        yield world
    finally:
        await engine.aclose()
        await fleet.aclose()
