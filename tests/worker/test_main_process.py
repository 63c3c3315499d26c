"""A worker as a process: what user code in it can't do to the server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fleet.world import ask, model, running

PRINTING_FRONT = """
import asyncio, sys
from pathlib import Path
from tests.fleet.world import ask, running

async def main():
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, Path(sys.argv[1]), {})
        print(await ask(worker, "print"), flush=True)

asyncio.run(main())
"""


async def test_printing_reaches_neither_the_channel_nor_the_fronts_output(tmp_path: Path) -> None:
    """By print, by sys.stdout, by the descriptor: all of it goes to stderr."""
    front = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PRINTING_FRONT,
        str(model(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await front.communicate()
    assert out == b"printed\n"
    assert err.count(b"garbage\n") == 3


async def test_there_is_nothing_to_read_from_stdin(tmp_path: Path) -> None:
    """So no model waits for a terminal."""
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        assert await ask(worker, "stdin") == "b''"


async def test_threads_are_as_many_as_asked_for(tmp_path: Path) -> None:
    """Whatever the load: two to run, one to load, one to unload, one to beat."""
    async with running(threads=2) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        names = await ask(worker, "threads")
        assert names == "MainThread mms-heart mms-load mms-run-1 mms-run-2 mms-unload"


async def test_the_heap_is_counted_in_a_worker(tmp_path: Path) -> None:
    """PYTHONMALLOC=malloc came through: small Python objects show in a model's size."""
    async with running() as fleet:
        [worker] = fleet.workers
        environ = Path(f"/proc/{worker.pid}/environ").read_bytes()  # noqa: ASYNC240 - it's memory
        assert b"PYTHONMALLOC=malloc\0" in environ
        for size in (200_000, 2_000_000):
            loaded = await worker.load(1, model(tmp_path, f"weigh {size}"), {})
            assert size < loaded.bytes < 1.3 * size + 50_000


def test_a_zygote_without_a_front_ends() -> None:
    """Its end of the socket is all that keeps it."""
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = {
        "control_fd": theirs.fileno(),
        "runtime": "tests.fleet.runtime",
        "preload": [],
        "threads": 1,
        "max_rows": 1,
    }
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "mms.worker.zygote", json.dumps(config)],
            pass_fds=[theirs.fileno()],
            env=os.environ.copy(),
        )
    ours.close()
    assert process.wait(20) == 0
