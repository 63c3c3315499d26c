"""What throughput is held against, as data: which cell of the matrix, beside whom, how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.bench.speed.sides import ECHO, INLINE, OURS, PLAIN, TWO, Side
from loadtests.bench.speed.workloads import ROWS, TITLES

CONNECTIONS = (1, 8, 32, 64)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    workload: str
    rows: int
    connections: int

    @property
    def title(self) -> str:
        clients = "one connection" if self.connections == 1 else f"{self.connections} connections"
        rows = "" if self.rows == 1 else f", {self.rows} rows"
        return f"{TITLES[self.workload]}{rows}, {clients}"


@dataclass(frozen=True, slots=True)
class Figure:
    """Our requests a second as a multiple of theirs."""

    cell: Cell
    against: str
    to: str  # for people
    at_least: float
    aim: float

    @property
    def name(self) -> str:
        return f"{self.cell.workload}-{self.against}-{self.cell.connections}"

    @property
    def title(self) -> str:
        return f"{self.cell.title}, to {self.to}"


def _figure(workload: str, connections: int, against: str, at_least: float, aim: float) -> Figure:
    joblib = "plain Starlette + pandas" if workload == "pipeline" else "plain Starlette"
    to = {ECHO: "a bare uvicorn echo", PLAIN: joblib, "mosec": "mosec with batching"}[against]
    return Figure(Cell(workload, 1, connections), against, to, at_least, aim)


FIGURES = (
    _figure("onnx", 32, ECHO, 0.45, 0.65),
    _figure("sklearn", 32, PLAIN, 5, 7),
    _figure("sklearn", 8, "mosec", 2, 3),
    _figure("sklearn", 32, "mosec", 0.9, 1.1),
    _figure("forest", 8, PLAIN, 6, 8),
    _figure("forest", 32, PLAIN, 20, 30),
    *(_figure(name, 1, PLAIN, 0.8, 0.95) for name in TITLES),
    _figure("pipeline", 32, PLAIN, 4, 8),
)

Plan = dict[Cell, tuple[str, ...]]


def plan(figures: tuple[Figure, ...], peers: Sequence[Side], *, everything: bool) -> Plan:
    """Which sides to measure in which cell: what the figures need, or all that tells something."""
    sides: dict[Cell, dict[str, None]] = {}
    for figure in figures:
        wanted = [OURS, figure.against, *((INLINE, TWO) if everything else ())]
        sides.setdefault(figure.cell, {}).update(dict.fromkeys(wanted))
    if everything:
        for workload in TITLES:
            for rows in ROWS:
                for connections in CONNECTIONS:
                    some = [s.name for s in peers if workload in s.serves]
                    if rows > 1 or connections not in {8, 32}:
                        some = []
                    cell = sides.setdefault(Cell(workload, rows, connections), {})
                    cell.update(dict.fromkeys((OURS, PLAIN, TWO, *some)))
    return {cell: tuple(found) for cell, found in sides.items()}
