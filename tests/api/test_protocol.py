from __future__ import annotations

import asyncio
import contextlib
import resource
from dataclasses import replace
from typing import cast

import pytest

from mms.api.edge import ConnectionLimits
from mms.api.protocol import Connection
from mms.types import Answer
from tests.api.fake_backend import FakeBackend
from tests.api.raw_client import RawClient, request_bytes
from tests.api.world import OPTIONS, TARGET, World, running, until

pytestmark = pytest.mark.usefixtures("both_ways")

HEAD = b"POST /invocations HTTP/1.1\r\nX-Amzn-SageMaker-Target-Model: m\r\n"
LIMITS = ConnectionLimits()


async def refused(world: World, data: bytes, status: int, code: str) -> None:
    """``data`` is answered with one error, after which the connection is closed."""
    client = await world.connect()
    await client.send(data)
    response = await client.response()
    assert (response.status, response.json()["ErrorCode"]) == (status, code)
    assert response.headers["connection"] == "close"
    assert response.headers["x-amzn-errortype"] == code
    assert response.headers["x-amzn-requestid"] == response.json()["RequestId"]
    assert await client.at_end()


async def flood(client: RawClient, data: bytes, *, times: int) -> None:
    for _ in range(times):
        await client.send(data)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS on a plain port
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"GET /p\xc3\xa9ng HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\naXX\r\n",
    ],
)
async def test_what_is_not_http_is_answered_in_the_one_format(data: bytes) -> None:
    """400, once, then closed; the next connection doesn't notice."""
    backend = FakeBackend()
    async with running(backend) as world:
        await refused(world, data, 400, "ValidationError")
        assert (await world.invoke("m")).status == 200
        await until(lambda: backend.inflight == 0, "permits released")
    assert backend.started == ["m"]


async def test_a_transfer_coding_beside_chunked_is_refused() -> None:
    """The parser lets it pass; a compressed body would reach the model as it is."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        await client.send(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        assert (await client.response()).status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET /ping HTTP/1.1\r\nA: " + b"x" * 66_000 + b"\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * 257 + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"x" * 700) for n in range(100)),
    ],
)
async def test_a_head_that_is_too_large_is_431(data: bytes) -> None:
    """In bytes or in fields, in one field, many, or the request line."""
    async with running(FakeBackend()) as world:
        await refused(world, data, 431, "HeadersTooLarge")
        await until(lambda: len(world.records.seen) == 1, "observed")
    assert world.records.seen[0].status == 431


async def test_a_large_head_within_the_bound_is_fine_and_the_bound_is_per_request() -> None:
    """64 KiB are allowed, again and again on one connection."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        for _ in range(3):
            big = {f"A{n}": "x" * 1000 for n in range(60)}
            assert (await client.request("GET", "/ping", headers=big)).status == 200


@pytest.mark.parametrize(
    "start",
    [
        b"GET /ping HTTP/1.1\r\nA: ",  # one header that never ends
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",  # a trailer
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;ext=",  # a chunk extension
        b"",  # not even a request
    ],
)
async def test_nothing_that_never_ends_is_read_for_long(start: bytes) -> None:
    """Wherever the parser would go on collecting, it is stopped, and memory with it."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        await client.send(start)
        filler = b"x" * 65_536 if start else b"\r\n" * 32_768
        with contextlib.suppress(ConnectionError):
            await flood(client, filler, times=64)
        response = await client.response()
    assert response.status in {400, 431}


async def test_trailers_are_ignored() -> None:
    """They can't change a header that was read already."""
    backend = FakeBackend()
    async with running(backend) as world:
        client = await world.connect()
        await client.send(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
            b"X-Amzn-SageMaker-Target-Model: other\r\n\r\n"
        )
        assert (await client.response()).status == 200
    assert backend.started == ["m"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Sent in one go; the first is slow, the second isn't answered before it."""
    gate = asyncio.Event()
    backend = FakeBackend(slow={"slow": gate})
    async with running(backend) as world:
        client = await world.connect()
        await client.send(
            request_bytes("POST", "/invocations", b"1", {TARGET: "slow"})
            + request_bytes("GET", "/ping")
            + request_bytes("POST", "/invocations", b"x" * 200_000, {TARGET: "m"})
            + request_bytes("GET", "/livez")
        )
        await until(lambda: backend.started == ["slow"], "the first has begun")
        gate.set()
        bodies = [(await client.response()).body for _ in range(4)]
    assert [len(body) for body in bodies] == [1, 0, 200_000, len(b'{"status":"live"}')]


async def test_pipelining_without_end_is_cut_after_what_was_taken() -> None:
    """A bounded number waits; those are answered, then the connection is closed."""
    async with running(FakeBackend(), limits=replace(LIMITS, max_pipelined=4)) as world:
        client = await world.connect()
        await client.send(request_bytes("GET", "/ping") * 50)
        statuses = [(await client.response()).status for _ in range(6)]
        assert statuses == [200] * 5 + [400]
        assert await client.at_end()


async def test_garbage_behind_a_request_is_answered_behind_its_answer() -> None:
    """The good request is served, then the rest is refused, in order."""
    gate = asyncio.Event()
    backend = FakeBackend(slow={"m": gate})
    async with running(backend) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"1", {TARGET: "m"}) + b"???\r\n")
        await until(lambda: backend.started == ["m"], "begun")
        gate.set()
        assert (await client.response()).status == 200
        assert (await client.response()).status == 400
        assert await client.at_end()


