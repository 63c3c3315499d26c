"""Closed-loop load from a process of its own: wrk where it is installed, else our generator."""

from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.bench.processes import HOST, ROOT, environment
from loadtests.bench.speed.asking import Request

LIMIT = 0.9  # of a core: from here on the generator itself may have been the limit
_GRACE_S = 60.0

_LUA = """wrk.method = "POST"
wrk.path = {path}
wrk.body = {body}
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nRESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one burst of load came to."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    generator_cpu: float  # cores

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def is_limited(self) -> bool:
        """Whether the generator was busy all the time: then the server may be faster."""
        return self.generator_cpu >= LIMIT


class Load:
    """Bursts of requests; ``name`` says by which tool."""

    def __init__(self, folder: Path, *, own: bool = False) -> None:
        self._folder = folder
        self._wrk = None if own else shutil.which("wrk")

    @property
    def name(self) -> str:
        return "wrk" if self._wrk else "the bundled generator"

    def burst(self, port: int, request: Request, connections: int, seconds: float) -> Sample:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        found = (self._by_wrk if self._wrk else self._by_generator)(
            port, request, connections, seconds
        )
        taken = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.setdefault("generator_cpu", busy / taken)
        return Sample(**found)

    def _by_wrk(
        self, port: int, request: Request, connections: int, seconds: float
    ) -> dict[str, Any]:
        script = self._folder / "request.lua"
        script.write_bytes(lua(request))
        whole = max(1, math.ceil(seconds))  # wrk knows no parts of a second
        url = f"http://{HOST}:{port}"
        options = ["-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s"]
        out = _run([str(self._wrk), *options, "-s", str(script), url], whole)
        return parse_wrk(out)

    def _by_generator(
        self, port: int, request: Request, connections: int, seconds: float
    ) -> dict[str, Any]:
        body = self._folder / "body"
        body.write_bytes(request.body)
        job = {
            "port": port,
            "path": request.path,
            "headers": dict(request.headers),
            "body": str(body),
            "connections": connections,
            "seconds": seconds,
        }
        module = "loadtests.bench.speed.generator"
        return dict(json.loads(_run([sys.executable, "-m", module, json.dumps(job)], seconds)))


def _run(command: list[str], seconds: float) -> str:
    return subprocess.run(
        command,
        env=environment({}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + _GRACE_S,
    ).stdout


def lua(request: Request) -> bytes:
    """The script that makes wrk send this request and print one line of numbers."""
    headers = "\n".join(
        f"wrk.headers[{_quoted(name.encode())}] = {_quoted(value.encode())}"
        for name, value in request.headers.items()
    )
    text = _LUA.format(
        path=_quoted(request.path.encode()), body=_quoted(request.body), headers=headers
    )
    return text.encode()


def _quoted(text: bytes) -> str:
    """A string of Lua: every byte that could mean something as its number."""
    plain = (c if 32 <= c < 127 and c not in b'"\\' else None for c in text)
    shown = (f"\\{c:03d}" if p is None else chr(p) for c, p in zip(text, plain, strict=True))
    return '"' + "".join(shown) + '"'


def parse_wrk(out: str) -> dict[str, Any]:
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    requests, micros, p50, p99, status, other = map(int, line.split()[1:])
    return {
        "requests": requests,
        "seconds": micros / 1e6,
        "p50_ms": p50 / 1e3,
        "p99_ms": p99 / 1e3,
        "errors": status + other,
    }
