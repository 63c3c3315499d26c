"""Bodies in flight: their memory is bounded by what has come, and slow senders keep nobody out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant_archive
from tests.support.s3 import Bucket
from tests.support.server import HOST, until

pytestmark = pytest.mark.e2e
MAX_BODY = 1 << 20
ROOM = 2 << 20
HEAD = (
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"X-Amzn-SageMaker-Target-Model: m.tar.gz\r\n"
)


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    settings = {"MMS_MAX_BODY": str(MAX_BODY), "MMS_MAX_INFLIGHT_BYTES": str(ROOM)}
    with world(s3_server, bucket, tmp_path_factory.mktemp("bodies"), **settings) as made:
        made.put("m.tar.gz", constant_archive(4.0))
        assert made.ask("m.tar.gz", ROW).status == 200
        yield made


def opened(made: World, data: bytes) -> socket.socket:
    sock = socket.create_connection((HOST, made.server.port), timeout=30)
    sock.sendall(data)
    return sock


def announced(nbytes: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % nbytes


def answer_on(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return answer


def metric(made: World, name: str) -> int:
    return int(made.server.metric(name))


def test_slow_senders_of_large_bodies_keep_nobody_out(made: World) -> None:
    """Ten times what may be in flight is announced, next to nothing of it has come."""
    with ExitStack() as stack:
        for _ in range(ROOM // MAX_BODY * 10):
            stack.enter_context(opened(made, announced(MAX_BODY) + b"[" * 1000))
        until(lambda: metric(made, "mms_inflight_requests") == 20, "all are admitted")
        assert made.ask("m.tar.gz", ROW).json() == [4.0]
        body = b"[[1,2,3,4]" + b" " * 900_000 + b"]"
        assert made.server.invoke("m.tar.gz", body).json() == [4.0]
    until(lambda: metric(made, "mms_inflight_requests") == 0, "they are gone")


def test_bodies_that_came_are_bounded(made: World) -> None:
    """What can't fit is refused before it is sent; what grows too long, on its way."""
    large = MAX_BODY - 100_000
    with ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(opened(made, announced(MAX_BODY)))
            sock.sendall(b" " * large)
        until(lambda: metric(made, "mms_inflight_bytes") == 2 * large, "both have come")
        for refused in (
            opened(made, announced(300_000)),
            opened(made, HEAD + b"Transfer-Encoding: chunked\r\n\r\n49000\r\n" + b" " * 0x49000),
        ):
            answer = answer_on(stack.enter_context(refused))
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"MMS_MAX_INFLIGHT_BYTES" in answer
            assert b"retry-after: 1\r\n" in answer.lower()
            assert b"x-amz-retry-after: 1000\r\n" in answer.lower()
        assert made.ask("m.tar.gz", ROW).json() == [4.0]  # a small one still fits
        sock.sendall(b"[[1,2,3,4]]" + b" " * (MAX_BODY - large - 11))
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    until(lambda: metric(made, "mms_inflight_bytes") == 0, "everything is given back")
    assert made.server.metric("mms_rejected_total", reason="overloaded") >= 2


def test_who_waits_for_leave_to_send_gets_it_or_the_refusal(made: World) -> None:
    """``Expect: 100-continue`` (curl with large bodies): 100, or 413 before a byte is sent."""
    body = b"[[1,2,3,4]]"
    sock = opened(made, HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    with sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    expect = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)
    with opened(made, HEAD + expect) as sock:
        assert answer_on(sock).startswith(b"HTTP/1.1 413 ")
