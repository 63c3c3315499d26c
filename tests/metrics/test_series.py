"""Counters and histograms say what prometheus_client's own would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from mms.metrics.series import Counts, Histograms

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def lines(registry: CollectorRegistry) -> set[str]:
    # prometheus_client adds a gauge with the time of creation, which ours doesn't have.
    return {x for x in generate_latest(registry).decode().splitlines() if "_created" not in x}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(200, 202)), max_size=20))
def test_counts_agree_with_the_librarys(events: list[tuple[str, int]]) -> None:
    """Same increments, same page."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts(ours, "x", "doc", ("route", "code"))
    counter = Counter("x", "doc", ("route", "code"), registry=theirs)
    for route, code in events:
        counts.inc((route, code))
        counter.labels(route, code).inc()
    assert lines(ours) == lines(theirs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 10)), max_size=20))
def test_histograms_agree_with_the_librarys(events: list[tuple[str, float]]) -> None:
    """Same observations, same buckets, sums and counts; a bound belongs to its bucket."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histograms(ours, "x", "doc", BOUNDS, "route")
    histogram = Histogram("x", "doc", ("route",), registry=theirs, buckets=BOUNDS)
    for route, value in [*events, ("a", 0.01), ("a", 1.0)]:
        mine.observe(value, route)
        histogram.labels(route).observe(value)
    assert lines(ours) == lines(theirs)


def test_without_labels_there_is_a_zero_from_the_start() -> None:
    """A first increase is only seen by rate() if the series was there before."""
    registry = CollectorRegistry()
    Counts(registry, "x", "doc")
    Histograms(registry, "y", "doc", BOUNDS)
    Counts(registry, "z", "doc", ("tier",)).start(["disk"])
    assert {"x_total 0.0", "y_count 0.0", 'z_total{tier="disk"} 0.0'} <= lines(registry)


def test_a_label_that_cant_be_encoded_doesnt_break_the_page() -> None:
    """Half a surrogate pair becomes a question mark; quotes and newlines are escaped."""
    registry = CollectorRegistry()
    Counts(registry, "x", "doc", ("model",)).inc(("a\ud800",))
    Counts(registry, "y", "doc", ("model",)).inc(('"\n\\',))
    assert 'x_total{model="a?"} 1.0' in lines(registry)
    assert r'y_total{model="\"\n\\"} 1.0' in lines(registry)


def test_removed_series_are_gone() -> None:
    """All series of a first label, and no others."""
    registry = CollectorRegistry()
    counts = Counts(registry, "x", "doc", ("model", "outcome"))
    times = Histograms(registry, "y", "doc", BOUNDS, "model")
    for model in ("a", "b"):
        counts.inc((model, "ok"))
        counts.inc((model, "timeout"))
        times.observe(1, model)
    counts.remove("a")
    times.remove("a")
    times.remove("never was")
    assert not [line for line in lines(registry) if 'model="a"' in line]
    assert len([line for line in lines(registry) if 'model="b"' in line]) == 2 + 7


LABELS = st.text(max_size=6) | st.sampled_from(['a"b', "a\\b", "a\nb", "é", "\ud800"])


@given(
    st.lists(st.tuples(LABELS, st.integers(200, 202), st.sampled_from([1, 2.5, 10**6, 1e21]))),
    st.sampled_from([("route", "code"), ("model", "outcome"), ("b", "a")]),
)
def test_counts_write_what_the_library_would_to_the_letter(
    events: list[tuple[str, int, float]], labels: tuple[str, str]
) -> None:
    registry = CollectorRegistry()
    counts, plain = Counts(registry, "x", "doc", labels), Counts(registry, "y", "doc")
    for route, code, by in events:
        counts.inc((route, code), by)
        plain.inc(by=by)
    assert counts.text() + plain.text() == generate_latest(registry).decode()


@given(
    st.lists(st.tuples(LABELS, st.floats(0, 1e9))),
    st.sampled_from(["format", "model", "tier"]),
    st.sampled_from([0, 999_990, 10**7]),
)
def test_histograms_write_what_the_library_would_to_the_letter(
    events: list[tuple[str, float]], label: str, seen: int
) -> None:
    registry = CollectorRegistry()
    mine = Histograms(registry, "x", "doc", BOUNDS, label)
    plain = Histograms(registry, "y", "doc", BOUNDS)
    plain.cells[""].counts[1] += seen
    for key, value in events:
        mine.observe(value, key)
        plain.observe(value)
    assert mine.text() + plain.text() == generate_latest(registry).decode()
