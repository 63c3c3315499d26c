"""The rows of this half by name, with what each is held against. Data only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.bench.rows import Better, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row before it is measured."""

    name: str
    title: str
    unit: str
    better: Better = "lower"
    at_least: float | None = None
    aim: float | None = None

    def row(self, values: Sequence[float], *, errors: int = 0, **details: Any) -> Row:
        """The measured row; with errors it is a failed one that keeps what was measured."""
        if errors:
            details |= {"measured": list(values), "errors": errors}
            return self.failed(f"{errors} requests failed", **details)
        return self._row(values, details)

    def failed(self, error: str, **details: Any) -> Row:
        """A row that meets nothing: its value is not a number."""
        return self._row([math.nan], {**details, "error": error})

    def _row(self, values: Sequence[float], details: dict[str, Any]) -> Row:
        return Row(
            name=self.name,
            title=self.title,
            unit=self.unit,
            better=self.better,
            values=tuple(values),
            at_least=self.at_least,
            aim=self.aim,
            details=details,
        )


FIRST_SMALL = Figure(
    name="first_small",
    title="first request of a small model, to boto3 + untar + joblib.load + predict",
    unit="x",
    at_least=1.6,
    aim=1.3,
)


def _first_big(kind: str, name: str) -> Figure:
    return Figure(
        name=f"first_big_{name}",
        title=f"first request of a big {kind}, to the fastest of boto3 + unpack + load + predict",
        unit="x",
        at_least=1.2,
        aim=0.9,
    )


FIRST_BIG = {
    "tar": _first_big(".tar", "tar"),
    "tar.gz": _first_big(".tar.gz", "tar_gz"),
    "onnx": _first_big(".onnx", "onnx"),
}

RELOAD_SMALL = Figure(
    name="reload_small",
    title="reload of a small model from disk, to joblib.load of the unpacked file + predict",
    unit="x",  # no figure: it asks the store whether it is still current, which costs a GET
)
RELOAD_FOREST = Figure(
    name="reload_forest",
    title="reload of a large forest from disk, to joblib.load of the unpacked file + predict",
    unit="x",
    at_least=1.3,
    aim=1.1,
)

DENSITY_MIXED = Figure(
    name="density_mixed",
    title="1,000 tiny scikit-learn + 1,000 tiny ONNX resident: growth (PSS, all processes)",
    unit="MB",
    at_least=120,
    aim=90,
)
DENSITY_10K = Figure(
    name="density_10k",
    title="10,000 tiny scikit-learn resident: growth (PSS, all processes)",
    unit="MB",
    at_least=150,
)
ROUND_ROBIN = Figure(
    name="round_robin",
    title="thousands of resident models: p50 round robin to one hot model",
    unit="x",
    at_least=1.3,
)

START = Figure(name="start", title="mms serve to /ping 200", unit="s", at_least=0.5, aim=0.3)

PING = Figure(
    name="ping_p99",
    title="/ping p99 while cold loads run and workers are busy",
    unit="ms",
    at_least=50,
    aim=15,
)
WARM = Figure(
    name="warm_p99",
    title="p99 of a fast model while large forests load one after another",
    unit="ms",
    at_least=50,
    aim=20,
)
BESIDE = Figure(
    name="beside_p99",
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
    title="Zipf(1.0), room for a tenth of the models: hit ratio to an ideal LRU",
    unit="x",
    better="higher",
    at_least=0.9,
    aim=0.97,
)
