"""``mms serve`` as the demo runs it: an ordinary process, told everything by its environment.

Owns its start, its log and its end. It gets SIGTERM and has to end with status 0; should the demo
be killed, the kernel ends it. It has a session of its own, so that Ctrl-C is the demo's to handle.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from mms.demo.prepare import last_line
from mms.demo.problem import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
_START_S = 60.0
_STOP_S = 35.0

# Linux only: the kernel's SIGTERM (15) when the parent ends, however it ends.
_DIE_WITH_PARENT = """
import ctypes, os, sys
if sys.platform == "linux": ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port(wanted: int) -> int:
    """The wanted one, or any when somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"no free port on {HOST}")


def environment(base: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The caller's, without what would lead the server to another S3 or another way to run.

    ``MMS_*`` of the caller's stay, so that ``MMS_WORKERS=4 make demo`` does what it says.
    """
    kept = {k: v for k, v in base.items() if not k.startswith(("AWS_", "SAGEMAKER_"))}
    return {**kept, **own}


class Server:
    """A running ``mms serve``; a context manager. ``settings`` are variables."""

    def __init__(self, settings: Mapping[str, str], *, port: int, log: Path) -> None:
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._settings = {**settings, "MMS_HOST": HOST, "MMS_PORT": str(port)}
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *_command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(os.environ, self._settings),
                start_new_session=True,
            )
        try:
            self._wait_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        ended = self._process.poll()
        code = self._stop() if ended is None else ended
        if code != 0 and kind is None:  # else the first problem is the one to tell
            raise DemoError(f"mms serve ended with status {code}: see {self._log}")

    def wait(self) -> None:
        """Until it ends, which it should not by itself."""
        code = self._process.wait()
        raise DemoError(f"mms serve ended by itself with status {code}: {last_line(self._log)}")

    def _stop(self) -> int:
        self._process.terminate()
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            return -9
        finally:
            self._process.kill()
            self._process.wait()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise DemoError(f"mms serve ended with status {code}: {last_line(self._log)}")
            if self._answers():
                return
            time.sleep(0.02)
        raise DemoError(f"mms serve did not answer /ping in {_START_S:.0f} s: see {self._log}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _command() -> list[str]:
    return [sys.executable, "-m", "mms", "serve"]
