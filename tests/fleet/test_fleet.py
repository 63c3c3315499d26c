"""The fleet: as many workers as asked for, whatever happens, and nothing left when it is closed."""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mms.fleet.outcome import LostReason, NotStarting
from mms.fleet.worker import Worker
from tests.fleet.world import (
    Recorder,
    ask,
    is_running,
    lost,
    model,
    running,
    starting,
    submit,
    until,
)


def descriptors() -> set[str]:
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {f"{path.name} {path.readlink()}" for path in links}


@pytest.fixture
def children() -> Callable[[], list[str]]:
    """The children of this process that a test has made: an S3 server is another's."""
    others = all_children()
    return lambda: [pid for pid in all_children() if pid not in others]


def all_children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()


async def test_start_returns_at_once_and_wait_ready_waits() -> None:
    """The front can answer long before a worker can."""
    recorder, begun = Recorder(), time.monotonic()
    async with starting(2, recorder) as fleet:
        assert time.monotonic() - begun < 1
        assert repr(fleet).startswith("<Fleet 0 of 2 ready")
        await fleet.wait_ready(20)
        assert fleet.workers
        assert recorder.ready


async def test_wait_ready_gives_up() -> None:
    async with starting(0) as fleet:
        with pytest.raises(TimeoutError):
            await fleet.wait_ready(0.01)


async def test_nothing_is_left_behind(tmp_path: Path, children: Callable[[], list[str]]) -> None:
    """No process, no zombie, no descriptor; what was in flight is answered as lost."""
    async with running():  # what the loop itself opens once and keeps
        pass
    before, recorder = descriptors(), Recorder()
    async with running(2, recorder) as fleet:
        pids = [fleet.zygote_pid, *(worker.pid for worker in fleet.workers)]
        worker = fleet.workers[0]
        await worker.load(1, model(tmp_path), {})
        outcome = submit(worker, "sleep 60")
        await until(worker._page.started)
    assert (await lost(outcome)).reason == "retired"
    assert set(recorder.lost.values()) == {"retired"}
    assert not any(is_running(pid) for pid in pids if pid)
    assert children() == []
    await until(lambda: descriptors() <= before)
    assert repr(fleet) == "<Fleet 0 of 2 ready, 0 alive>"


async def test_a_fleet_closed_at_once_leaves_nothing_either(
    children: Callable[[], list[str]],
) -> None:
    """Even before its zygote runs."""
    async with running():
        pass
    before = descriptors()
    for turns in range(6):
        async with starting(2):
            for _ in range(turns):
                await asyncio.sleep(0.01)
        assert children() == []
    await until(lambda: descriptors() <= before)


async def test_a_stopped_worker_does_not_hold_up_the_close() -> None:
    """What can't exit is killed."""
    async with running() as fleet:
        pid = fleet.workers[0].pid
        os.kill(pid, signal.SIGSTOP)
        await fleet.aclose(0.2)
        assert not is_running(pid)


async def test_workers_that_die_are_replaced() -> None:
    """Every one, by another with another id, and the listener hears of each."""
    recorder = Recorder()
    async with running(2, recorder) as fleet:
        first = fleet.workers
        for worker in first:
            os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: len(recorder.lost) == 2 and len(fleet.workers) == 2)
        assert not {w.id for w in first} & {w.id for w in fleet.workers}
        assert recorder.lost == {worker.id: "oom" for worker in first}
        assert sorted(recorder.ready) == [1, 2, 3, 4]


async def test_a_killed_zygote_is_replaced_and_its_workers_die_with_it(tmp_path: Path) -> None:
    """The kernel takes the workers; new ones come from a new zygote."""
    recorder = Recorder()
    async with running(2, recorder) as fleet:
        old, zygote_pid = fleet.workers, fleet.zygote_pid
        assert zygote_pid is not None
        await old[0].load(1, model(tmp_path), {})
        outcome = submit(old[0], "sleep 60")
        await until(old[0]._page.started)
        os.kill(zygote_pid, signal.SIGKILL)
        assert (await lost(outcome)).started
        await until(lambda: len(recorder.lost) == 2 and len(fleet.workers) == 2)
        assert fleet.zygote_pid != zygote_pid
        assert set(recorder.lost.values()) == {"killed"}
        assert not any(is_running(worker.pid) for worker in old)
        await fleet.workers[0].load(1, model(tmp_path), {})
        assert await ask(fleet.workers[0], "echo") == ""


async def test_a_fork_that_fails_costs_no_worker_that_lives() -> None:
    """It is tried again, by the same zygote."""
    recorder = Recorder()
    async with running(2, recorder, preload=("tests.fleet.no_fork",)):
        assert recorder.lost == {}
        assert len(recorder.ready) == 2


async def test_a_zygote_that_hangs_is_replaced() -> None:
    """Without it nothing can be forked or killed."""
    async with running(tick_s=0.05, zygote_timeout_s=2) as fleet:
        [worker], zygote_pid = fleet.workers, fleet.zygote_pid
        assert zygote_pid is not None
        os.kill(zygote_pid, signal.SIGSTOP)
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: fleet.zygote_pid not in {zygote_pid, None})
        await until(lambda: len(fleet.workers) == 1)


