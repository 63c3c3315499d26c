"""Fleets of several interpreters as one: made when needed, closed when idle, gone at the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from mms.errors import ModelLoadError
from mms.fleet.interpreters import Interpreter
from mms.fleet.outcome import LostReason, NotStarting
from mms.fleet.pools import IDLE_S, RETRY_S, WORKERS, Pools
from mms.fleet.worker import Worker
from tests.fleet.world import DEADLINE_S, Recorder, ask, is_running, model, options, until


class Scene(Recorder):
    """The pools of a server, and the clock and the models that they are told of."""

    def __init__(self, **pythons: Path) -> None:
        super().__init__()
        self.now = 0.0
        self.used: set[int] = set()
        self.pools = Pools(
            workers=1,
            options=options(backoff_s=(0.01, 0.1)),
            listener=self,
            interpreters={name: Interpreter(name, path, {}) for name, path in pythons.items()},
            is_used=lambda worker: worker.id in self.used,
            clock=lambda: self.now,
        )

    async def worker(self, environment: str) -> Worker:
        fleet = await self.pools.of(environment)
        await fleet.wait_ready(DEADLINE_S)
        return fleet.workers[0]

    def worker_lost(self, worker: Worker, reason: LostReason) -> None:
        assert worker.id not in self.lost, "ids are never used again"
        super().worker_lost(worker, reason)


@asynccontextmanager
async def scene(**pythons: Path) -> AsyncIterator[Scene]:
    made = Scene(**pythons)
    await made.pools.start()
    try:
        await until(lambda: made.pools.main.workers)
        yield made
    finally:
        await made.pools.aclose()


def broken(folder: Path) -> Path:
    path = folder / "python"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return path


HERE = Path(sys.executable)


async def test_an_environment_is_opened_when_it_is_needed(tmp_path: Path) -> None:
    """Its workers do what others do; asked for again, it is the same fleet."""
    async with scene(other=HERE) as made:
        pools = made.pools
        assert (pools.environments, len(pools.workers), len(pools.zygote_pids)) == ((), 1, 1)
        worker = await made.worker("other")
        await worker.load(1, model(tmp_path), {})
        assert await ask(worker, "echo") == ""
        assert await pools.of("other") is await pools.of("other")
        await until(lambda: len(pools.workers) == 1 + WORKERS)
        assert len(pools.zygote_pids) == 2
        assert len({worker.id for worker in pools.workers}) == 1 + WORKERS
        assert set(pools.memory()) == pools.zygote_pids | {w.pid for w in pools.workers}


async def test_one_that_nobody_has_is_refused() -> None:
    """A worker may say any name."""
    async with scene() as made:
        with pytest.raises(ModelLoadError, match="isn't in MMS_ENVS"):
            await made.pools.of("none")
        assert made.pools.environments == ()


async def test_an_idle_environment_is_closed() -> None:
    """After a while in which no model was there and none was loaded; then it can be had again."""
    async with scene(other=HERE) as made:
        pools = made.pools
        worker = await made.worker("other")
        made.used.add(worker.id)
        made.now += 2 * IDLE_S
        pools.close_idle()  # a model is there
        made.used.clear()
        made.now += IDLE_S - 1
        await pools.of("other")  # a load
        made.now += IDLE_S - 1
        pools.close_idle()
        assert "other" in pools.environments
        [pid] = pools.zygote_pids - {pools.main.zygote_pid}
        made.now += 1
        pools.close_idle()
        assert "other" not in pools.environments
        await until(lambda: not is_running(pid) and not is_running(worker.pid))
        await until(lambda: len(pools.memory()) == 2)
        assert set(made.lost.values()) == {"retired"}
        assert (await made.worker("other")).id > worker.id


async def test_one_that_does_not_start_is_given_up_soon(tmp_path: Path) -> None:
    """And tried again after a pause; the others go on."""
    async with scene(sick=broken(tmp_path)) as made:
        fleet = await made.pools.of("sick")
        with pytest.raises(NotStarting, match="environment sick"):
            await fleet.wait_ready(DEADLINE_S)
        assert await made.pools.of("sick") is fleet
        with pytest.raises(NotStarting):
            await fleet.wait_ready(0.1)
        made.now += RETRY_S
        again = await made.pools.of("sick")
        assert again is not fleet
        with pytest.raises(NotStarting):
            await again.wait_ready(DEADLINE_S)
        assert made.pools.main.workers
        assert made.lost == {}


async def test_a_python_that_is_missing_is_given_up_too(tmp_path: Path) -> None:
    async with scene(gone=tmp_path / "python") as made:
        with pytest.raises(NotStarting):
            await (await made.pools.of("gone")).wait_ready(DEADLINE_S)


async def test_a_worker_is_replaced_in_its_own_fleet() -> None:
    """Whose it is, is found out here."""
    async with scene(other=HERE) as made:
        old = await made.worker("other")
        new = await made.pools.replace(old)
        await made.pools.retire(old)
        fleet = await made.pools.of("other")
        assert fleet.has(new)
        assert not fleet.has(old)
        assert not made.pools.main.has(new)


async def test_the_end_takes_all_with_it() -> None:
    """Those on their way out, and those that only just begin."""
    before = set(psutil.Process().children())
    async with scene(one=HERE, two=HERE, three=HERE) as made:
        await made.worker("one")
        await made.worker("two")
        made.now += IDLE_S
        made.pools.close_idle()
        await made.pools.of("three")
        await asyncio.sleep(0)
    assert set(psutil.Process().children()) <= before
    assert made.pools.workers == ()
