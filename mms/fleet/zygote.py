"""The front's side of the zygote: start it, have it fork and signal, hear what became of each.

Nothing here blocks the loop: the program is started in a thread, packets are a few bytes in a
socket that is never full. When it ends, all of its workers end too, and each is told so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import mms
from mms.fleet import wire
from mms.fleet.environment import foreign, scrubbed
from mms.fleet.outcome import FleetOptions

_log = logging.getLogger("mms.fleet")


class Child(Protocol):
    """A worker as the zygote knows it."""

    id: int

    def forked(self, pid: int) -> None: ...

    def exited(self, status: int | None) -> None:
        """``status``: exit code, or minus the signal; ``None`` when it ended with the zygote."""
        ...


class Zygote:
    """A running zygote; made by :meth:`start`."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, on_lost: Callable[[], None]
    ) -> None:
        self._process = process
        self._control = control
        self._on_lost = on_lost
        self._children: dict[int, Child] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control.fileno(), self._read)
        self.pid = process.pid
        self.has_forked = False
        self.lost = asyncio.Event()

    @classmethod
    async def start(cls, options: FleetOptions, on_lost: Callable[[], None]) -> Zygote:
        """Returns once the program runs; forks may be asked for while it still imports."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            process = await asyncio.to_thread(_spawn, options, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours, on_lost)

    def fork(self, child: Child, sock: socket.socket, page_fd: int) -> None:
        """The caller keeps, and closes, its two descriptors."""
        if self.lost.is_set():
            self._loop.call_soon(child.exited, None)
            return
        self._children[child.id] = child
        self._send(wire.control(wire.FORK, child.id), [sock.fileno(), page_fd])

    def kill(self, child: Child) -> None:
        self._send(wire.control(wire.KILL, child.id, signal.SIGKILL), [])

    def destroy(self) -> None:
        """SIGKILL it; the kernel then kills its workers."""
        if self._process.returncode is None:
            self._process.kill()

    def close(self) -> None:
        """Have it kill its workers and exit."""
        self._lose()

    async def reap(self, timeout_s: float) -> None:
        """Wait for the end of it, which :attr:`lost` announced; after ``timeout_s`` kill it."""
        try:
            await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _send(self, packet: bytes, fds: list[int]) -> None:
        if self.lost.is_set():
            return
        try:
            socket.send_fds(self._control, [packet], fds)
        except OSError:
            self._loop.call_soon(self._lose)

    def _read(self) -> None:
        try:
            packet = self._control.recv(wire.CONTROL_BYTES + 1)
            if not packet:
                self._lose()
                return
            what, worker_id, argument = wire.decode_control(packet)
        except BlockingIOError:
            return
        except (OSError, wire.ProtocolError):
            self._lose()
            return
        if what == wire.FORKED and worker_id in self._children:
            self.has_forked = True
            self._children[worker_id].forked(argument)
        elif what == wire.EXITED and worker_id in self._children:
            self._children.pop(worker_id).exited(argument)

    def _lose(self) -> None:
        if self.lost.is_set():
            return
        self.lost.set()
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        children, self._children = self._children, {}
        for child in children.values():
            child.exited(None)
        self._on_lost()


def _spawn(options: FleetOptions, control_fd: int) -> subprocess.Popen[bytes]:
    config = {
        "control_fd": control_fd,
        "runtime": options.runtime,
        "preload": None if options.preload is None else list(options.preload),
        "threads": options.threads,
        "max_rows": options.max_rows,
        "memory_bytes": options.memory_bytes,
        "log_format": options.log_format,
        "log_level": options.log_level,
    }
    command, environ = _command(options, json.dumps(config))
    return subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=2,  # what a model prints never lands in the front's output
        pass_fds=(control_fd,),
        start_new_session=True,  # Ctrl-C is for the front
    )


def _command(options: FleetOptions, config: str) -> tuple[list[str], dict[str, str]]:
    """What to run and its environment: by this interpreter, or by another environment's."""
    if options.python is None:
        command = [sys.executable, "-P", "-m", "mms.worker.zygote", config]
        return command, scrubbed(options.environ, root=_checkout())
    root = Path(mms.__file__).resolve().parent.parent
    boot = root / "mms" / "worker" / "boot.py"
    folders = [str(root), _libraries()]
    command = [str(options.python), "-s", str(boot), *folders, options.runtime, config]
    return command, foreign(options.environ)


def _libraries() -> str:
    """Where what our side of a worker needs is installed: ``packaging``, as ``boot`` has it."""
    spec = find_spec("packaging")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).resolve().parent.parent)


def _checkout() -> str | None:
    """The folder to import from, where ``mms`` isn't installed as a wheel: workers run our code."""
    root = str(Path(mms.__file__).resolve().parent.parent)
    installed = {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    return None if root in installed else root
