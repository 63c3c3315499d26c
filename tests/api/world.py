"""A real server on loopback around a fake backend, in ten lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mms.api.build import Api, ApiOptions, build_app
from mms.api.edge import ConnectionLimits
from mms.api.ports import RequestRecord
from mms.api.server import Server, ServerOptions, bind
from tests.api.fake_backend import FakeBackend, stub_spec_for
from tests.api.raw_client import HANG_S, RawClient, RawResponse

TARGET = "X-Amzn-SageMaker-Target-Model"
OPTIONS = ApiOptions(version="1.2.3")


@dataclass
class Records:
    """An observer that keeps what it is told."""

    seen: list[RequestRecord] = field(default_factory=list)

    def request(self, record: RequestRecord, /) -> None:
        self.seen.append(record)


@dataclass(kw_only=True)
class World:
    port: int
    server: Server
    records: Records
    clients: list[RawClient] = field(default_factory=list)  # closed with the world

    async def connect(self) -> RawClient:
        client = await RawClient.connect(self.port)
        self.clients.append(client)
        return client

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> RawResponse:
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.request(method, path, body, headers)
        finally:
            client.close()

    def later(self, seconds: float) -> None:
        """Sweep as if so much time had passed."""
        self.server.sweep(asyncio.get_running_loop().time() + seconds)

    async def invoke(self, target: str, body: bytes = b"[1]") -> RawResponse:
        return await self.ask("POST", "/invocations", body, {TARGET: target})


def app_of(
    backend: FakeBackend, options: ApiOptions = OPTIONS, observer: Records | None = None
) -> Api:
    return build_app(
        backend,
        options,
        spec_for=stub_spec_for,
        metrics=lambda: (b"mms_up 1\n", "text/plain; version=0.0.4"),
        observer=observer,
    )


@asynccontextmanager
async def running(
    backend: FakeBackend,
    options: ApiOptions = OPTIONS,
    limits: ConnectionLimits | None = None,
    server_options: ServerOptions | None = None,
) -> AsyncIterator[World]:
    records = Records()
    app = app_of(backend, options, records)
    chosen = server_options or ServerOptions(
        drain_delay_s=0, drain_timeout_s=2, connection=limits or ConnectionLimits()
    )
    server = Server(app, chosen, drainable=backend, observer=records)
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.create_task(server.serve_on(sock))
    world = World(port=port, server=server, records=records)
    try:
        yield world
    finally:
        for client in world.clients:
            client.close()
        server.begin_shutdown()
        await asyncio.wait_for(task, HANG_S)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll, and fail saying what didn't happen."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.005)
