"""What a measurement comes to: one row of the final table. Data and pure arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: a ratio of ours to theirs from interleaved rounds, or a value of our own.

    ``values`` holds one figure a round (a ratio, milliseconds, bytes, seconds: ``unit`` says
    which); a measurement that broke has none of them, but errors. ``at_least`` and ``aim`` are
    what it is held against, in the sense of ``better``.
    """

    name: str  # short and stable: the key in the committed JSON
    title: str  # for people, with both sides: "tiny ONNX, 32 connections, to the bare echo"
    part: str  # which half of the benchmark, for people
    unit: str  # "x", "ms", "MB", "s"
    better: Better
    values: tuple[float, ...]
    at_least: float | None = None
    aim: float | None = None
    errors: int = 0  # of both sides; one is enough to fail the row
    details: dict[str, Any] = field(default_factory=dict)  # JSON: both sides' own figures

    @property
    def value(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def spread(self) -> tuple[float, float] | None:
        return (min(self.values), max(self.values)) if self.values else None

    @property
    def is_met(self) -> bool | None:
        """Whether it is at least what it has to be; ``None`` where nothing is asked of it."""
        value = self.value
        if self.errors or value is None:
            return False
        if self.at_least is None:
            return None
        return value >= self.at_least if self.better == "higher" else value <= self.at_least
