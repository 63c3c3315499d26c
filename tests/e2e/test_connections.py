"""Clients that hang up, crawl, idle, pipeline or come too many: others don't notice."""

from __future__ import annotations

import http.client
import resource
import socket
from collections.abc import Iterator

import psutil
import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant_archive, dumped
from tests.support.odd_models import Odd
from tests.support.s3 import Bucket
from tests.support.server import HOST, until

pytestmark = pytest.mark.e2e
IDLE = 2000


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    settings = {
        "MMS_TRUST": "all",
        "MMS_REQUEST_TIMEOUT": "5s",
        "MMS_LOAD_WAIT": "4s",
        "MMS_MAX_INFLIGHT": "12",
        "MMS_MAX_QUEUE": "4",
    }
    with world(s3_server, bucket, tmp_path_factory.mktemp("connections"), **settings) as made:
        made.put("odd.pkl", dumped(Odd()))
        made.put("m.tar.gz", constant_archive(4.0))
        # Slow enough for one batch in flight: a quick model's next is at the worker already.
        assert made.ask("odd.pkl", [[0.05, 0]]).status == 200
        assert made.ask("m.tar.gz", ROW).status == 200
        yield made


def opened(made: World, data: bytes) -> socket.socket:
    sock = socket.create_connection((HOST, made.server.port), timeout=30)
    sock.sendall(data)
    return sock


def post(target: str, body: bytes, *more: bytes) -> bytes:
    lines = [
        b"POST /invocations HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        b"X-Amzn-SageMaker-Target-Model: " + target.encode(),
        b"Content-Length: %d" % len(body),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def inflight(made: World) -> int:
    """From the log of the moment: /metrics is rendered once a second."""
    return int(made.server.metric("mms_inflight_requests"))


def rows(made: World) -> float:
    """How many were predicted, once the page that /metrics keeps for a second is a new one."""
    ends = made.server.metric("process_cpu_seconds_total")
    until(lambda: made.server.metric("process_cpu_seconds_total") > ends, "a new page")
    return made.server.metric("mms_predict_rows_total")


def test_who_hangs_up_is_dropped_before_the_worker_sees_it(made: World) -> None:
    """Three wait behind a slow request and go: their rows are never predicted."""
    before = rows(made)
    running = made.asking("odd.pkl", [[3, 0]])
    until(lambda: inflight(made) == 1, "the first runs")
    gone = [opened(made, post("odd.pkl", b"[[0,0],[0,0],[0,0]]")) for _ in range(3)]
    until(lambda: inflight(made) == 4, "three more wait")
    for sock in gone:
        sock.close()
    until(lambda: inflight(made) <= 1, "they are dropped")
    assert running.result().status == 200
    until(lambda: inflight(made) == 0, "all is quiet")
    assert made.ask("odd.pkl", [[0, 0]]).status == 200
    assert rows(made) == before + 2


def test_who_hangs_up_while_the_model_is_cold_is_dropped(made: World) -> None:
    """The load goes on, and answers who asks later; the rows of the gone are never predicted."""
    made.put("cold.tar.gz", constant_archive(6.0))
    before = rows(made)
    made.proxy.fault("latency:2")
    gone = [opened(made, post("cold.tar.gz", b"[[1,2,3,4],[1,2,3,4]]")) for _ in range(5)]
    until(lambda: inflight(made) == 5, "all wait for the model")
    for sock in gone:
        sock.close()
    until(lambda: inflight(made) == 0, "they are dropped")
    assert made.ask("cold.tar.gz", ROW).json() == [6.0]
    made.proxy.fault("")
    assert len(made.gets("cold.tar.gz")) == 1
    assert rows(made) == before + 1


def test_a_slow_sender_gets_a_408_and_holds_nobody(made: World) -> None:
    """The body has MMS_REQUEST_TIMEOUT to arrive."""
    slow = opened(made, post("m.tar.gz", b"[1,2,3,4]")[:-3])
    assert made.ask("m.tar.gz", ROW).json() == [4.0]
    answer = b""
    while chunk := slow.recv(65536):
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"RequestTimeout" in answer
    slow.close()


def test_a_request_that_takes_too_long_is_a_504(made: World) -> None:
    """At MMS_REQUEST_TIMEOUT from its arrival."""
    answer = made.ask("odd.pkl", [[6, 0]])
    assert (answer.status, answer.code) == (504, "ModelTimeout")
    until(lambda: made.ask("odd.pkl", [[0, 0]]).status == 200, "it serves on")


def test_two_thousand_idle_connections_are_cheap(made: World) -> None:
    """Others are served, and the front grows by little."""
    front = psutil.Process(made.server.pid)
    before = front.memory_info().rss
    idle = [opened(made, b"") for _ in range(IDLE)]
    try:
        until(lambda: front.num_fds() > IDLE, "all are accepted")
        assert made.ask("m.tar.gz", ROW).json() == [4.0]
        assert made.server.get("/ping").status == 200
        assert front.memory_info().rss - before < 100 << 20
    finally:
        for sock in idle:
            sock.close()


def test_pipelined_requests_are_answered_in_order(made: World) -> None:
    """Each gets its own answer, the slow first one included."""
    bodies = [b"[[0.3,0]]", b"[[1,2,3]]", b"[[0,0]]"]
    sock = opened(made, b"".join(post("odd.pkl", body) for body in bodies))
    statuses = []
    reader = sock.makefile("rb")
    for _ in bodies:
        statuses.append(reader.readline().split()[1])
        length = 0
        while (line := reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        reader.read(length)
    assert statuses == [b"200", b"400", b"200"]
    reader.close()
    sock.close()


def test_chunked_bodies(made: World) -> None:
    """A body without a length is as good as one with."""
    connection = http.client.HTTPConnection(HOST, made.server.port, timeout=30)
    head = {"X-Amzn-SageMaker-Target-Model": "m.tar.gz", "Content-Type": "application/json"}
    parts = iter([b"[[1,", b"2,3,4", b"]]"])
    connection.request("POST", "/invocations", parts, head, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"[4.0]")
    connection.close()


def test_overload_is_a_503_at_once(made: World) -> None:
    """Beyond the queue of one model; with both retry headers."""
    running = [made.asking("odd.pkl", [[2, 0]])]
    until(lambda: inflight(made) == 1, "the first runs")
    running += [made.asking("odd.pkl", [[0, 0]]) for _ in range(11)]
    answers = [answer.result() for answer in running]
    refused = [answer for answer in answers if answer.status == 503]
    assert 4 <= len(refused) <= 7
    assert {answer.status for answer in answers} == {200, 503}
    for answer in refused:
        assert answer.code == "ServiceUnavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert int(answer.headers["x-amz-retry-after"]) >= 1
        assert "MMS_MAX_QUEUE" in answer.message
    until(lambda: made.server.metric("mms_rejected_total", reason="overloaded") >= len(refused),
          "they are counted")  # fmt: skip


def test_no_more_is_in_flight_than_may_be(made: World) -> None:
    """The thirteenth of twelve is refused whatever model it wants."""
    until(lambda: inflight(made) == 0, "all is quiet")
    half = post("m.tar.gz", b"[1,2,3,4]")[:-1]
    waiting = [opened(made, half) for _ in range(12)]
    until(lambda: inflight(made) == 12, "twelve send their bodies")
    answer = made.ask("m.tar.gz", ROW)
    assert answer.status == 503
    assert "MMS_MAX_INFLIGHT" in answer.message
    assert made.server.get("/ping").status == 200
    for sock in waiting:
        with sock:
            sock.sendall(b"]")
            assert sock.recv(15).startswith(b"HTTP/1.1 200")
