"""Which scenarios there are, and one after another: rows as they come, failures as rows."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests.bench.many import density, first, recovery, reload, start, tails, zipf
from loadtests.bench.many import figures as f
from loadtests.bench.many.figures import Figure
from loadtests.bench.many.sizes import FULL, SHORT, Sizes
from loadtests.bench.options import Options
from loadtests.bench.outcome import Tell
from loadtests.bench.report import line
from loadtests.bench.rows import Row


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is started together, in a folder of its own, and the rows it gives."""

    measure: Callable[[Path, Sizes], Iterator[Row]]
    figures: tuple[Figure, ...]

    def wanted(self, options: Options) -> tuple[Figure, ...]:
        """Named ones always; a short run that names none has those that fit into it."""
        return tuple(
            figure
            for figure in self.figures
            if options.wants(figure.name)
            and (options.only or not options.short or figure in f.IN_SHORT)
        )


SCENARIOS = (
    Scenario(first.small, (f.FIRST_SMALL,)),
    *(Scenario(partial(first.big, kind), (figure,)) for kind, figure in f.FIRST_BIG.items()),
    Scenario(reload.small, (f.RELOAD_SMALL,)),
    *(Scenario(partial(reload.large, kind), (figure,)) for kind, figure in f.RELOAD.items()),
    Scenario(density.mixed, (f.DENSITY_MIXED,)),
    Scenario(density.many, (f.DENSITY_10K, f.ROUND_ROBIN)),
    Scenario(start.starts, (f.START,)),
    Scenario(tails.ping, (f.PING,)),
    Scenario(tails.warm_beside_loads, (f.WARM,)),
    Scenario(tails.beside_slow, (f.BESIDE,)),
    Scenario(recovery.evicted, (f.EVICTED,)),
    Scenario(recovery.killed, (f.KILLED,)),
    Scenario(zipf.zipf, (f.ZIPF,)),
)


def measured(options: Options, folder: Path, tell: Tell) -> Iterator[Row]:
    """The wanted rows, in the order of ``SCENARIOS``."""
    sizes = SHORT if options.short else FULL
    for scenario in SCENARIOS:
        wanted = scenario.wanted(options)
        if not wanted:
            continue
        for row in attempted(scenario, folder, sizes):
            if row.name in {figure.name for figure in wanted}:
                tell(line(row))
                yield row


def attempted(scenario: Scenario, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """A scenario's rows; those that it owes when it breaks have an error and no figure."""
    began = time.monotonic()
    owed = {figure.name: figure for figure in scenario.figures}
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own:
        try:
            for row in scenario.measure(Path(own), sizes):
                del owed[row.name]
                row.details["took_s"] = round(time.monotonic() - began, 1)
                yield row
        except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios go on
            where = traceback.format_exc(limit=-3)
            for figure in owed.values():
                yield figure.failed(f"{type(error).__name__}: {error}", traceback=where)
