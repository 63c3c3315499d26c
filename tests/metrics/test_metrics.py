"""The page as a scraper reads it: names, labels, bounds."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mms import __version__, errors
from mms.metrics import OTHER, GaugeSample, Metrics
from mms.metrics.gauges import COUNTERS, GAUGES, LABELLED
from mms.metrics.outcome import outcome_of

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

NAMES = {
    "mms_http_requests_total": {"route", "code"},
    "mms_http_request_duration_seconds_count": {"route"},
    "mms_invocations_total": {"model", "outcome"},
    "mms_invocation_duration_seconds_count": {"tier"},
    "mms_predict_duration_seconds_count": {"model"},
    "mms_batch_requests_count": set(),
    "mms_queue_depth": set(),
    "mms_rejected_total": {"reason"},
    "mms_model_cache_requests_total": {"tier"},
    "mms_model_loading_wait_seconds_count": set(),
    "mms_model_fetch_duration_seconds_count": set(),
    "mms_model_load_duration_seconds_count": {"format"},
    "mms_model_unload_duration_seconds_count": set(),
    "mms_model_load_failures_total": {"reason"},
    "mms_evictions_total": {"tier", "reason"},
    "mms_resident_models": set(),
    "mms_resident_bytes": set(),
    "mms_memory_budget_bytes": set(),
    "mms_process_memory_bytes": {"process"},
    "mms_disk_cache_bytes": set(),
    "mms_disk_budget_bytes": set(),
    "mms_loads_in_progress": set(),
    "mms_inflight_requests": set(),
    "mms_store_requests_total": {"op", "outcome"},
    "mms_store_bytes_total": set(),
    "mms_worker_restarts_total": {"reason"},
    "mms_workers": set(),
    "mms_event_loop_lag_seconds_count": set(),
    "mms_build_info": {"version"},
}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def scrape(metrics: Metrics) -> Samples:
    """Everything on a fresh page, keyed by name and labels."""
    metrics._rendered_at = -1e9
    page = metrics.render()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def exercised() -> Metrics:
    metrics = Metrics()
    metrics.bind(
        lambda: GaugeSample(
            resident_models=3,
            ready=True,
            process_memory_bytes={"front": 7},
            store_requests={("get", "ok"): 5},
            store_bytes=11,
        )
    )
    metrics.http("/invocations", 200, 0.01)
    metrics.invocation("a", "ok", "memory", 0.01)
    metrics.predict("a", 0.001)
    metrics.batch(3, rows=30)
    metrics.queued(0.001)
    metrics.rejected("overloaded")
    metrics.cache_request("disk")
    metrics.loading_wait(0.1)
    metrics.fetched(0.1, 5000)
    metrics.loaded("onnx", 0.1, 5000)
    metrics.unloaded(0.1)
    metrics.load_failed("artifact")
    metrics.evicted("memory", "budget")
    metrics.worker_restarted("hung")
    metrics.loop_lag(0.001)
    return metrics


def labels_of(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for found, labels in samples if found == name]


@pytest.mark.parametrize(("name", "labels"), NAMES.items())
def test_the_names_that_dashboards_stand_on(name: str, labels: set[str]) -> None:
    """Each is on the page, with exactly these labels."""
    found = labels_of(scrape(exercised()), name)
    assert found
    assert all(set(series) == labels for series in found)


def test_values_arrive_where_they_belong() -> None:
    """What is told is what is shown."""
    samples = scrape(exercised())
    assert samples["mms_resident_models", ()] == 3
    assert samples["mms_ready", ()] == 1
    assert samples["mms_process_memory_bytes", (("process", "front"),)] == 7
    assert samples["mms_store_requests_total", (("op", "get"), ("outcome", "ok"))] == 5
    assert samples["mms_store_bytes_total", ()] == 11
    assert samples["mms_predict_rows_total", ()] == 30
    assert samples["mms_batch_requests_sum", ()] == 3
    assert samples["mms_build_info", (("version", __version__),)] == 1
    assert samples["mms_invocations_total", (("model", "a"), ("outcome", "ok"))] == 1
    assert samples["mms_event_loop_lag_seconds_bucket", (("le", "0.001"),)] == 1
    assert samples["mms_model_size_bytes_sum", ()] == 5000


def test_every_field_of_the_sample_is_shown() -> None:
    """A field of GaugeSample that is in no table would be lost without a word."""
    fields = [field.name for field in dataclasses.fields(GaugeSample)]
    assert sorted(fields) == sorted([*GAUGES, *COUNTERS, *LABELLED])


def test_names_nobody_answered_to_mint_no_series() -> None:
    """A client that makes up names grows nothing."""
    metrics = Metrics()
    for number in range(1000):
        metrics.invocation(f"ghost-{number}", "ModelNotFound", "store", 0.01)
        metrics.invocation(f"ghost-{number}", "ServiceUnavailable", "", 0.01)
        metrics.invocation("", "ValidationError", "", 0.01)
    found = labels_of(scrape(metrics), "mms_invocations_total")
    assert {series["model"] for series in found} == {OTHER}
    assert len(found) == 3


def test_the_busiest_have_series_and_the_rest_share_one() -> None:
    """K models by name, all others together, in both per-model metrics."""
    metrics = Metrics(top_models=2)
    for model in ("a", "b", "c", "d"):
        metrics.invocation(model, "ok", "memory", 0.01)
        metrics.predict(model, 0.001)
    samples = scrape(metrics)
    for name in ("mms_invocations_total", "mms_predict_duration_seconds_count"):
        assert {s["model"] for s in labels_of(samples, name)} == {"a", "b", OTHER}
    assert samples["mms_invocations_total", (("model", OTHER), ("outcome", "ok"))] == 2


def test_no_series_ever_goes_backwards() -> None:
    """While models come, outgrow each other and go, what is shown only grows or disappears."""
    metrics = Metrics(top_models=3)
    before: Samples = {}
    for turn in range(60):
        model = f"m{turn % 12}"
        for _ in range(1 + 40 * (turn % 12)):
            metrics.invocation(model, "ok", "memory", 0.01)
        if turn % 7 == 0:
            metrics.forget(f"m{turn % 5}")
        after = scrape(metrics)
        for key in before.keys() & after.keys():
            if key[0].startswith("mms_") and ("model", OTHER) in key[1]:
                assert after[key] >= before[key]
        assert len({s["model"] for s in labels_of(after, "mms_invocations_total")}) <= 4
        before = after


def test_series_of_an_unloaded_model_go() -> None:
    """What isn't resident has no series."""
    metrics = exercised()
    metrics.forget("a")
    assert not [key for key in scrape(metrics) if ("model", "a") in key[1]]


