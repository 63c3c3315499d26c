from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mms.api.server import BindError, ServerOptions, bind, serve, url_of
from tests.api.fake_backend import FakeBackend
from tests.api.raw_client import HANG_S, RawClient, request_bytes
from tests.api.world import TARGET, app_of, running, until

pytestmark = pytest.mark.usefixtures("both_ways")


class Program:
    """The server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._port = 0
        self._clients: list[RawClient] = []

    async def event(self, name: str) -> str:
        """Wait for an event; what came with it."""
        assert self._process.stdout is not None
        async with asyncio.timeout(HANG_S):
            while line := (await self._process.stdout.readline()).decode().strip():
                if line.startswith(name):
                    return line.removeprefix(name).strip()
        raise AssertionError(f"the program ended without {name}")

    async def connect(self) -> RawClient:
        if not self._port:
            self._port = int((await self.event("listening")).rsplit(":", 1)[1])
        client = await RawClient.connect(self._port)
        self._clients.append(client)
        return client

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self._process.wait(), HANG_S)

    async def end(self) -> None:
        for client in self._clients:
            client.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


@asynccontextmanager
async def program(*seconds: float) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.api.serve_fake", *map(str, seconds), stdout=-1
    )
    started = Program(process)
    try:
        yield started
    finally:
        await started.end()


async def test_sigterm_drains_and_the_exit_code_is_0() -> None:
    """Not ready but still serving, told to close; what was admitted is answered; no re-raise."""
    async with program(0.5, 5) as server:
        client = await server.connect()
        slow = request_bytes("POST", "/invocations", b"123", {TARGET: "m"})
        await client.send(slow[:-1])
        other = await server.connect()
        assert (await other.request("GET", "/ping")).status == 200
        server.send(signal.SIGTERM)
        await server.event("draining")
        ping = await other.request("GET", "/ping")
        assert (ping.status, ping.headers["connection"]) == (503, "close")
        late = await server.connect()
        assert (await late.request("POST", "/invocations", b"1", {TARGET: "m"})).status == 200
        await client.send(slow[-1:])
        last = await client.response()
        assert (last.body, last.headers["connection"]) == (b"123", "close")
        assert await server.exit_code() == 0


async def test_what_is_not_done_at_the_deadline_gets_503() -> None:
    """The exit is in time, and still 0."""
    async with program(0, 1) as server:
        client = await server.connect()
        await client.send(request_bytes("POST", "/invocations", b"1", {TARGET: "stuck"}))
        other = await server.connect()
        assert (await other.request("GET", "/livez")).status == 200
        server.send(signal.SIGTERM)
        response = await client.response()
        assert (response.status, response.json()["ErrorCode"]) == (503, "ServiceUnavailable")
        assert await client.at_end()
        await server.event("stopped")
        assert await server.exit_code() == 0


async def test_a_second_interrupt_ends_the_waiting() -> None:
    """Ctrl-C twice."""
    async with program(100, 200) as server:
        await server.connect()
        server.send(signal.SIGINT)
        await server.event("draining")
        server.send(signal.SIGINT)
        assert await server.exit_code() == 0


async def test_a_signal_during_a_slow_start_ends_it() -> None:
    """It never serves, leaves its lifespan in order, and the exit code is 0."""
    async with program(0, 1, 0.3) as server:
        await server.event("starting")
        server.send(signal.SIGTERM)
        await server.event("stopped")
        assert await server.exit_code() == 0


async def test_the_drain_closes_idle_connections_and_the_listener_after_its_delay() -> None:
    """Nobody new comes in once the lame-duck time is over."""
    options = ServerOptions(drain_delay_s=0.3, drain_timeout_s=5)
    gate = asyncio.Event()
    backend = FakeBackend(slow={"m": gate})
    async with running(backend, server_options=options) as world:
        idle, busy = await world.connect(), await world.connect()
        await busy.send(request_bytes("POST", "/invocations", b"1", {TARGET: "m"}))
        await until(lambda: backend.started == ["m"], "begun")
        world.server.begin_shutdown()
        world.server.begin_shutdown()
        assert backend.is_draining
        assert (await world.ask("GET", "/livez")).status == 200
        assert await idle.at_end()
        with pytest.raises(ConnectionError):
            await world.connect()
        gate.set()
        assert (await busy.response()).status == 200


def test_an_address_that_is_taken_is_named() -> None:
    """Before anything slow starts, though nobody accepts yet."""
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port)
    bind("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["256.1.1.1", "192.0.2.1", "no such host"])
def test_a_host_that_is_not_ours_is_named(host: str) -> None:
    """One line that says what and why."""
    with pytest.raises(BindError) as caught:
        bind(host, 0)
    assert f"{host}:0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_real_port_is_in_the_url() -> None:
    """Port 0 is any free one; IPv6 hosts are bracketed."""
    with bind("127.0.0.1", 0) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


async def test_what_the_lifespan_raises_comes_out_as_it_is() -> None:
    """A start that fails is the caller's to explain; the socket is closed."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        await asyncio.wait_for(raising(), 1)
        yield

    async def raising() -> None:
        raise LookupError("no prefix")

    sock = bind("127.0.0.1", 0)
    with pytest.raises(LookupError, match="no prefix"):
        await serve(
            app_of(FakeBackend()),
            ServerOptions(),
            sock=sock,
            drainable=FakeBackend(),
            lifespan=broken(),
        )
    assert sock.fileno() == -1