@pytest.mark.parametrize(
    ("runtime", "timeout_s"),
    [("tests.no_such_module", 30), ("tests.fleet.stillborn", 30), ("tests.fleet.sleeper", 0.1)],
)
async def test_what_never_gets_ready_is_tried_ever_more_seldom(
    runtime: str, timeout_s: float, children: Callable[[], list[str]]
) -> None:
    """Zygotes that die, workers that die, workers that sleep: no tight loop, and no news of it."""
    recorder, ids = Recorder(), itertools.count(1)
    async with starting(
        1,
        recorder,
        ids,
        runtime=runtime,
        ready_timeout_s=timeout_s,
        tick_s=0.02,
        backoff_s=(0.2, 10.0),
    ) as fleet:
        await until(lambda: repr(ids) == "count(4)")
        with pytest.raises(TimeoutError):
            await fleet.wait_ready(0.3)
        assert repr(ids) == "count(4)"  # the next wait is 0.8 s
        assert recorder.ready == []
        assert recorder.lost == {}
    assert children() == []


async def test_a_fleet_with_a_worker_is_not_given_up() -> None:
    """Only one of its seats can't be filled: the other one serves on. Without that it is over."""
    recorder, ids = Recorder(), itertools.count(1)
    async with starting(
        2, recorder, ids, runtime="tests.fleet.lonely", max_in_vain=3, backoff_s=(0.01, 0.02)
    ) as fleet:
        await until(lambda: next(copy.copy(ids)) > 8)
        assert len(fleet.workers) == 1
        assert not fleet.has_given_up
        await fleet.wait_ready(0.1)
        os.kill(fleet.workers[0].pid, signal.SIGKILL)
        await until(lambda: fleet.has_given_up)
        with pytest.raises(NotStarting):
            await fleet.wait_ready(0.1)


async def test_a_replacement_is_ready_before_the_old_one_goes(tmp_path: Path) -> None:
    """Meanwhile the old one answers what it still has, and gets nothing new."""
    recorder = Recorder()
    async with running(recorder=recorder) as fleet:
        [old] = fleet.workers
        await old.load(1, model(tmp_path), {})
        new = await fleet.replace(old)
        assert fleet.workers == (new,)
        assert await ask(old, "echo") == ""
        await fleet.retire(old)
        assert recorder.lost == {old.id: "retired"}
        assert fleet.workers == (new,)
        os.kill(new.pid, signal.SIGKILL)
        await until(lambda: recorder.lost.get(new.id) == "oom" and len(fleet.workers) == 1)


async def test_a_replacement_that_dies_is_replaced_while_the_old_one_still_drains() -> None:
    """Draining takes as long as a request may; nobody would take new work meanwhile."""
    async with running() as fleet:
        [old] = fleet.workers
        new = await fleet.replace(old)
        os.kill(new.pid, signal.SIGKILL)
        await until(lambda: fleet.workers not in {(), (new,)})
        assert old.alive
        await fleet.retire(old)
        assert repr(fleet) == "<Fleet 1 of 1 ready, 1 alive>"


async def test_a_worker_that_dies_before_its_replacement_is_ready_is_replaced_once() -> None:
    """Its seat gets one of its own accord; another one would be in nobody's care."""
    async with running() as fleet:
        [old] = fleet.workers
        os.kill(old.pid, signal.SIGKILL)
        await old.gone.wait()
        with pytest.raises(RuntimeError):
            await fleet.replace(old)
        await until(lambda: repr(fleet) == "<Fleet 1 of 1 ready, 1 alive>")


async def test_a_listener_that_fails_does_not_stop_the_fleet() -> None:
    class Broken(Recorder):
        def worker_ready(self, worker: Worker) -> None:
            super().worker_ready(worker)
            raise RuntimeError

        def worker_lost(self, worker: Worker, reason: LostReason) -> None:
            super().worker_lost(worker, reason)
            raise RuntimeError

    broken = Broken()
    async with running(recorder=broken) as fleet:
        os.kill(fleet.workers[0].pid, signal.SIGTERM)  # ignored: the front decides
        os.kill(fleet.workers[0].pid, signal.SIGKILL)
        await until(lambda: broken.lost and len(fleet.workers) == 1)


async def test_the_listener_hears_of_a_loss_before_its_batches_do(tmp_path: Path) -> None:
    """What is tried again elsewhere must not be placed on the dead worker."""
    order: list[str] = []

    class Ordered(Recorder):
        def worker_lost(self, worker: Worker, reason: LostReason) -> None:
            order.append("worker")
            assert worker not in fleet.workers

    async with running(recorder=Ordered()) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        outcome = submit(worker, "exit 1")
        outcome.add_done_callback(lambda _: order.append("batch"))
        await lost(outcome)
        assert order == ["worker", "batch"]


async def test_memory_is_that_of_zygote_and_workers() -> None:
    async with running(2) as fleet:
        sizes = await asyncio.to_thread(fleet.memory)
        assert sizes.keys() == {fleet.zygote_pid, *(worker.pid for worker in fleet.workers)}
        assert min(sizes.values()) > 100_000
