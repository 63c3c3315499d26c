"""A fleet of real processes in a few lines, and what a test wants to know of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from mms.fleet.fleet import Fleet
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome, FleetOptions, LostReason
from mms.fleet.worker import Worker

DEADLINE_S = 20.0


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.lost: dict[int, LostReason] = {}

    def worker_ready(self, worker: Worker) -> None:
        self.ready.append(worker.id)

    def worker_lost(self, worker: Worker, reason: LostReason) -> None:
        self.lost[worker.id] = reason


def options(**changes: object) -> FleetOptions:
    base: dict[str, object] = {"environ": os.environ, "runtime": "tests.fleet.runtime"}
    return FleetOptions(**(base | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    workers: int = 1, recorder: Recorder | None = None, **changes: object
) -> AsyncIterator[Fleet]:
    """A fleet with all of its workers ready."""
    async with starting(workers, recorder, None, **changes) as fleet:
        await until(lambda: len(fleet.workers) == workers)
        yield fleet


@asynccontextmanager
async def starting(
    workers: int = 1,
    recorder: Recorder | None = None,
    ids: Iterator[int] | None = None,
    **changes: object,
) -> AsyncIterator[Fleet]:
    """A fleet that has only just been started, and is closed whatever happens."""
    fleet = Fleet(
        workers=workers, options=options(**changes), listener=recorder or Recorder(), ids=ids
    )
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.aclose(5)


async def until(condition: Callable[[], object]) -> None:
    """Poll; a test that waits in vain says for what."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - of processes there is no event to wait for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {condition}") from None


def model(folder: Path, what: str = "ok", name: str = "model") -> Path:
    path = folder / name
    path.write_text(what, encoding="utf-8")
    return path


def submit(
    worker: Worker, *specs: str, model_id: int = 1, body: bytes = b"", limit_s: float = 30.0
) -> asyncio.Future[BatchOutcome]:
    future: asyncio.Future[BatchOutcome] = asyncio.get_running_loop().create_future()
    requests = [(spec.encode(), body) for spec in specs]
    worker.submit(model_id, requests, hang_limit_s=limit_s, on_done=future.set_result)
    return future


async def done(outcome: asyncio.Future[BatchOutcome]) -> BatchDone:
    async with asyncio.timeout(DEADLINE_S):
        result = await outcome
    assert isinstance(result, BatchDone)
    return result


async def lost(outcome: asyncio.Future[BatchOutcome]) -> BatchLost:
    async with asyncio.timeout(DEADLINE_S):
        result = await outcome
    assert isinstance(result, BatchLost)
    return result


async def ask(worker: Worker, spec: str, *, model_id: int = 1) -> str:
    """The body of the answer to one request."""
    [reply] = (await done(submit(worker, spec, model_id=model_id))).replies
    return reply.body.decode()


def is_running(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
