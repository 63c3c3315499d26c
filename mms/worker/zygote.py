"""The zygote: imports the frameworks once, then forks workers from itself when the front asks.

Started as ``python -P -m mms.worker.zygote CONFIG`` (JSON). One thread, always: a fork copies
only the thread that forks, and whatever lock another one held would stay held. It alone reaps and
signals the workers, so a signal never hits a process that has got a dead worker's number. When the
front closes its end it kills them and exits; when it dies itself, the kernel kills them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from mms.fleet import wire
from mms.fleet.page import StatusPage
from mms.log.plain import log_to_stderr
from mms.worker.main import Runtime, run

_log = logging.getLogger("mms.worker")

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_NOT_FORKED: Final = 71  # os.EX_OSERR
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Config:
    """The zygote's one argument."""

    control_fd: int
    runtime: str  # a module with load_model, run_batch and preload_modules
    preload: list[str] | None  # None: what the runtime says
    threads: int
    max_rows: int
    memory_bytes: int | None = None  # a worker may take beyond what it begins with
    log_format: str = "json"
    log_level: str = "info"


class Zygote:
    def __init__(self, control: socket.socket, config: Config, runtime: Any) -> None:
        self._control = control
        self._config = config
        self._runtime = Runtime(load_model=runtime.load_model, run_batch=runtime.run_batch)
        self._pids: dict[int, int] = {}  # worker id -> pid, of those not yet reaped
        self._wake, wakes = socket.socketpair()
        for end in (self._wake, wakes):
            end.setblocking(False)
        self._wakes = wakes
        signal.signal(signal.SIGCHLD, _wake_up_only)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the front closes its end."""
        while True:
            ready, _, _ = select.select([self._control, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(4096)
                self._reap()
            if self._control in ready and not self._obey():
                break
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)

    def _obey(self) -> bool:
        try:
            packet, fds, _, _ = socket.recv_fds(
                self._control, wire.CONTROL_BYTES, 2, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # closed before it had read all that we said
            return False
        if not packet:
            return False
        what, worker_id, argument = wire.decode_control(packet)
        if what == wire.FORK:
            self._fork(worker_id, *fds)
        elif what == wire.KILL and worker_id in self._pids:
            os.kill(self._pids[worker_id], argument)
        return True

    def _fork(self, worker_id: int, sock_fd: int, page_fd: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, say: the workers that are here go on
            _log.warning("a worker can't be forked", extra={"error": error.strerror})
            pid = -1
        if pid == 0:
            try:
                self._become_worker(parent, sock_fd, page_fd)
            finally:
                os._exit(70)  # whatever happened: never back into the zygote's loop
        os.close(sock_fd)
        os.close(page_fd)
        if pid < 0:
            self._tell(wire.EXITED, worker_id, _NOT_FORKED)
            return
        self._pids[worker_id] = pid
        self._tell(wire.FORKED, worker_id, pid)

    def _become_worker(self, parent: int, sock_fd: int, page_fd: int) -> NoReturn:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(0)
        _LIBC.prctl(_PR_SET_NAME, b"mms-worker")
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._control, self._wake, self._wakes):
            end.close()
        if self._config.memory_bytes is not None:
            _bound_memory(self._config.memory_bytes)
        sock, page = socket.socket(fileno=sock_fd), StatusPage.attach(page_fd)
        threads, max_rows = self._config.threads, self._config.max_rows
        run(sock, page, self._runtime, threads=threads, max_rows=max_rows)

    def _reap(self) -> None:
        for worker_id, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[worker_id]
                self._tell(wire.EXITED, worker_id, os.waitstatus_to_exitcode(status))

    def _tell(self, what: int, worker_id: int, argument: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # the front is gone; serve() sees it next
            self._control.send(wire.control(what, worker_id, argument))


def _bound_memory(more: int) -> None:
    """Let this process take ``more`` bytes and no further: what it asks for then is MemoryError.

    Counts what may be written, as the kernel does for RLIMIT_DATA, and not files or mere addresses.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _wake_up_only(number: int, frame: object) -> None:
    """A handler there must be, or the wake-up descriptor stays silent."""


def preload(names: list[str]) -> None:
    """Import them; one that fails is the affair of the models that need it."""
    for name in names:
        try:
            import_module(name)
        except Exception:  # noqa: BLE001 - whatever an import may raise
            _log.exception("a module can't be imported", extra={"module_name": name})


def main(argument: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    config = Config(**json.loads(argument))
    log_to_stderr(config.log_format, config.log_level)
    control = socket.socket(fileno=config.control_fd)
    control.set_inheritable(False)
    runtime = import_module(config.runtime)
    preload(runtime.preload_modules() if config.preload is None else config.preload)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        _log.warning("a preloaded module has started a thread: workers may hang at their start")
    zygote = Zygote(control, config, runtime)
    gc.collect()
    gc.freeze()
    gc.disable()  # here only: a collection would touch every page that the workers share
    zygote.serve()


if __name__ == "__main__":
    main(sys.argv[1])
