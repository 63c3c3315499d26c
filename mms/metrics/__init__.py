"""What is counted and timed, under the names that dashboards and load tests stand on.

One object, used from the front's event loop only: no locks. Labels are bounded: routes are
patterns, reasons and outcomes come from our own code, and of the models only the busiest have
series of their own (``mms.metrics.topmodels``); a name that no model answered to never makes one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from mms import __version__
from mms.metrics.gauges import Gauges, GaugeSample
from mms.metrics.outcome import BY_A_MODEL, outcome_of
from mms.metrics.series import Counts, Histograms
from mms.metrics.topmodels import OTHER, TopModels
from mms.types import Tier

__all__ = ["OTHER", "GaugeSample", "Metrics"]

_TIERS: tuple[Tier, ...] = ("memory", "disk", "store")
_REQUEST_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60
)  # fmt: skip
_PREDICT_S = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60
)  # fmt: skip
_LOAD_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 360)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SIZES = tuple(float(1024 * 4**n) for n in range(12))  # 1 KiB to 4 GiB
RENDER_S = 1.0


class Metrics:
    """All metrics of one server. Durations in seconds, sizes in bytes."""

    def __init__(
        self, top_models: int = 100, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._page, self._rendered_at = b"", -math.inf
        self._top = TopModels(top_models, self._drop_series)
        self._make_request_metrics()
        self._make_model_metrics()
        own = [part for part in vars(self).values() if isinstance(part, Counts | Histograms)]
        self._own: list[Counts | Histograms] = own
        self._others = CollectorRegistry()
        self._others.register(_Build())
        ProcessCollector(registry=self._others)

    def _make_request_metrics(self) -> None:
        new = self.registry
        self._http = Counts(new, "mms_http_requests", "HTTP requests answered", ("route", "code"))
        self._http_s = Histograms(
            new, "mms_http_request_duration_seconds", "From arrival to answer", _REQUEST_S, "route"
        )
        self._invocations = Counts(
            new, "mms_invocations", "Invocations by how they ended", ("model", "outcome")
        )
        self._invocation_s = Histograms(
            new,
            "mms_invocation_duration_seconds",
            "Invocations by where the model was when they came",
            _REQUEST_S,
            "tier",
        )
        self._predict_s = Histograms(
            new, "mms_predict_duration_seconds", "One predict call, a batch", _PREDICT_S, "model"
        )
        self._queue_s = Histograms(
            new, "mms_queue_duration_seconds", "Waiting for a resident model", _REQUEST_S
        )
        self._batch = Histograms(new, "mms_batch_requests", "Requests predicted together", _BATCH)
        self._rows = Counts(new, "mms_predict_rows", "Rows predicted")
        self._rejected = Counts(
            new, "mms_rejected", "Requests refused before any work", ("reason",)
        )
        self._lag_s = Histograms(
            new, "mms_event_loop_lag_seconds", "How late the event loop came", _LAG_S
        )
        self._invocation_s.start(_TIERS)

    def _make_model_metrics(self) -> None:
        new = self.registry
        self._cache = Counts(
            new, "mms_model_cache_requests", "Requests by tier of their model", ("tier",)
        )
        self._wait_s = Histograms(
            new, "mms_model_loading_wait_seconds", "Requests waiting for a cold model", _LOAD_S
        )
        self._fetch_s = Histograms(
            new, "mms_model_fetch_duration_seconds", "Store to disk, unpacked", _LOAD_S
        )
        self._fetch_bytes = Histograms(new, "mms_model_fetch_bytes", "Artifacts as fetched", _SIZES)
        self._load_s = Histograms(
            new, "mms_model_load_duration_seconds", "Disk to memory", _LOAD_S, "format"
        )
        self._model_bytes = Histograms(
            new, "mms_model_size_bytes", "Models as measured in memory", _SIZES
        )
        self._unload_s = Histograms(
            new, "mms_model_unload_duration_seconds", "Giving memory back", _LOAD_S
        )
        self._load_failures = Counts(
            new, "mms_model_load_failures", "Fetches and loads that failed", ("reason",)
        )
        self._evictions = Counts(
            new, "mms_evictions", "Models given up, by tier", ("tier", "reason")
        )
        self._restarts = Counts(new, "mms_worker_restarts", "Workers replaced", ("reason",))
        self._cache.start(_TIERS)

    def http(self, route: str, code: int, seconds: float) -> None:
        """A request is answered; ``route`` is the pattern, never the path."""
        self._http.inc((route, code))
        self._http_s.observe(seconds, route)

    def invocation(self, model: str, code: str, tier: Tier | Literal[""], seconds: float) -> None:
        """An invocation ended: ``code`` is "ok", an ErrorCode, or "cancelled".

        ``model`` is "" where the target made no sense, ``tier`` where it wasn't found out.
        """
        outcome = outcome_of(code)
        label = self._top.use(model) if outcome in BY_A_MODEL else self._top.label(model)
        self._invocations.inc((label, outcome))
        if tier:
            self._invocation_s.observe(seconds, tier)

    def predict(self, model: str, seconds: float) -> None:
        """A loaded model computed one batch."""
        self._predict_s.observe(seconds, self._top.use(model))

    def batch(self, requests: int, rows: int = 0) -> None:
        self._batch.observe(requests)
        self._rows.inc(by=rows)

    def queued(self, seconds: float) -> None:
        self._queue_s.observe(seconds)

    def rejected(self, reason: str) -> None:
        self._rejected.inc((reason,))

    def cache_request(self, tier: Tier) -> None:
        self._cache.inc((tier,))

    def loading_wait(self, seconds: float) -> None:
        self._wait_s.observe(seconds)

    def fetched(self, seconds: float, nbytes: int) -> None:
        self._fetch_s.observe(seconds)
        self._fetch_bytes.observe(nbytes)

    def loaded(self, fmt: str, seconds: float, nbytes: int | None = None) -> None:
        self._load_s.observe(seconds, fmt)
        if nbytes is not None:
            self._model_bytes.observe(nbytes)

    def unloaded(self, seconds: float) -> None:
        self._unload_s.observe(seconds)

    def load_failed(self, reason: str) -> None:
        self._load_failures.inc((reason,))

    def evicted(self, tier: Tier, reason: str) -> None:
        self._evictions.inc((tier, reason))

    def worker_restarted(self, reason: str) -> None:
        self._restarts.inc((reason,))

    def loop_lag(self, seconds: float) -> None:
        self._lag_s.observe(seconds)

    def forget(self, model: str) -> None:
        """The model is in no worker's memory any more: its series go."""
        self._top.forget(model)

    def bind(self, sample: Callable[[], GaugeSample]) -> None:
        """Where the state of the server is read from at a scrape; call once."""
        self._others.register(Gauges(sample))

    def render(self) -> tuple[bytes, str]:
        """The page and its content type; made at most once a second however many scrape.

        Always the plain text format: all scrapers take it, and OpenMetrics blocks the loop for
        far longer (measured with 100 models: 31 ms against 2).
        """
        now = self._clock()
        if now - self._rendered_at >= RENDER_S:
            own = "".join(part.text() for part in self._own)
            self._page = own.encode() + generate_latest(self._others)
            self._rendered_at = now
        return self._page, CONTENT_TYPE_PLAIN_0_0_4

    def _drop_series(self, model: str) -> None:
        self._invocations.remove(model)
        self._predict_s.remove(model)


class _Build:
    def collect(self) -> Iterator[InfoMetricFamily]:
        yield InfoMetricFamily("mms_build", "This server", value={"version": __version__})
