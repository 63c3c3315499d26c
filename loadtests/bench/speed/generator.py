"""The bundled load generator, where wrk isn't installed: asyncio, httptools, one process.

``python -m loadtests.bench.speed.generator '{"port": …}'`` prints one line of JSON. It answers for
its own share of a core, since a Python program may well be slower than what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import httptools
import uvloop


class _Client(asyncio.Protocol):
    """One connection: the next request leaves when the answer to the last is whole."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._sent = 0.0
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no such base
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        run = self._run
        if run.is_over:
            return
        run.latencies.append(time.perf_counter() - self._sent)
        if self._parser.get_status_code() != 200:
            run.errors += 1
        asyncio.get_running_loop().call_soon(self._again)

    def _again(self) -> None:
        if not self._run.is_over and self._transport and not self._transport.is_closing():
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if not self._run.is_over:
            self._run.errors += 1
            self._run.open(1)


class _Run:
    """All connections together, and what they counted."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request
        self.latencies: list[float] = []
        self.errors = 0
        self.is_over = False
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, connections: int) -> None:
        for _ in range(connections):
            task = asyncio.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            try:
                await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.port)
            except OSError:
                self.errors += 1
                await asyncio.sleep(0.05)
            else:
                return


def raw_request(port: int, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _measure(job: dict[str, Any]) -> dict[str, Any]:
    body = Path(job["body"]).read_bytes()  # noqa: ASYNC240  before anything runs
    run = _Run(job["port"], raw_request(job["port"], job["path"], job["headers"], body))
    start, cpu = time.perf_counter(), time.process_time()
    run.open(job["connections"])
    await asyncio.sleep(job["seconds"])
    run.is_over = True
    taken, busy = time.perf_counter() - start, time.process_time() - cpu
    ordered = sorted(run.latencies)
    return {
        "requests": len(ordered),
        "seconds": taken,
        "p50_ms": percentile(ordered, 0.50) * 1e3,
        "p99_ms": percentile(ordered, 0.99) * 1e3,
        "errors": run.errors,
        "generator_cpu": busy / taken,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(_measure(json.loads(sys.argv[1])))) + "\n")
