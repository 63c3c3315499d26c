"""Cold models: one flight each, however many ask, and none waits for another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.faults import FaultProxy, Seen
from tests.support.gated_models import GatedLoad
from tests.support.models import ROW, constant, constant_archive, dumped
from tests.support.s3 import Bucket
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e
CROWD = 150


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CROWD) as opened:
        yield opened


def hold(proxy: FaultProxy, part: str) -> Event:
    """GETs of keys with this part wait at the proxy until the event is set."""
    opened = Event()

    def before(seen: Seen) -> None:
        if seen.method == "GET" and part in seen.path:
            assert opened.wait(60)

    proxy.before = before
    return opened


def test_a_crowd_at_a_cold_model_costs_one_get_and_one_load(
    serve: Callable[..., Server],
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    pool: ThreadPoolExecutor,
) -> None:
    """All wait for the same flight, and each gets the answer to its own rows."""
    bucket.put(f"{bucket_prefix}crowd.tar.gz", constant_archive(7.0))
    server = serve(MMS_S3_ENDPOINT_URL=fault_proxy.endpoint_url)
    opened = hold(fault_proxy, "crowd.tar.gz")

    def ask(rows: int) -> Response:
        return server.invoke("crowd.tar.gz", {"instances": ROW * rows})

    asked = [pool.submit(ask, 1 + number % 3) for number in range(CROWD)]
    until(lambda: server.metric("mms_inflight_requests") >= CROWD, "the crowd waits")
    opened.set()
    for number, future in enumerate(asked):
        answer = future.result(60)
        assert (answer.status, answer.tier) == (200, "store")
        assert answer.json() == {"predictions": [7.0] * (1 + number % 3)}
    assert fault_proxy.count("GET", "crowd.tar.gz") == 1
    assert fault_proxy.count("HEAD") == 0
    counted = "mms_model_cache_requests_total"
    until(lambda: server.metric(counted, tier="store") == CROWD, "all are counted")
    assert server.metric("mms_model_load_duration_seconds_count") == 1
    assert server.stop() == 0  # the log is complete now
    assert [event["target"] for event in server.events("model loaded")] == ["crowd.tar.gz"]


def test_a_stalled_fetch_holds_up_no_other_cold_model(
    serve: Callable[..., Server],
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    pool: ThreadPoolExecutor,
) -> None:
    """Twelve others come from the store while one stands still there; then it comes too."""
    names = {f"m{number}.joblib": float(number) for number in range(12)}
    for name, value in {"stalled.joblib": 99.0, **names}.items():
        bucket.put(bucket_prefix + name, dumped(constant(value)))
    server = serve(MMS_S3_ENDPOINT_URL=fault_proxy.endpoint_url)
    opened = hold(fault_proxy, "stalled.joblib")
    stalled = pool.submit(server.invoke, "stalled.joblib", {"instances": ROW})
    until(lambda: fault_proxy.count("GET", "stalled.joblib"), "the stalled fetch is under way")
    asked = {name: pool.submit(server.invoke, name, {"instances": ROW}) for name in names}
    for name, future in asked.items():
        answer = future.result(60)
        assert (answer.tier, answer.json()) == ("store", {"predictions": [names[name]]})
    assert not stalled.done()
    opened.set()
    assert stalled.result(60).json() == {"predictions": [99.0]}


def test_a_slow_load_holds_up_no_other_cold_model(
    serve: Callable[..., Server],
    bucket: Bucket,
    bucket_prefix: str,
    pool: ThreadPoolExecutor,
    tmp_path: Path,
) -> None:
    """It has one worker's load slot; the other worker's is free."""
    gate = tmp_path / "gate"
    bucket.put(f"{bucket_prefix}slow.joblib", dumped(GatedLoad(gate)))
    for number in range(6):
        bucket.put(f"{bucket_prefix}m{number}.joblib", dumped(constant(float(number))))
    server = serve(MMS_TRUST="all")
    slow: Future[Any] = pool.submit(server.invoke, "slow.joblib", {"instances": [[0]]})
    until(Path(f"{gate}.running").exists, "the slow load is under way")
    for number in range(6):
        answer = server.invoke(f"m{number}.joblib", {"instances": ROW})
        assert answer.json() == {"predictions": [float(number)]}
    assert not slow.done()
    gate.touch()
    assert slow.result(60).json() == {"predictions": [1.0]}
