"""Counters and histograms as plain numbers in dicts, and as the lines of a scrape.

prometheus_client's own classes take a lock and up to 1.3 µs for each observation; these take a
tenth, because all of them belong to one thread, the front's. Each class here is one of the
library's collectors, and writes by itself the text that the library would make of that, in a tenth
of the time: a scrape holds up the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

Label = str | int
_written: Callable[[float], str] = floatToGoString
_EXPONENTS = 1_000_000  # from here on Go writes numbers another way


class Counts:
    """A counter by labels: ``inc(("/ping", 200))``."""

    def __init__(
        self, registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str] = ()
    ) -> None:
        self.values: dict[tuple[Label, ...], float] = {} if labels else {(): 0}
        self._name, self._doc, self._labels = name, doc, labels
        registry.register(self)

    def start(self, keys: Iterable[Label]) -> None:
        """Show these at 0 from the first scrape on, so that their first increase is seen."""
        self.values |= {(key,): 0 for key in keys}

    def inc(self, key: tuple[Label, ...] = (), by: float = 1) -> None:
        values = self.values
        values[key] = values.get(key, 0) + by

    def remove(self, first: Label) -> None:
        """Drop all series whose first label is this."""
        for key in [key for key in self.values if key[0] == first]:
            del self.values[key]

    def text(self) -> str:
        """The lines of a scrape."""
        name, names = f"{self._name}_total", self._labels
        order = sorted(range(len(names)), key=names.__getitem__)
        lines = [_head(name, self._doc, "counter")]
        for key, value in self.values.items():
            pairs = ",".join(_pair(names[i], key[i]) for i in order)
            lines.append(f"{name}{{{pairs}}} " if pairs else f"{name} ")
            lines.append(f"{_written(value)}\n")
        return "".join(lines)

    def describe(self) -> list[CounterMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = self._family()
        for key, value in self.values.items():
            family.add_metric(label_texts(key), value)
        yield family

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._doc, labels=self._labels)


class Cell:
    """One histogram series: how many fell into each bucket (not cumulative), and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histograms:
    """A histogram by one label at most: ``observe(0.01, "/ping")``."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        doc: str,
        bounds: Sequence[float],
        label: str | None = None,
    ) -> None:
        self.cells: dict[Label, Cell] = {} if label else {"": Cell(bounds)}
        self._name, self._doc, self._bounds, self._label = name, doc, bounds, label
        self._texts = [*map(floatToGoString, bounds), "+Inf"]
        registry.register(self)

    def observe(self, value: float, key: Label = "") -> None:
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(self._bounds)
        cell.observe(value)

    def start(self, keys: Iterable[Label]) -> None:
        """Show these, empty, from the first scrape on."""
        self.cells |= {key: Cell(self._bounds) for key in keys}

    def remove(self, key: Label) -> None:
        self.cells.pop(key, None)

    def text(self) -> str:
        """The lines of a scrape."""
        name, label = self._name, self._label or ""
        lines = [_head(name, self._doc, "histogram")]
        for key, cell in self.cells.items():
            pair, running = _pair(label, key) if label else "", 0
            before = f"{pair}," if pair and label < "le" else ""
            after = f",{pair}" if pair and not before else ""
            for text, count in zip(self._texts, cell.counts, strict=True):
                running += count
                lines.append(f'{name}_bucket{{{before}le="{text}"{after}}} {_whole(running)}\n')
            own = f"{{{pair}}}" if pair else ""
            lines.append(f"{name}_count{own} {_whole(running)}\n")
            lines.append(f"{name}_sum{own} {_written(cell.total)}\n")
        return "".join(lines)

    def describe(self) -> list[HistogramMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = self._family()
        for key, cell in self.cells.items():
            running, buckets = 0, []
            for text, count in zip(self._texts, cell.counts, strict=True):
                running += count
                buckets.append((text, float(running)))
            family.add_metric(label_texts((key,)) if self._label else (), buckets, cell.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        labels = [self._label] if self._label else []
        return HistogramMetricFamily(self._name, self._doc, labels=labels)


def label_texts(key: tuple[Label, ...]) -> list[str]:
    """Labels as text that can be encoded: one broken name must not break the whole page."""
    return [str(label).encode("utf-8", "replace").decode() for label in key]


def _head(name: str, doc: str, kind: str) -> str:
    return f"# HELP {name} {doc}\n# TYPE {name} {kind}\n"


def _pair(name: str, value: Label) -> str:
    text = label_texts((value,))[0]
    text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{text}"'


def _whole(count: int) -> str:
    return f"{count}.0" if count < _EXPONENTS else _written(count)