def test_an_invocation_without_a_tier_has_no_duration_by_tier() -> None:
    """Where the model was is unknown if the request never got that far."""
    metrics = Metrics()
    metrics.invocation("", "ValidationError", "", 0.01)
    samples = scrape(metrics)
    tiers = {s["tier"] for s in labels_of(samples, "mms_invocation_duration_seconds_count")}
    assert tiers == {"memory", "disk", "store"}
    assert samples["mms_invocation_duration_seconds_count", (("tier", "store"),)] == 0


def test_the_page_is_made_once_a_second() -> None:
    """However many scrape, the loop pays once a second."""
    clock = Clock()
    metrics = Metrics(clock=clock)
    calls: list[float] = []

    def sample() -> GaugeSample:
        calls.append(clock.now)
        return GaugeSample()

    metrics.bind(sample)
    for now in (100.0, 100.5, 100.99, 101.0, 101.5):
        clock.now = now
        page, content_type = metrics.render()
        assert page
    assert calls == [100.0, 101.0]
    assert content_type.startswith("text/plain; version=0.0.4")


def test_every_error_code_has_an_outcome() -> None:
    """A new error is given one; only success is ok."""
    for _, error in inspect.getmembers(errors, inspect.isclass):
        inner = {errors.MmsError, errors.ModelError, errors.OtherEnvironment}  # no caller sees it
        if issubclass(error, errors.MmsError) and error not in inner:
            assert outcome_of(error.code) not in {"ok", "model_error"}, error
    assert outcome_of("ok") == "ok"
    assert outcome_of("cancelled") == "cancelled"
    assert outcome_of("ModelError") == outcome_of("never heard of") == "model_error"
