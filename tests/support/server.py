"""``mms serve`` as a process of its own, and a small client to talk to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent.parent
HOST = "127.0.0.1"
PATIENCE_S = 60.0


def until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll until it holds; the deadline is a guard against hanging, not a measure."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def tier(self) -> str:
        return self.headers.get("x-mms-tier", "")

    @property
    def code(self) -> str:
        return str(self.json()["ErrorCode"])

    @property
    def message(self) -> str:
        return str(self.json()["Message"])


class Server:
    """A context manager; ``settings`` are variables, without those of the caller's environment."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.url = ""
        self.port = 0
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MMS_", "AWS_"))}
        own = {
            "MMS_HOST": HOST,
            "MMS_PORT": "0",
            "MMS_WORKERS": "2",
            "MMS_LOG_FORMAT": "json",
            "MMS_DRAIN_DELAY": "0",
            "MMS_CACHE_DIR": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.environ = {**kept, **own, **settings}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = 0
        if self.log.exists():  # of an earlier start
            self.log.rename(self.folder / f"server.{time.time_ns()}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mms", "serve"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        until(self._find_port, "the server listens")
        return self

    def _find_port(self) -> bool:
        for event in self.events("listening"):
            self.url = event["url"]
            self.port = int(self.url.rsplit(":", 1)[1])
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.log.read_text()[-3000:]}")
        return bool(self.port)

    def __enter__(self) -> Self:
        self.start()
        until(lambda: self.get("/readyz").status == 200, "the server is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, patience_s: float = 40.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    # -- talking to it --------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> Response:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Response:
        return self.request("GET", path)

    def invoke(
        self,
        target: str | None,
        body: object,
        *,
        content_type: str = "application/json",
        timeout_s: float = PATIENCE_S,
        **headers: str,
    ) -> Response:
        """POST /invocations; a ``body`` that isn't bytes is sent as JSON."""
        sent = {"Content-Type": content_type}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if target is not None:
            sent["X-Amzn-SageMaker-Target-Model"] = target
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", "/invocations", data, sent, timeout_s)

    # -- looking at it --------------------------------------------------------------------------

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 when there are none."""
        text = self.get("/metrics").body.decode()
        total = 0.0
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    total += sample.value
        return total

    def events(self, event: str) -> list[dict[str, Any]]:
        """Log lines with this event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("event") == event:
                    found.append(entry)
        return found

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[psutil.Process]:
        """The worker processes: the zygote's children."""
        zygotes = psutil.Process(self.pid).children()
        return [worker for zygote in zygotes for worker in zygote.children()]
