"""The rows of this half by name, with what each is held against. Data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadtests.bench.rows import Better, Row

PART = "Many models: cold starts, density, tails, recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row before it is measured."""

    name: str
    title: str
    unit: str
    better: Better = "lower"
    at_least: float | None = None
    aim: float | None = None

    def sized(self, note: str, *, is_whole: bool) -> Figure:
        """This, if it is measured whole; smaller it says how small, and is held to nothing."""
        if is_whole:
            return self
        return replace(self, title=f"{self.title} (here {note})", at_least=None, aim=None)

    def row(self, values: Sequence[float], *, errors: int = 0, **details: Any) -> Row:
        """The measured row; one with errors keeps what was measured, and meets nothing."""
        return Row(
            name=self.name,
            title=self.title,
            part=PART,
            unit=self.unit,
            better=self.better,
            values=tuple(values),
            at_least=self.at_least,
            aim=self.aim,
            errors=errors,
            details=details,
        )

    def failed(self, error: str, **details: Any) -> Row:
        """A row without a figure."""
        return self.row((), errors=1, first_error=error, **details)


FIRST_SMALL = Figure(
    name="first-small",
    title="first request of a small model, to boto3 + untar + joblib.load + predict",
    unit="x",
    at_least=1.6,
    aim=1.3,
)


def _first_big(kind: str) -> Figure:
    return Figure(
        name=f"first-big-{kind.replace('.', '-')}",
        title=f"first request, 200 MB .{kind}, to the fastest of boto3 + unpack + load + predict",
        unit="x",
        at_least=1.2,
        aim=0.9,
    )


FIRST_BIG = {kind: _first_big(kind) for kind in ("tar", "tar.gz", "onnx")}


def _reload(kind: str, what: str) -> Figure:
    return Figure(
        name=f"reload-{kind}",
        title=f"reload from disk of {what}, to loading the unpacked file + predict",
        unit="x",
        at_least=1.3,
        aim=1.1,
    )


# A millisecond by hand, so that it is the request and the store's "not modified" that show: asked
# for no figure, but shown.
RELOAD_SMALL = replace(_reload("small", "a small model"), at_least=None, aim=None)
RELOAD = {
    "forest": _reload("forest", "a 50 MB forest"),
    "joblib": _reload("joblib", "a 200 MB joblib"),
    "onnx": _reload("onnx", "a 200 MB .onnx"),
}

DENSITY_MIXED = Figure(
    name="density-mixed",
    title="1,000 tiny scikit-learn + 1,000 tiny ONNX resident: growth (PSS, all processes)",
    unit="MB",
    at_least=120,
    aim=90,
)
DENSITY_10K = Figure(
    name="density-10k",
    title="10,000 tiny scikit-learn resident: growth (PSS, all processes)",
    unit="MB",
    at_least=150,
)
ROUND_ROBIN = Figure(
    name="round-robin",
    title="10,000 resident: p50 round robin, to one hot model",
    unit="x",
    at_least=1.3,
)

START = Figure(name="start", title="mms serve to /ping 200", unit="s", at_least=0.5, aim=0.3)

PING = Figure(
    name="ping-p99",
    title="/ping p99 while 50 cold loads run and all workers are busy",
    unit="ms",
    at_least=50,
    aim=15,
)
WARM = Figure(
    name="warm-p99",
    title="p99 of a fast model while 50 MB forests load one after another",
    unit="ms",
    at_least=50,
    aim=20,
)
BESIDE = Figure(
    name="beside-p99",
    title="p99 of a 0.1 ms model beside a saturated 60 ms one, in one worker",
    unit="ms",
    at_least=15,
    aim=8,
)

EVICTED = Figure(
    name="evicted",
    title="memory after evicting everything, to before (PSS, all processes)",
    unit="x",
    at_least=1.1,
)
KILLED = Figure(
    name="killed",
    title="worker SIGKILL to the next answer of all its models",
    unit="ms",
    at_least=500,
)

ZIPF = Figure(
    name="zipf",
    title="Zipf(1.0) over 500 models, room for 50: hit ratio to an ideal LRU",
    unit="x",
    better="higher",
    at_least=0.9,
    aim=0.97,
)

FIGURES = (
    FIRST_SMALL,
    *FIRST_BIG.values(),
    RELOAD_SMALL,
    *RELOAD.values(),
    *(DENSITY_MIXED, DENSITY_10K, ROUND_ROBIN),
    START,
    *(PING, WARM, BESIDE),
    *(EVICTED, KILLED, ZIPF),
)
# Ratios that small sizes leave steady; they take half a minute.
IN_SHORT = (FIRST_SMALL, RELOAD["forest"], EVICTED, ZIPF)
