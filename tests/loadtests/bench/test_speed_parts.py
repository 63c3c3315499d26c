"""What the throughput half computes, without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.bench.processes import CpuTime
from loadtests.bench.rows import Row
from loadtests.bench.speed.asking import Request, agree
from loadtests.bench.speed.figures import FIGURES, Cell, plan
from loadtests.bench.speed.generator import percentile, raw_request
from loadtests.bench.speed.load import Sample, lua, parse_wrk
from loadtests.bench.speed.rounds import Measured, errors, medians, ratios
from loadtests.bench.speed.run import raw, row
from loadtests.bench.speed.sides import ECHO, OURS, PLAIN, SIDES
from loadtests.bench.speed.workloads import RECIPES, make


def measured(requests: int, *, failed: int = 0, cpu: float = 0.5) -> Measured:
    sample = Sample(requests, 2.0, 1.0, 2.0, failed, cpu)
    return Measured(sample, CpuTime(front=0.1, workers=0.2))


def test_an_answer_agrees_to_float32_and_in_shape() -> None:
    assert agree([[0.1 + 1e-9, 1]], [[0.1, 1]])
    assert agree([1, 0], [1.0, 0.0])
    assert not agree([[0.11]], [[0.1]])
    assert not agree([0.1], [0.1, 0.2])
    assert not agree(None, [0.1])
    assert not agree(["a"], ["b"])


def test_ratios_are_taken_round_by_round() -> None:
    ours, theirs = [measured(300), measured(100)], [measured(100), measured(50)]
    assert ratios(ours, theirs) == (3.0, 2.0)
    assert ratios([measured(300)], [measured(0)]) == (0.0,)


def test_cpu_is_per_request() -> None:
    found = medians([measured(1000)])
    assert found["front_us"] == pytest.approx(100)
    assert found["workers_us"] == pytest.approx(200)
    assert found["requests_per_s"] == 500


def test_a_failed_request_fails_the_row() -> None:
    figure = next(figure for figure in FIGURES if figure.against == ECHO)
    good = {OURS: [measured(100)], ECHO: [measured(100)]}
    assert row(figure, good).is_met
    bad = row(figure, good | {ECHO: [measured(100, failed=2)]})
    assert bad.errors == 2
    assert not bad.is_met
    assert errors([measured(0)]) == 1


def test_a_busy_generator_is_said() -> None:
    figure = FIGURES[0]
    busy = {OURS: [measured(100, cpu=0.95)], figure.against: [measured(100)]}
    assert row(figure, busy).details["generator_was_limit"]
    cells = raw({figure.cell: busy})
    assert json.loads(json.dumps(cells))[0]["rounds"][0]["generator_was_limit"]


def test_the_short_plan_has_only_what_figures_need() -> None:
    figures = tuple(f for f in FIGURES if f.against != "mosec")
    short = plan(figures, (), everything=False)
    assert short[Cell("onnx", 1, 32)] == (OURS, ECHO)
    assert set(short) == {figure.cell for figure in figures}


def test_the_full_plan_has_the_whole_matrix() -> None:
    found = plan(FIGURES, (replace(SIDES[PLAIN], name="mosec"),), everything=True)
    assert len(found) == 5 * 2 * 4
    assert all({OURS, PLAIN} <= set(sides) for sides in found.values())
    assert "mosec" in found[Cell("mlp", 1, 8)]
    assert "mosec" not in found[Cell("mlp", 100, 8)]


def test_names_of_figures_are_unique() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)


def test_the_script_for_wrk_quotes_every_byte() -> None:
    request = Request(
        path="/a", body=b'{"x": "\\\n\xc3"}', headers={"A-B": "c"}, is_right=lambda _: True
    )
    text = lua(request)
    assert rb'wrk.body = "{\034x\034: \034\092\010\195\034}"' in text
    assert b'wrk.headers["A-B"] = "c"' in text


def test_what_wrk_says_is_read() -> None:
    found = parse_wrk("Running 1s test\n\nRESULT 1000 2000000 1500 9000 3 4\n")
    assert found == {
        "requests": 1000,
        "seconds": 2.0,
        "p50_ms": 1.5,
        "p99_ms": 9.0,
        "errors": 7,
    }


def test_the_generator_writes_plain_http() -> None:
    sent = raw_request(80, "/p", {"A": "b"}, b"body")
    assert sent.endswith(b"A: b\r\nContent-Length: 4\r\n\r\nbody")
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([], 0.5) == 0.0


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_workload_knows_its_answers(recipe: object, tmp_path: Path) -> None:
    found = next(one for one in RECIPES if one is recipe)
    workload = make(found, tmp_path / "models")
    for rows in (1, 100):
        question = workload.question(rows)
        assert len(question.predictions) == rows
        assert len(json.loads(question.body)["instances"]) == rows
        assert question.answer_size > 10


def test_a_row_without_a_bound_is_neither_met_nor_not() -> None:
    assert (
        Row(name="a", title="a", part="", unit="ms", better="lower", values=(1.0,)).is_met is None
    )
