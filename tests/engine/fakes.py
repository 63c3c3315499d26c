"""An engine over fakes of its ports: workers and a source that do what a test tells them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from mms.engine.copy import Copy
from mms.engine.engine import Engine, EngineLimits
from mms.engine.flight import FlightLimits
from mms.engine.lane import LaneLimits
from mms.engine.ports import Fetched
from mms.engine.registry import ModelRegistry
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome, LostReason, WorkerLost
from mms.fleet.payloads import Reply
from mms.fleet.worker import Worker
from mms.metrics import Metrics
from mms.types import Answer, Artifact, Invocation, Loaded

MB = 1 << 20
FAR = 1e12


def artifact(size: int = MB, etag: str = "e1") -> Artifact:
    return Artifact(path=Path("/x"), etag=etag, version="v", sha256="", unpacked_bytes=size)


def loaded(size: int) -> Loaded:
    return Loaded(format="test", bytes=size, methods=("predict",), batchable=True)


async def settle() -> None:
    """Let everything that is due on the loop happen."""
    for _ in range(20):
        await asyncio.sleep(0)


class Gate:
    """Open unless it was closed; whoever comes is counted and waits while it is closed."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.came = 0

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def through(self) -> None:
        self.came += 1
        await self._open.wait()


class FakeWorker:
    """The fleet's seam: loads, unloads and runs at once, or when a gate is opened."""

    def __init__(self, worker_id: int) -> None:
        self.id = worker_id
        self.pid = 1000 + worker_id
        self.alive = True
        self.retiring = False
        self.dies_once_loaded = False  # before anybody hears of it
        self.reason: LostReason = "crashed"
        self.loads_pending = 0
        self.lately = 0.0
        self.inflight = 0
        self.loads, self.unloads, self.runs = Gate(), Gate(), Gate()
        self.size = MB  # of what it loads
        self.held: set[int] = set()
        self.running: set[asyncio.Task[None]] = set()

    async def load(
        self, model_id: int, path: Path, options: Mapping[str, object], *, limit_s: float
    ) -> Loaded:
        await self.loads.through()
        if not self.alive:
            raise WorkerLost(self.reason, began=True)
        self.held.add(model_id)
        self.alive = not self.dies_once_loaded
        return loaded(self.size)

    def has_begun(self, model_id: int) -> bool:
        return True

    async def unload(self, model_id: int) -> None:
        await self.unloads.through()
        self.held.discard(model_id)

    def at_end_of_turn(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    def submit(
        self,
        model_id: int,
        requests: Sequence[tuple[bytes, bytes]],
        *,
        hang_limit_s: float,
        on_done: Callable[[BatchOutcome], None],
    ) -> None:
        task = asyncio.create_task(self._run(model_id, len(requests), on_done))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _run(
        self, model_id: int, count: int, on_done: Callable[[BatchOutcome], None]
    ) -> None:
        await self.runs.through()
        if not self.alive:
            on_done(BatchLost(started=False, reason=self.reason))
            return
        assert model_id in self.held, "a batch for a model that isn't there"
        replies = [Reply("", b"text/plain", str(self.id).encode())] * count
        on_done(BatchDone(replies=replies, rows=count, predict_s=0.0001))


class FakeSource:
    """Artifacts of one megabyte, or as ``sizes`` says."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.sizes: dict[str, int] = {}
        self.held = 0
        self.fetched: list[str] = []

    async def fetch(self, key: str, *, deadline: float, known_broken: str | None) -> Fetched:
        await self.gate.through()
        self.fetched.append(key)
        self.held += 1
        return Fetched(
            artifact=artifact(self.sizes.get(key, MB), etag=f"etag of {key}"),
            tier="store",
            seconds=0.0,
            bytes=1,
            release=self._release,
        )

    def _release(self) -> None:
        self.held -= 1


class World:
    """The engine, its fakes, and short words for what tests do with them. Make it on a loop."""

    def __init__(self, *, capacity: int = 100 * MB, load_timeout_s: float = 30.0) -> None:
        self.workers = [FakeWorker(1), FakeWorker(2)]
        self.source = FakeSource()
        self.registry: ModelRegistry[Copy] = ModelRegistry(capacity=capacity, clock=time.monotonic)
        self.engine = Engine(
            source=self.source,
            workers=self,
            registry=self.registry,
            metrics=Metrics(top_models=10),
            limits=EngineLimits(
                load_wait_s=30.0,
                lane=LaneLimits(
                    max_queue=100, max_batch=8, batch_delay_s=0.0, request_timeout_s=30.0
                ),
                flight=FlightLimits(load_timeout_s=load_timeout_s),
                max_inflight=1000,
                max_inflight_bytes=MB,
            ),
        )

    async def for_load(self, deadline: float, environment: str = "") -> Worker:
        living = [worker for worker in self.workers if worker.alive and not worker.retiring]
        return cast("Worker", living[0])

    async def invoke(self, key: str) -> Answer:
        return await self.engine.invoke(key, Invocation(spec=b"", body=b""), deadline=FAR)

    def ask(self, key: str) -> asyncio.Task[Answer]:
        return asyncio.create_task(self.invoke(key))

    def lose(self, worker: FakeWorker) -> None:
        """As the fleet does it: the listener is told first, then what was under way fails."""
        worker.alive = False
        self.engine.worker_lost(cast("Worker", worker))
        worker.loads.open()
        worker.runs.open()
        worker.unloads.open()

    def resident(self) -> set[str]:
        return {entry.key for entry in self.registry.ready()}

    def check(self) -> None:
        """Nothing is left over: no reservation, no lease, no model that nobody knows of."""
        self.registry.check_valid()
        assert self.registry.reserved_bytes == 0
        assert self.source.held == 0
        ready = sum(entry.bytes for entry in self.registry.ready())
        assert self.registry.resident_bytes == ready
        known = {entry.model_id for entry in self.registry.ready()}
        held = set().union(*(worker.held for worker in self.workers if worker.alive))
        assert held == known
        assert all(entry.pins == 0 for entry in self.registry.entries())
