"""The ends of a run: table, JSON, picture, and the guard against regressions."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from loadtests.bench import baseline, machine, picture, report
from loadtests.bench.options import Options
from loadtests.bench.rows import Better, Row


def a_row(
    name: str, value: float, at_least: float, *, better: Better = "higher", unit: str = "x"
) -> Row:
    return Row(
        name=name,
        title=f"{name} <& more>",
        unit=unit,
        better=better,
        values=(value * 0.9, value, value * 1.1),
        at_least=at_least,
        aim=at_least * (2 if better == "higher" else 0.5),
    )


ROWS = (
    a_row("fast", 7, 5),
    a_row("slow", 0.3, 0.45),
    a_row("far", 100, 5),
    a_row("ping", 24, 50, better="lower", unit="ms"),
)


def test_the_table_says_what_is_met() -> None:
    out = io.StringIO()
    report.print_rows(Console(file=out, width=140), ROWS)
    lines = out.getvalue().splitlines()
    fast, slow, ping = (next(x for x in lines if n in x) for n in ("fast", "slow", "ping"))
    assert "not met" in slow
    assert "met" in fast
    assert "not met" not in fast
    assert "≤ 50.0 ms" in ping


def test_the_json_holds_every_value() -> None:
    found = report.as_json(ROWS, {"cells": []}, machine.facts(), Options())
    again = json.loads(json.dumps(found))
    assert again["rows"][0]["values"] == pytest.approx([6.3, 7, 7.7])
    assert again["rows"][1]["met"] is False
    assert again["machine"]["cores"] >= 1
    assert "numpy" in again["machine"]["versions"]


def test_the_picture_is_an_image_with_a_bar_a_row() -> None:
    root = ET.fromstring(picture.draw(ROWS, "2 cores & more"))
    bars = [e for e in root.iter() if e.tag.endswith("rect")][1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert len(bars) == len(ROWS)
    assert widths[0] == pytest.approx(7 / 5 * 130)
    assert widths[2] == 260  # cut
    assert widths[3] == pytest.approx(50 / 24 * 130, abs=0.1) or widths[3] == 260


def test_a_ratio_below_nine_tenths_of_the_baseline_is_a_regression(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    before = (a_row("fast", 8, 5), a_row("slow", 0.3, 0.45), a_row("ping", 1, 50, unit="ms"))
    report.write_json(path, report.as_json(before, {}, {}, Options()))
    (said,) = baseline.regressions(ROWS, path)
    assert said.startswith("fast: 7.00x, was 8.00x")


def test_where_less_is_better_more_is_the_regression() -> None:
    row = a_row("reload", 1.3, 1.3, better="lower")
    assert baseline.share(row, 1.0) == pytest.approx(1 / 1.3)
    assert baseline.share(row, 1.5) > 1


def test_without_a_baseline_nothing_is_a_regression(tmp_path: Path) -> None:
    assert baseline.regressions(ROWS, tmp_path / "none.json") == []
