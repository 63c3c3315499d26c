"""What operators see: every metric, bounded labels, one access line a request, and no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant_archive, dumped
from tests.support.odd_models import Quotes
from tests.support.s3 import Bucket
from tests.support.server import until

pytestmark = pytest.mark.e2e
NAMES = [
    "mms_http_requests",
    "mms_http_request_duration_seconds",
    "mms_invocations",
    "mms_invocation_duration_seconds",
    "mms_predict_duration_seconds",
    "mms_batch_requests",
    "mms_queue_depth",
    "mms_rejected",
    "mms_model_cache_requests",
    "mms_model_loading_wait_seconds",
    "mms_model_fetch_duration_seconds",
    "mms_model_load_duration_seconds",
    "mms_model_unload_duration_seconds",
    "mms_model_load_failures",
    "mms_evictions",
    "mms_resident_models",
    "mms_resident_bytes",
    "mms_memory_budget_bytes",
    "mms_process_memory_bytes",
    "mms_disk_cache_bytes",
    "mms_disk_budget_bytes",
    "mms_loads_in_progress",
    "mms_inflight_requests",
    "mms_store_requests",
    "mms_store_bytes",
    "mms_worker_restarts",
    "mms_workers",
    "mms_event_loop_lag_seconds",
    "mms_build_info",
]
MARK = "s3cr3t-in-the-request"
NUMBER = "918273645.5"


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("metrics")
    with world(s3_server, bucket, folder, MMS_TOP_MODELS="2", MMS_TRUST="all") as made:
        made.put("quotes.pkl", dumped(Quotes()))
        for number in range(5):
            made.put(f"m{number}.tar.gz", constant_archive(number))
        yield made


def models_with_series(made: World) -> set[str]:
    page = made.server.get("/metrics").body.decode()
    return {
        sample.labels["model"]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if "model" in sample.labels
    }


def test_every_metric_is_there(made: World) -> None:
    """Dashboards and load tests stand on these names."""
    assert made.ask("m0.tar.gz", ROW).status == 200
    page = made.server.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {family.name for family in text_string_to_metric_families(page.body.decode())}
    assert set(NAMES) <= found, set(NAMES) - found


def test_only_the_busiest_models_have_series_of_their_own(made: World) -> None:
    """The rest are together; unknown targets mint none; an unloaded model's series go."""
    for number in range(5):
        for _ in range(3):
            assert made.ask(f"m{number}.tar.gz", ROW).json() == [float(number)]
    for number in range(20):
        assert made.ask(f"none{number}.tar.gz", ROW).status == 404
    until(lambda: made.server.metric("mms_invocations_total", outcome="not_found") >= 20, "counted")
    found = models_with_series(made)
    assert "__other__" in found
    assert len(found) <= 3
    assert not [model for model in found if model.startswith("none")]
    total = made.server.metric("mms_invocations_total", outcome="ok")
    assert total >= 15
    own = next(iter(found - {"__other__"}))
    made.unload(own)
    until(lambda: own not in models_with_series(made), "its series go")


def test_every_request_is_one_line(made: World) -> None:
    """With its ids, target, version, tier, status and times."""
    made.unload("m1.tar.gz") if made.server.get("/models/m1.tar.gz").status == 200 else None
    cold = made.server.invoke("m1.tar.gz", ROW, X_Request_Id="line-1")
    failed = made.server.invoke("m1.tar.gz", [[1]], X_Request_Id="line-2")
    lines: dict[str, dict[str, object]] = {}

    def logged() -> bool:
        for event in made.server.events("access"):
            if "x_request_id" in event:
                lines[event["x_request_id"]] = event
        return {"line-1", "line-2"} <= lines.keys()

    until(logged, "both are logged")
    line = lines["line-1"]
    assert line["request_id"] == cold.headers["x-amzn-requestid"]
    assert line["version"] == cold.headers["x-mms-model-version"]
    assert (line["target"], line["status"], line["route"]) == ("m1.tar.gz", 200, "/invocations")
    assert line["tier"] == cold.tier
    assert {"ms", "queue_ms", "fetch_ms", "load_ms", "predict_ms", "bytes_in"} <= line.keys()
    assert (lines["line-2"]["status"], lines["line-2"]["code"]) == (400, "ValidationError")
    assert failed.status == 400


def test_nothing_that_was_sent_is_in_the_log(made: World) -> None:
    """Bodies, custom attributes, credentials and queries never reach it."""
    made.server.invoke(
        "m0.tar.gz",
        json.dumps([[MARK, 1, 2, 3]]).encode(),
        X_Amzn_SageMaker_Custom_Attributes=f"token={MARK}",
        Authorization=f"Bearer {MARK}",
        X_Request_Id="last",
    )
    made.server.get(f"/ping?X-Amz-Signature={MARK}")
    made.server.get(f"/nothing?token={MARK}")
    lines = made.server.events
    until(lambda: [e for e in lines("access") if e.get("x_request_id") == "last"], "logged")
    until(lambda: [e for e in lines("access") if e["status"] == 404], "logged")
    assert MARK not in made.server.log.read_text()


@pytest.mark.parametrize("route", ["/invocations", "/endpoints/any/invocations"])
def test_what_a_model_says_of_its_rows_is_told_to_its_caller_only(made: World, route: str) -> None:
    """An exception that quotes what was sent is in the answer, and in no line of the log."""
    own = f"quotes{route.count('/')}"
    sent = {"X-Amzn-SageMaker-Target-Model": "quotes.pkl", "X-Request-Id": own}
    answer = made.server.request("POST", route, f"[[1,{NUMBER}]]".encode(), sent)
    assert answer.status == (424 if "endpoints" in route else 500)
    assert f"RuntimeError: no good: [[1.0, {NUMBER}]]" in answer.message
    lines = made.server.events
    until(lambda: [e for e in lines("access") if e.get("x_request_id") == own], "logged")
    assert NUMBER not in made.server.log.read_text()


TYPES: dict[str, type | tuple[type, ...]] = {
    "time": str,
    "level": str,
    "request_id": str,
    "method": str,
    "route": str,
    "status": int,
    "bytes_in": int,
    "bytes_out": int,
    "ms": (int, float),
}


def test_the_log_is_lines_of_json_whatever_comes_in(made: World) -> None:
    """Quotes, control characters and other scripts in names break no line and hide no request."""
    odd = ['us/"quoted".pkl', "a b/{c}.pkl", "東京/モデル.pkl", "../up", "new\x85line", "x" * 2000]
    path = "/nothing/%22%0a%7b"
    before = len(made.server.events("access"))
    for name in odd:
        made.server.request(
            "POST", "/invocations", b"[]", {"X-Amzn-SageMaker-Target-Model": name.encode()}
        )
    assert made.server.get(path).status == 404
    until(lambda: len(made.server.events("access")) >= before + len(odd) + 1, "all are logged")
    for line in made.server.log.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "access":
            for name, kind in TYPES.items():
                assert isinstance(entry[name], kind), line
    targets = {event.get("target") for event in made.server.events("access")}
    assert set(odd[:3]) <= targets
