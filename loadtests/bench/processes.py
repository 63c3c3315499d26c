"""Servers under test as processes: started, waited for, their CPU time read, ended by id.

Each child has a session of its own, so that a Ctrl-C reaches only the benchmark, which then ends
every child and what that one started; if the benchmark itself is killed, the kernel tells them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent.parent
HOST = "127.0.0.1"
_STOP_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")
_OWN = ("MMS_", "AWS_", "SAGEMAKER_")

# Runs the program after it with "SIGTERM when your parent dies" set.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ChildError(RuntimeError):
    """A process that did not do what it is for; says what its log says."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of processor time so far: of the process itself, and of all below it."""

    front: float
    workers: float

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(self.front - earlier.front, self.workers - earlier.workers)


class Child:
    """A process and its log; a context manager that leaves nothing of it behind."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self.environ = environment(environ)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        wrapped = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *self.command]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                wrapped,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):  # what it left: its session is its own
            os.killpg(process.pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raise if it has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise ChildError(f"{self.command[:4]} ended: {self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def cpu_time(self) -> CpuTime:
        return CpuTime(cpu_seconds(self.pid), sum(map(cpu_seconds, descendants(self.pid))))


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's, without what would configure the servers, and ``settings``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


def children(pid: int) -> list[int]:
    """Processes that this one's threads started and that are there."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found += map(int, task.read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    return [below for child in children(pid) for below in (child, *descendants(child))]


def cpu_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has just ended
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses just now, all of them others."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def pause_until(deadline: float, what: str) -> None:
    """A short sleep of a polling loop; raises once the deadline has passed."""
    if time.monotonic() > deadline:
        raise ChildError(f"not in time: {what}")
    time.sleep(0.05)
