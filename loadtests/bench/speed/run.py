"""The throughput half of the benchmark, from the plan to its rows and raw values."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests.bench.options import Options
from loadtests.bench.outcome import Outcome, Tell
from loadtests.bench.processes import ROOT, environment
from loadtests.bench.rows import Row
from loadtests.bench.speed.figures import FIGURES, Cell, Figure, Plan, plan
from loadtests.bench.speed.load import Load
from loadtests.bench.speed.peers import install
from loadtests.bench.speed.rounds import Series, errors, measure, medians, ratios
from loadtests.bench.speed.sides import OURS, SIDES, Place, Side, model_environ, running
from loadtests.bench.speed.workloads import RECIPES, Workload, make

PART = "Throughput: requests per second, to the other side's"
_ROUNDS_UNASKED = 3  # in cells that no figure is about


def run(options: Options, folder: Path, tell: Tell) -> Outcome:
    figures = tuple(figure for figure in FIGURES if options.wants(figure.name))
    peers = install(tell) if options.peers and figures else {}
    sides = SIDES | peers
    figures = tuple(figure for figure in figures if figure.against in sides)
    everything = not options.short and not options.only
    bench = _Bench(options, folder, tell, sides)
    cells = plan(figures, tuple(peers.values()), everything=everything)
    measured = bench.measure(cells, {figure.cell for figure in figures})
    return Outcome(
        rows=tuple(row(figure, measured[figure.cell]) for figure in figures),
        raw={"load": bench.load.name, "cells": raw(measured), "in_process": bench.limits},
    )


class _Bench:
    """One model at a time: its servers are started, measured in all its cells, and ended."""

    def __init__(
        self, options: Options, folder: Path, tell: Tell, sides: Mapping[str, Side]
    ) -> None:
        self.options = options
        self.load = Load(folder, own=options.own_generator)
        self.limits: dict[str, dict[str, float]] = {}  # calls a second by workload and rows
        self._folder = folder
        self._tell = tell
        self._sides = sides

    def measure(self, cells: Plan, asked: set[Cell]) -> dict[Cell, Series]:
        found: dict[Cell, Series] = {}
        for recipe in RECIPES:
            own = {cell: sides for cell, sides in cells.items() if cell.workload == recipe.name}
            if own:
                workload = make(recipe, self._folder / "models" / recipe.name)
                if not self.options.short:
                    self.limits[workload.name] = self._limits(workload)
                found |= self._measure(workload, own, asked)
        return found

    def _measure(self, workload: Workload, cells: Plan, asked: set[Cell]) -> dict[Cell, Series]:
        found: dict[Cell, Series] = {}
        names = dict.fromkeys(name for sides in cells.values() for name in sides)
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(running(self._sides[name], workload, self._folder))
                for name in names
            }
            for cell, sides in sorted(cells.items()):
                rounds = self.options.rounds
                found[cell] = measure(
                    self.load,
                    [servers[name] for name in sides],
                    workload,
                    workload.question(cell.rows),
                    cell.connections,
                    seconds=self.options.seconds,
                    rounds=rounds if cell in asked else min(rounds, _ROUNDS_UNASKED),
                )
                self._tell(f"{cell.title}: {_line(found[cell])}")
        return found

    def _limits(self, workload: Workload) -> dict[str, float]:
        """The model's own calls a second in a process without a server."""
        found = {}
        place = Place(self._folder, 0, workload)
        for question in workload.questions:
            body = self._folder / "body.json"
            body.write_bytes(question.body)
            module = "loadtests.bench.servers.inprocess"
            done = subprocess.run(
                [sys.executable, "-m", module, str(body), str(min(1.0, self.options.seconds))],
                env=environment(model_environ(place)),
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            found[str(question.rows)] = float(json.loads(done.stdout))
        return found


def _line(series: Series) -> str:
    rates = {name: medians(values)["requests_per_s"] for name, values in series.items()}
    return ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items())


def row(figure: Figure, series: Series) -> Row:
    ours, theirs = series[OURS], series[figure.against]
    return Row(
        name=figure.name,
        title=figure.title,
        part=PART,
        unit="x",
        better="higher",
        values=ratios(ours, theirs),
        at_least=figure.at_least,
        aim=figure.aim,
        errors=errors(ours) + errors(theirs),
        details={
            "ours": medians(ours),
            "theirs": medians(theirs),
            "generator_was_limit": any(one.sample.is_limited for one in (*ours, *theirs)),
        },
    )


def raw(measured: dict[Cell, Series]) -> list[dict[str, Any]]:
    return [
        {
            "model": cell.workload,
            "rows": cell.rows,
            "connections": cell.connections,
            "side": side,
            "medians": medians(series),
            "errors": errors(series),
            "rounds": [one.as_json() for one in series],
        }
        for cell, all_series in measured.items()
        for side, series in all_series.items()
    ]