async def test_a_waiting_request_whose_body_breaks_is_never_begun() -> None:
    """The one before it is served; then the broken one is refused instead of waited for."""
    gate = asyncio.Event()
    backend = FakeBackend(slow={"m": gate})
    async with running(backend) as world:
        client = await world.connect()
        await client.send(
            request_bytes("POST", "/invocations", b"1", {TARGET: "m"})
            + HEAD
            + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"
        )
        await until(lambda: backend.started == ["m"], "begun")
        gate.set()
        assert [(await client.response()).status for _ in range(2)] == [200, 400]
        assert await client.at_end()
    assert (backend.started, backend.inflight) == (["m"], 0)


async def test_a_pipelining_client_that_goes_cancels_the_request_that_runs() -> None:
    """Not only the last that was read."""
    backend = FakeBackend(slow={"m": asyncio.Event()})
    async with running(backend) as world:
        client = await world.connect()
        one = request_bytes("POST", "/invocations", b"1", {TARGET: "m"})
        await client.send(one + one + one)
        await until(lambda: backend.started == ["m"], "begun")
        client.abort()
        await until(lambda: backend.cancelled == ["m"], "cancelled")
        await until(lambda: backend.inflight == 0, "released")
    assert backend.started == ["m"]


async def test_no_more_is_read_ahead_than_a_little() -> None:
    """What waits behind a slow request has no permit: its bytes count nowhere else."""
    gate = asyncio.Event()
    backend = FakeBackend(slow={"m": gate})
    async with running(backend) as world:
        client = await world.connect()
        one = request_bytes("POST", "/invocations", b"1", {TARGET: "m"})
        more = request_bytes("POST", "/invocations", b"x" * 40_000, {TARGET: "n"})
        await client.send(one)
        await until(lambda: backend.started == ["m"], "begun")
        sending = asyncio.create_task(flood(client, more, times=40))
        (connection,) = connections(world)
        await until(lambda: connection.flow.read_paused, "reading has stopped")
        gate.set()
        assert [(await client.response()).status for _ in range(41)] == [200] * 41
        await sending


async def test_how_the_bytes_are_cut_makes_no_difference() -> None:
    """Byte by byte, a request is the same as in one piece."""
    requests = [
        request_bytes("POST", "/invocations", b"[1,2]", {TARGET: "m"}),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\nT: x\r\n\r\n",
        request_bytes(
            "POST",
            "/invocations",
            b"[1,2]",
            {TARGET: "m", "Connection": "Upgrade", "Upgrade": "h2c"},
        ),
    ]
    backend = FakeBackend()
    async with running(backend) as world:
        client = await world.connect()
        for request in requests:
            for byte in request:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)  # lets the server read it alone
            assert (await client.response()).body == b"[1,2]"
    assert backend.started == ["m"] * 3


async def test_http_1_0_is_answered_and_closed() -> None:
    """Old clients and health checkers."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        await client.send(b"GET /livez HTTP/1.0\r\n\r\n")
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.at_end()


async def test_an_offer_to_upgrade_is_ignored_and_the_body_still_read() -> None:
    """Java's client offers h2c on every first request, and sends its body behind it."""
    backend = FakeBackend()
    async with running(backend) as world:
        client = await world.connect()
        offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", TARGET: "m"}
        first = request_bytes("POST", "/invocations", b"[1,2]", offer)
        await client.send(first + request_bytes("GET", "/ping"))
        assert (await client.response()).body == b"[1,2]"
        assert (await client.response()).status == 200
        await client.send(first[:-3])
        await until(lambda: backend.inflight == 1, "waiting for the rest")
        await client.send(first[-3:])
        assert (await client.response()).body == b"[1,2]"


async def test_a_client_that_sends_everything_first_can_read_its_413() -> None:
    """The answer isn't lost in a reset: what goes on coming is dropped, not stored."""
    backend = FakeBackend()
    async with running(backend, replace(OPTIONS, max_body=1000)) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"x" * 8_000_000, {TARGET: "m"}))
        assert (await client.response()).status == 413
        assert await client.at_end()
    assert backend.peak_bytes == 0


