"""Where things run: ``mms serve`` as a process, alone or before an S3 server of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from loadtests.bench.many.client import Client
from loadtests.bench.many.memory import tree
from loadtests.bench.many.seaweed import BUCKET, Seaweed
from loadtests.bench.processes import HOST, children, environment, free_port

PATIENCE_S = 60.0
STOP_S = 30.0
POLL_S = 0.002
WORKERS = 2


class Server:
    """``mms serve`` over a prefix, log and metrics as by default; a context manager.

    ``seconds`` is how long it took from the call to the first 200 of ``/ping``.
    """

    def __init__(self, folder: Path, models: str, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self.workers = int(settings.get("MMS_WORKERS", WORKERS))
        self._environ = {
            "MMS_MODELS": models,
            "MMS_HOST": HOST,
            "MMS_WORKERS": str(self.workers),
            "MMS_LOG_FORMAT": "json",
            "MMS_DRAIN_DELAY": "0",
            "MMS_CACHE_DIR": str(folder / "cache"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.seconds = 0.0

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not started")
        return self._process.pid

    def worker_pids(self) -> list[int]:
        """The zygote's children."""
        return [worker for zygote in children(self.pid) for worker in children(zygote)]

    def processes(self) -> list[int]:
        return tree(self.pid)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its workers end with it
            self._process.wait()
        self._process = None

    def wait_ready(self) -> None:
        """Until all workers are there, as its log has it."""
        self._until(lambda: len(self.worker_pids()) == self.workers and self._are_ready())

    def _are_ready(self) -> bool:
        log = (self._folder / "server.log").read_text(errors="replace")
        ready = (json.loads(line)["pid"] for line in log.splitlines() if '"worker ready"' in line)
        return set(self.worker_pids()) <= set(ready)

    def _start(self) -> None:
        self.port = free_port()
        with (self._folder / "server.log").open("ab") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mms", "serve"],
                env=environment({**self._environ, "MMS_PORT": str(self.port)}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is ours: it is stopped when we are done
            )
        self._until(self._pings)
        self.seconds = time.perf_counter() - began

    def _pings(self) -> bool:
        try:
            with Client(self.port) as client:
                return client.request("GET", "/ping").status == 200
        except OSError:
            return False

    def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            if self._process is None or self._process.poll() is not None:
                said = (self._folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the server ended: {said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server is not there after {PATIENCE_S:.0f} s")
            time.sleep(POLL_S)


@contextmanager
def local_server(folder: Path, models: Path, **settings: str) -> Iterator[Server]:
    """A ready server over a folder of models."""
    with Server(folder, str(models), settings) as server:
        server.wait_ready()
        yield server


@contextmanager
def s3_server(folder: Path, **settings: str) -> Iterator[tuple[Seaweed, Server]]:
    """A ready server over an empty bucket of an S3 server."""
    with Seaweed(folder / "s3") as s3:
        environ = {**s3.environ(), **settings}
        with Server(folder / "server", f"s3://{BUCKET}/", environ) as server:
            server.wait_ready()
            yield s3, server
