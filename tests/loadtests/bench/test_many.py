"""The many-model half of the benchmark: its arithmetic, and every scenario once, tiny."""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest

from loadtests.bench.many import models, run
from loadtests.bench.many.client import Answer, Ask, WrongAnswer, is_same, quantile
from loadtests.bench.many.figures import FIGURES, IN_SHORT, PING, ROUND_ROBIN, START, ZIPF
from loadtests.bench.many.first import rotated
from loadtests.bench.many.load import by_time, probe
from loadtests.bench.many.sizes import TINY, Sizes
from loadtests.bench.many.zipf import lru_hits, zipf_trace
from loadtests.bench.options import Options
from loadtests.bench.processes import children
from loadtests.bench.rows import Row


@pytest.mark.parametrize(
    ("trace", "room", "hits"),
    [("aaaa", 1, 3), ("abab", 1, 0), ("abab", 2, 2), ("abcab", 2, 0), ("abacab", 2, 2), ("", 3, 0)],
)
def test_an_lru_drops_what_was_used_longest_ago(trace: str, room: int, hits: int) -> None:
    assert lru_hits(trace, room) == hits


def test_a_zipf_trace_is_the_same_every_time_and_has_its_shares() -> None:
    trace = zipf_trace(50, 20_000)
    assert trace == zipf_trace(50, 20_000)
    assert set(trace) <= set(range(50))
    first, second, *_ = (count for _, count in Counter(trace).most_common())
    assert first / second == pytest.approx(2, rel=0.1)


def test_a_quantile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.99), quantile(values, 0.5), quantile([7.0], 0.99)) == (99, 50, 7)


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ([1], [1], True),
        ([1], [2], False),
        ([[1.0]], [[1.0 + 1e-7]], True),
        ([[1.0]], [[1.1]], False),
        ([1.0, 2.0], [1.0], False),
        (None, [1], False),
        ("1", 1.0, False),
    ],
)
def test_answers_are_compared_by_value(found: object, expected: object, same: bool) -> None:
    assert is_same(found, expected) is same


def answer(**changes: object) -> Answer:
    fields = {"status": 200, "tier": "memory", "timing": "", "body": b'{"predictions":[1]}'}
    return Answer(**{**fields, "seconds": 0.1, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"status": 503}, {"body": b'{"predictions":[2]}'}, {"tier": "disk"}]
)
def test_an_answer_that_is_not_what_it_must_be_raises(wrong: dict[str, object]) -> None:
    ask = Ask.rows("m", [[1.0]], [1])
    assert answer().check(ask, tier="memory").status == 200
    with pytest.raises(WrongAnswer):
        answer(**wrong).check(ask, tier="memory")


def test_phases_are_read_from_the_header() -> None:
    assert answer(timing="queue;dur=0.1, fetch;dur=2").phases == {"queue": 0.1, "fetch": 2.0}


def test_errors_make_a_row_fail_and_keep_what_was_measured() -> None:
    row = PING.row([1.0, 2.0], errors=3)
    assert row.is_met is False
    assert (row.errors, row.value) == (3, 1.5)
    assert ZIPF.row([0.95]).is_met is True


def test_what_is_not_measured_whole_says_so_and_is_held_to_nothing() -> None:
    assert ROUND_ROBIN.sized("7 models", is_whole=True) is ROUND_ROBIN
    row = ROUND_ROBIN.sized("7 models", is_whole=False).row([1.0])
    assert row.title.endswith("(here 7 models)")
    assert (row.name, row.is_met) == (ROUND_ROBIN.name, None)


def test_a_probe_goes_on_until_it_may_end() -> None:
    left = iter([False] * 5 + [True])
    seconds = probe(answer, every_s=0.0, at_least_s=0.0, until=lambda: next(left))
    assert seconds == [0.1] * 5


def test_a_long_wait_counts_by_time_for_all_who_would_have_come_meanwhile() -> None:
    assert by_time([0.001, 0.010], 0.002) == pytest.approx(
        [0.001, 0.010, 0.008, 0.006, 0.004, 0.002]
    )
    assert by_time([0.002, 0.0], 0.002) == [0.002, 0.0]


def test_everyone_goes_first_in_turn() -> None:
    firsts = [rotated(["ours", "a", "b"], turn)[0] for turn in range(4)]
    assert firsts == ["ours", "a", "b", "ours"]


def test_a_scenario_that_breaks_owes_failed_rows(tmp_path: Path) -> None:
    def broken(_: Path, __: Sizes) -> Iterator[Row]:
        yield PING.row([1.0])
        raise WrongAnswer("it broke")

    scenario = run.Scenario(broken, (PING, ZIPF))
    measured, failed = run.attempted(scenario, tmp_path, TINY)
    assert measured.is_met
    assert (failed.name, failed.is_met, failed.values, failed.errors) == ("zipf", False, (), 1)
    assert failed.details["first_error"] == "WrongAnswer: it broke"
    assert list(tmp_path.iterdir()) == []


def test_every_figure_is_measured_by_one_scenario() -> None:
    names = [figure.name for scenario in run.SCENARIOS for figure in scenario.figures]
    assert names == [figure.name for figure in FIGURES]
    assert len(names) == len(set(names))


def wanted(options: Options) -> list[str]:
    return [figure.name for scenario in run.SCENARIOS for figure in scenario.wanted(options)]


def test_a_short_run_has_what_fits_or_what_is_named() -> None:
    assert wanted(Options()) == [figure.name for figure in FIGURES]
    assert wanted(Options(short=True)) == [figure.name for figure in IN_SHORT]
    assert wanted(Options(short=True, only=(START.name,))) == [START.name]
    assert wanted(Options(only=("p99",))) == ["ping-p99", "warm-p99", "beside-p99"]


def test_tiny_models_tell_which_one_they_are() -> None:
    labels = [models.tiny_label(number)[0] // 2 for number in range(20)]
    assert labels == list(range(20))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_an_archive_holds_the_model(tmp_path: Path, name: str) -> None:
    path = models.archive(tmp_path / name, "model.joblib", models.dumped(models.tiny(3)))
    with tarfile.open(path) as tar:
        member = tar.extractfile("model.joblib")
        assert member is not None
        model = joblib.load(io.BytesIO(member.read()))
    assert models.answer_of(model) == models.tiny_label(3)


def test_big_models_have_the_size_that_was_asked_for() -> None:
    assert len(models.dumped(models.mlp(2))) == pytest.approx(2e6, rel=0.05)
    assert len(models.big_onnx(2)) == pytest.approx(2e6, rel=0.05)
    assert len(models.dumped(models.forest(2))) == pytest.approx(2e6, rel=0.5)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["first-big-onnx", "reload-forest", "ping-p99", "killed"])
def test_a_scenario_runs_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    """Tiny, for the mechanics: its rows come without an error, whatever their figures."""
    scenario = next(one for one in run.SCENARIOS if one.figures[0].name == name)
    others = set(children(os.getpid()))  # another test's S3 server may run all the time
    rows = list(run.attempted(scenario, tmp_path, TINY))
    assert [row.details for row in rows if row.errors] == []
    assert [row.name for row in rows] == [figure.name for figure in scenario.figures]
    assert all(row.value is not None for row in rows)
    commands = map(command, set(children(os.getpid())) - others)
    assert [c for c in commands if b"mms\0serve" in c or b"weed" in c or b"spawn_main" in c] == []


def command(pid: int) -> bytes:
    """Its words; none once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