async def test_a_body_that_goes_on_for_ever_is_cut() -> None:
    """After its 413 a client may send on for so long only."""
    limits = replace(LIMITS, linger_bytes=1_000_000)
    async with running(FakeBackend(), replace(OPTIONS, max_body=1000), limits) as world:
        client = await world.connect()
        await client.send(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            await flood(client, b"x" * 65_536, times=1000)


async def test_a_client_that_lingers_after_its_last_answer_is_cut() -> None:
    """It was told that the connection is closed; it gets seconds, not for ever."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.response()).status == 400
        world.later(LIMITS.linger_s / 2)
        assert phases(world) == ["lingering"]
        world.later(LIMITS.linger_s * 2)
        await until(lambda: not connections(world), "cut")


async def test_an_error_with_a_complete_body_keeps_the_connection() -> None:
    """Only what may still be coming makes an error the last answer."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        for _ in range(3):
            response = await client.request("POST", "/invocations", b"[1]")
            assert response.status == 400
            assert "connection" not in response.headers


async def test_connections_that_send_nothing_are_closed() -> None:
    """Before the first request as well as between two."""
    async with running(FakeBackend()) as world:
        fresh, used = await world.connect(), await world.connect()
        assert (await used.request("GET", "/ping")).status == 200
        await until(lambda: len(connections(world)) == 2, "accepted")
        world.later(LIMITS.keep_alive_s - 5)
        assert (await used.request("GET", "/ping")).status == 200
        world.later(LIMITS.keep_alive_s + 5)
        assert await fresh.at_end()
        assert await used.at_end()


async def test_a_head_that_trickles_in_is_408() -> None:
    """From its first byte on, whether it is the connection's first or a later one."""
    async with running(FakeBackend()) as world:
        first, later = await world.connect(), await world.connect()
        await first.send(b"GET /ping HTT")
        assert (await later.request("GET", "/ping")).status == 200
        await later.send(b"G")
        await until(lambda: phases(world) == ["head", "head"], "both have begun")
        world.later(LIMITS.head_timeout_s - 5)
        assert phases(world) == ["head", "head"]
        world.later(LIMITS.head_timeout_s + 5)
        for client in (first, later):
            response = await client.response()
            assert (response.status, response.json()["ErrorCode"]) == (408, "RequestTimeout")
            assert await client.at_end()


async def test_a_second_head_that_trickles_in_behind_a_slow_request_is_408() -> None:
    """Its time counts from when it is its turn, and the slow request isn't disturbed."""
    gate = asyncio.Event()
    async with running(FakeBackend(slow={"m": gate})) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"1", {TARGET: "m"}) + b"GET /")
        await until(lambda: phases(world) == ["busy"], "begun")
        world.later(LIMITS.head_timeout_s + 5)
        gate.set()
        assert (await client.response()).status == 200
        assert phases(world) == ["head"]
        world.later(LIMITS.head_timeout_s + 5)
        assert (await client.response()).status == 408


async def test_blank_lines_between_requests_are_harmless() -> None:
    """Some clients send one behind a body; it begins no request and keeps nothing alive."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        assert (await client.request("GET", "/ping")).status == 200
        await client.send(b"\r\n")
        world.later(LIMITS.head_timeout_s + 5)
        assert (await client.request("GET", "/ping")).status == 200
        await client.send(b"\r\n")
        (connection,) = connections(world)
        await until(lambda: connection._quiet_bytes == 2, "read")
        world.later(LIMITS.keep_alive_s + 5)
        assert await client.at_end()


async def test_a_client_that_reads_nothing_is_cut() -> None:
    """Answers that nobody takes don't pile up for ever."""
    big = Answer(body=b"x" * 32_000_000, content_type=b"text/csv")  # no kernel buffers as much
    async with running(FakeBackend(answer=big)) as world:
        client = await world.connect()
        client.pause_reading()
        await client.send(request_bytes("POST", "/invocations", b"1", {TARGET: "m"}))
        await until(lambda: [r.status for r in world.records.seen] == [200], "answered")
        world.later(LIMITS.unread_answer_s / 2)
        assert len(connections(world)) == 1
        world.later(LIMITS.unread_answer_s + 5)
        await until(lambda: not connections(world), "cut")
        client.abort()


def connections(world: World) -> list[Connection]:
    found = list(world.server.server_state.connections)
    assert all(isinstance(connection, Connection) for connection in found)
    return cast("list[Connection]", found)


def phases(world: World) -> list[str]:
    return [connection._phase for connection in connections(world)]


async def test_two_thousand_idle_connections_bother_nobody() -> None:
    """They cost little memory, and requests go on being answered."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2000, (soft - 300) // 2)
    async with running(FakeBackend()) as world:
        idle: list[RawClient] = []
        for _ in range(count // 50):
            idle += await asyncio.gather(*(world.connect() for _ in range(50)))
        await until(lambda: len(connections(world)) >= len(idle), "accepted")
        assert [(await world.invoke("m")).status for _ in range(20)] == [200] * 20
        assert (await idle[0].request("GET", "/ping")).status == 200


@pytest.mark.parametrize("target", [b"/\xff", b"http://[", b"*/x"], ids=ascii)
async def test_a_broken_target_is_refused_however_its_body_comes(target: bytes) -> None:
    """Also where the body is still on its way when the head is looked at."""
    head = b"POST " + target + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    async with running(FakeBackend()) as world:
        statuses = set()
        for sent in (head + b"[1]\n", head + b"[1"):
            client = await world.connect()
            await client.send(sent)
            statuses.add((await client.response()).status)
        assert len(statuses) == 1
        assert statuses <= {400, 404}
