"""The ends of a run: table, JSON, picture, and the guard against regressions."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
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
        part="Waiting" if unit == "ms" else "Throughput",
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


def bars(svg: str) -> list[dict[str, str]]:
    """Of the rows: without the background, the pattern, and the legend's two."""
    found = [e.attrib for e in ET.fromstring(svg).iter() if e.tag.endswith("rect")]
    return [bar for bar in found if float(bar.get("x", 0)) > 500]


def test_the_picture_is_an_image_with_a_bar_a_row() -> None:
    svg = picture.draw(ROWS, "2 cores & more")
    widths = [float(bar["width"]) for bar in bars(svg)]
    assert widths[0] == pytest.approx(7 / 5 * 130)
    assert widths[2] == 260  # cut
    assert widths[3] == 260
    assert len(widths) == len(ROWS)
    assert svg.index("Throughput") < svg.index("far &lt;") < svg.index("Waiting")


def test_the_picture_tells_met_from_not_met_without_colours() -> None:
    filled = ["hatch" not in bar["fill"] for bar in bars(picture.draw(ROWS, ""))]
    assert filled == [True, False, True, True]


def test_what_could_not_be_measured_is_a_row_everywhere_and_no_number(tmp_path: Path) -> None:
    broken = replace(ROWS[0], values=(), errors=1, details={"first_error": "it broke"})
    assert broken.is_met is False
    assert report.line(broken) == "fast: ≥ 5.00x, 1 error, it broke"
    out = io.StringIO()
    report.print_rows(Console(file=out, width=140), (broken,))
    assert "1 error" in out.getvalue()
    assert "not measured (≥ 5.00x)" in picture.draw((broken,), "")
    path = tmp_path / "out.json"
    report.write_json(path, report.as_json((broken,), {}, {}, Options()))
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["value"], row["spread"], row["values"], row["errors"]) == (None, None, [], 1)
    assert baseline.regressions([broken], path) == []


def test_json_has_no_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        report.write_json(tmp_path / "out.json", {"value": math.nan})


def test_a_ratio_below_nine_tenths_of_the_baseline_is_a_regression(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    before = (a_row("fast", 8, 5), a_row("slow", 0.3, 0.45), a_row("ping", 1, 50, unit="ms"))
    report.write_json(path, report.as_json(before, {}, {}, Options()))
    (said,) = baseline.regressions(ROWS, path)
    assert said.startswith("fast: 7.00x, was 8.00x")


def test_where_less_is_better_more_is_the_regression() -> None:
    assert baseline.share("lower", 1.3, 1.0) == pytest.approx(1 / 1.3)
    assert baseline.share("lower", 1.3, 1.5) > 1


def test_without_a_baseline_nothing_is_a_regression(tmp_path: Path) -> None:
    assert baseline.regressions(ROWS, tmp_path / "none.json") == []
