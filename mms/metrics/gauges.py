"""The state of the server at the moment of a scrape: gauges that nobody has to keep up to date.

``GaugeSample`` is what the parts know; it is asked for once a scrape. Totals that are kept
elsewhere (the store's, the log's) come the same way, as counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mms.metrics.series import label_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeSample:
    """A field named in no table below would not be shown; a test sees to that."""

    resident_models: int = 0
    resident_bytes: int = 0
    memory_budget_bytes: int = 0
    process_memory_bytes: Mapping[str, int] = field(default_factory=dict)  # by process
    disk_cache_bytes: int = 0
    disk_budget_bytes: int = 0
    loads_in_progress: int = 0
    inflight_requests: int = 0
    inflight_bytes: int = 0
    max_inflight_requests: int = 0
    queue_depth: int = 0
    workers: int = 0
    ready: bool = False
    store_requests: Mapping[tuple[str, str], int] = field(default_factory=dict)  # op, outcome
    store_bytes: int = 0
    log_lines_dropped: int = 0


GAUGES = {
    "resident_models": ("mms_resident_models", "Models in memory"),
    "resident_bytes": ("mms_resident_bytes", "Measured size of the models in memory"),
    "memory_budget_bytes": ("mms_memory_budget_bytes", "Bound for all processes below the front"),
    "disk_cache_bytes": ("mms_disk_cache_bytes", "Size of the disk tier"),
    "disk_budget_bytes": ("mms_disk_budget_bytes", "Bound for the disk tier"),
    "loads_in_progress": ("mms_loads_in_progress", "Models being fetched or loaded"),
    "inflight_requests": ("mms_inflight_requests", "Admitted requests that aren't answered"),
    "inflight_bytes": ("mms_inflight_bytes", "Bodies of the admitted requests"),
    "max_inflight_requests": ("mms_max_inflight_requests", "Bound for admitted requests"),
    "queue_depth": ("mms_queue_depth", "Requests waiting for a resident model"),
    "workers": ("mms_workers", "Inference processes that are ready"),
    "ready": ("mms_ready", "1 while /readyz says yes"),
}
COUNTERS = {
    "store_bytes": ("mms_store_bytes", "Bytes received from the store"),
    "log_lines_dropped": ("mms_log_lines_dropped", "Log lines lost because stderr was stuck"),
}
LABELLED = {
    "process_memory_bytes": ("mms_process_memory_bytes", "PSS of each process", ("process",)),
    "store_requests": ("mms_store_requests", "Requests to the store", ("op", "outcome")),
}


class Gauges:
    """A prometheus_client collector over one sampling function."""

    def __init__(self, sample: Callable[[], GaugeSample]) -> None:
        self._sample = sample

    def describe(self) -> list[Metric]:
        return list(_families(GaugeSample()))

    def collect(self) -> Iterator[Metric]:
        return _families(self._sample())


def _families(sample: GaugeSample) -> Iterator[Metric]:
    for name, (metric, doc) in GAUGES.items():
        yield GaugeMetricFamily(metric, doc, value=float(getattr(sample, name)))
    for name, (metric, doc) in COUNTERS.items():
        yield CounterMetricFamily(metric, doc, value=float(getattr(sample, name)))
    metric, doc, labels = LABELLED["process_memory_bytes"]
    memory = GaugeMetricFamily(metric, doc, labels=labels)
    for process, size in sample.process_memory_bytes.items():
        memory.add_metric(label_texts((process,)), float(size))
    yield memory
    metric, doc, labels = LABELLED["store_requests"]
    requests = CounterMetricFamily(metric, doc, labels=labels)
    for key, count in sample.store_requests.items():
        requests.add_metric(label_texts(key), float(count))
    yield requests
