"""SIGTERM: lame duck, then the end of what is admitted, then status 0 and nothing left."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path

import psutil
import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import world
from tests.support.models import ROW, constant_archive, dumped
from tests.support.odd_models import Odd
from tests.support.s3 import Bucket
from tests.support.server import HOST, until

pytestmark = pytest.mark.e2e


def test_a_lame_duck_serves_until_the_load_balancer_has_noticed(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Not ready, still serving; what was in flight is answered; status 0; no process is left."""
    settings = {"MMS_TRUST": "all", "MMS_DRAIN_DELAY": "3s"}
    with world(s3_server, bucket, tmp_path, **settings) as made:
        made.put("odd.pkl", dumped(Odd()))
        made.put("m.tar.gz", constant_archive(4.0))
        server = made.server
        assert made.ask("odd.pkl", [[0, 0]]).status == 200
        family = psutil.Process(server.pid).children(recursive=True)
        running = made.asking("odd.pkl", [[4, 0]])
        until(lambda: server.metric("mms_inflight_requests") == 1, "it runs")
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: server.get("/ping").status == 503, "it says that it drains")
        assert server.get("/readyz").status == 503
        assert server.get("/livez").status == 200
        assert server.invoke("m.tar.gz", ROW).json() == [4.0]
        os.kill(server.pid, signal.SIGTERM)  # again is harmless
        assert running.result().status == 200
        assert server.stop() == 0
        until(lambda: not [p for p in family if p.is_running()], "nothing is left", 5)


def test_what_is_not_done_in_time_gets_a_503(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Nobody is left without an answer, and the server ends within its time."""
    settings = {"MMS_TRUST": "all", "MMS_DRAIN_DELAY": "0", "MMS_DRAIN_TIMEOUT": "3s"}
    with world(s3_server, bucket, tmp_path, **settings) as made:
        made.put("odd.pkl", dumped(Odd()))
        assert made.ask("odd.pkl", [[0, 0]]).status == 200
        running = made.asking("odd.pkl", [[40, 0]])
        until(lambda: made.server.metric("mms_inflight_requests") == 1, "it runs")
        assert made.server.stop(patience_s=20) == 0
        answer = running.result()
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
        assert "retry-after" in answer.headers


def test_who_waits_for_a_cold_model_gets_a_503_too(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """A store that hangs doesn't keep the server from ending in time."""
    settings = {"MMS_DRAIN_DELAY": "0", "MMS_DRAIN_TIMEOUT": "3s"}
    with world(s3_server, bucket, tmp_path, **settings) as made:
        made.put("m.tar.gz", constant_archive(4.0))
        made.proxy.fault("stall")
        waiting = made.asking("m.tar.gz", ROW)
        until(lambda: made.gets("m.tar.gz"), "it is asked for")
        assert made.server.stop(patience_s=20) == 0
        answer = waiting.result()
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")


def test_idle_connections_are_closed_and_busy_ones_told(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """A kept-alive connection hears Connection: close with its answer during the drain."""
    with world(s3_server, bucket, tmp_path, MMS_DRAIN_DELAY="3s") as made:
        made.put("m.tar.gz", constant_archive(4.0))
        connection = http.client.HTTPConnection(HOST, made.server.port, timeout=30)
        head = {"X-Amzn-SageMaker-Target-Model": "m.tar.gz", "Content-Type": "application/json"}
        connection.request("POST", "/invocations", b"[1,2,3,4]", head)
        first = connection.getresponse()
        assert (first.status, first.read()) == (200, b"[4.0]")
        assert first.getheader("connection") != "close"
        os.kill(made.server.pid, signal.SIGTERM)
        until(lambda: made.server.get("/ping").status == 503, "it drains")
        connection.request("POST", "/invocations", b"[1,2,3,4]", head)
        second = connection.getresponse()
        assert (second.status, second.read()) == (200, b"[4.0]")
        assert second.getheader("connection") == "close"
        assert made.server.stop() == 0
