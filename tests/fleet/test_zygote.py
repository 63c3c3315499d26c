"""The zygote and what it forks: no secret, nothing that outlives the front."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.world import (
    DEADLINE_S,
    ask,
    is_running,
    model,
    running,
    starting,
    until,
)

FRONT = """
import asyncio, sys
from tests.fleet.world import starting, until

async def main():
    async with starting(2) as fleet:
        await until(lambda: fleet.zygote_pid)
        if sys.argv[1] == "ready":
            await until(lambda: len(fleet.workers) == 2)
        print(fleet.zygote_pid, *(worker.pid for worker in fleet.workers), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def proc(pid: int | None, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_workers_hold_no_secret() -> None:
    """Not in the zygote's environment either, whose pages they share."""
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "very-secret-1",
        "MMS_ADMIN_TOKEN": "very-secret-2",
        "SOME_PASSWORD": "very-secret-3",
        "PROXY": "http://user:very-secret-4@proxy",
    }
    async with running(environ={**os.environ, **secrets}) as fleet:
        for pid in (fleet.zygote_pid, fleet.workers[0].pid):
            for name in ("environ", "cmdline"):
                assert b"very-secret" not in proc(pid, name)
            assert b"OMP_NUM_THREADS=1\0" in proc(pid, "environ")


async def front_that_dies(stage: str) -> list[int]:
    """Pids of the processes below a front that was killed."""
    front = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FRONT, stage, stdout=subprocess.PIPE
    )
    assert front.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        pids = [int(word) for word in (await front.stdout.readline()).split()]
    assert pids
    front.kill()
    await front.wait()
    return pids


async def test_nothing_outlives_a_killed_front() -> None:
    pids = await front_that_dies("ready")
    assert len(pids) == 3
    await until(lambda: not any(map(is_running, pids)))


async def test_nothing_outlives_a_front_killed_while_the_zygote_imports() -> None:
    pids = await front_that_dies("started")
    await until(lambda: not any(map(is_running, pids)))


async def test_a_worker_is_a_process_of_its_own(tmp_path: Path) -> None:
    """One socket, random numbers of its own, and the kernel takes it before the front."""
    async with running(2) as fleet:
        for worker in fleet.workers:
            await worker.load(1, model(tmp_path), {})
            assert await ask(worker, "sockets") == "1"
        assert len({await ask(worker, "random") for worker in fleet.workers}) == 2
        worker_score, own_score = (
            int(proc(pid, "oom_score_adj")) for pid in (fleet.workers[0].pid, os.getpid())
        )
        assert worker_score > own_score


async def test_the_frameworks_start_no_thread_before_the_fork() -> None:
    """Whatever lock such a thread holds at a fork is held for ever in the worker."""
    async with running(preload=("numpy", "onnxruntime")) as fleet:
        tasks = list(Path(f"/proc/{fleet.zygote_pid}/task").iterdir())  # noqa: ASYNC240
        assert len(tasks) == 1


async def test_a_module_that_cannot_be_imported_costs_only_itself(tmp_path: Path) -> None:
    """A broken framework isn't the end of the others."""
    async with running(preload=("tests.no_such_module", "json")) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        assert await ask(worker, "echo") == ""


async def test_a_program_that_cannot_be_started_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the fleet can still be closed."""
    async with starting(environ={"X": "x" * (1 << 22)}) as fleet:  # execve refuses it
        await until(lambda: "can't be started" in caplog.text)
        assert fleet.zygote_pid is None
