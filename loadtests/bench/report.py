"""The end of a run: a table for people, JSON with every raw value for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.bench.rows import Row


def number(value: float) -> str:
    """Three digits that count, never an exponent."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def amount(value: float, unit: str) -> str:
    return number(value) + ("x" if unit == "x" else f" {unit}")


def verdict(row: Row) -> str:
    if row.errors:
        return f"{row.errors} error{'s' if row.errors > 1 else ''}"
    return {True: "met", False: "not met", None: ""}[row.is_met]


def line(row: Row) -> str:
    """One line for people: a row as soon as it is measured, or what went wrong with it."""
    measured, spread, held, _ = _figures(row)
    error = row.details.get("first_error", "") if row.errors else ""
    said = ", ".join(part for part in (measured, spread, held, verdict(row), error) if part)
    return f"{row.name}: {said}"


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    table = Table(title="Figures: medians of interleaved rounds", title_justify="left")
    table.add_column("what", overflow="fold")
    for name in ("measured", "spread", "held to", "aim"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for part, some in by_part(rows).items():
        table.add_row(part, style="bold")
        for row in some:
            table.add_row(f"  {row.title}", *_figures(row), verdict(row), style=_style(row))
        table.add_section()
    console.print(table)


def by_part(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.part, []).append(row)
    return found


def _figures(row: Row) -> tuple[str, str, str, str]:
    sign = "≥" if row.better == "higher" else "≤"
    return (
        "" if row.value is None else amount(row.value, row.unit),
        "" if row.spread is None else " to ".join(map(number, row.spread)),
        "" if row.at_least is None else f"{sign} {amount(row.at_least, row.unit)}",
        "" if row.aim is None else amount(row.aim, row.unit),
    )


def _style(row: Row) -> str:
    return {True: "green", False: "red", None: ""}[row.is_met]


_CELL_COLUMNS = {
    "requests_per_s": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "front_us": "front µs",
    "workers_us": "workers µs",
}


def print_cells(console: Console, cells: Iterable[Mapping[str, Any]]) -> None:
    """Everything that was measured under load, one line a server and cell."""
    table = Table(title="Throughput: medians; processor time per request", title_justify="left")
    for name in ("model", "rows", "connections", "server"):
        table.add_column(name, no_wrap=True)
    for name in (*_CELL_COLUMNS.values(), "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in cells:
        where = [str(cell[key]) for key in ("model", "rows", "connections", "side")]
        values = [number(cell["medians"][key]) for key in _CELL_COLUMNS]
        table.add_row(*where, *values, str(cell["errors"] or ""))
    console.print(table)


def as_json(
    rows: Sequence[Row], raw: Mapping[str, Any], machine: Mapping[str, Any], options: Any
) -> dict[str, Any]:
    return {
        "machine": dict(machine),
        "options": asdict(options),
        "rows": [
            {**asdict(row), "value": row.value, "spread": row.spread, "met": row.is_met}
            for row in rows
        ],
        **raw,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
