"""Which scenarios there are, and one after another: rows as they come, failures as rows."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.many import Options, density, first, recovery, reload, start, tails, zipf
from loadtests.bench.many import figures as f
from loadtests.bench.many.figures import Figure
from loadtests.bench.many.sizes import FULL, SHORT, Sizes
from loadtests.bench.rows import Row


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is started together, in a folder of its own, and the rows it gives."""

    name: str
    measure: Callable[[Path, Sizes], Iterator[Row]]
    figures: tuple[Figure, ...]

    def is_wanted(self, only: Collection[str]) -> bool:
        names = {self.name, *(figure.name for figure in self.figures)}
        return not only or bool(names & set(only))


SCENARIOS = (
    Scenario("first-small", first.small, (f.FIRST_SMALL,)),
    Scenario("first-big", first.big, tuple(f.FIRST_BIG.values())),
    Scenario("reload", reload.reloads, (f.RELOAD_SMALL, f.RELOAD_FOREST)),
    Scenario("density", density.mixed, (f.DENSITY_MIXED,)),
    Scenario("many", density.many, (f.DENSITY_10K, f.ROUND_ROBIN)),
    Scenario("start", start.starts, (f.START,)),
    Scenario("ping", tails.ping, (f.PING,)),
    Scenario("warm", tails.warm_beside_loads, (f.WARM,)),
    Scenario("beside", tails.beside_slow, (f.BESIDE,)),
    Scenario("evicted", recovery.evicted, (f.EVICTED,)),
    Scenario("killed", recovery.killed, (f.KILLED,)),
    Scenario("zipf", zipf.zipf, (f.ZIPF,)),
)


def measured(options: Options) -> Iterator[Row]:
    """The wanted rows, in the order of ``SCENARIOS``."""
    sizes = SHORT if options.short else FULL
    for scenario in SCENARIOS:
        if scenario.is_wanted(options.only):
            yield from attempted(scenario, sizes)


def attempted(scenario: Scenario, sizes: Sizes) -> Iterator[Row]:
    """A scenario's rows; those that it owes when it breaks are failed ones, with the error."""
    began = time.monotonic()
    owed = {figure.name: figure for figure in scenario.figures}
    with tempfile.TemporaryDirectory(prefix="mms-bench-", ignore_cleanup_errors=True) as folder:
        try:
            for row in scenario.measure(Path(folder), sizes):
                del owed[row.name]
                row.details["took_s"] = round(
                    time.monotonic() - began, 1
                )  # since the scenario began
                yield row
        except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios go on
            where = traceback.format_exc(limit=-3)
            for figure in owed.values():
                yield figure.failed(f"{type(error).__name__}: {error}", traceback=where)


def line(row: Row) -> str:
    """One line for people."""
    if "error" in row.details:
        return f"{row.name:<16} FAILED  {row.title}: {row.details['error'][:500]}"
    low, high = row.spread
    verdict = {True: "met", False: "MISSED", None: ""}[row.is_met]
    sign = ">=" if row.better == "higher" else "<="
    held = "" if row.at_least is None else f"{sign} {row.at_least:g}"
    figures = f"{row.value:8.3g} {row.unit:<2} ({low:.3g} to {high:.3g})"
    return f"{row.name:<16} {figures:<32} {held:<8} {verdict:<7} {row.title}"
