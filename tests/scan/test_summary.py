"""The summary counts each artifact once, and its status tells scripts whether all serve."""

from __future__ import annotations

from mms.scan.screen import others_line, verdict_line
from mms.scan.summary import counts, exit_code, summary_line
from mms.scan.verdict import Status, Verdict


def _one(status: Status, *needs: str) -> Verdict:
    return Verdict(target="a.pkl", bytes=1, status=status, needs=needs)


def test_the_line_says_who_needs_what() -> None:
    """As many as there are of each kind, the most frequent need first."""
    verdicts = (
        [_one("serves")] * 1874
        + [_one("needs", "scikit-learn 1.2")] * 30
        + [_one("needs", "trust")] * 96
        + [_one("needs", "trust", "xgboost>=2")]
        + [_one("fails")] * 2
        + [_one("unknown")]
    )
    assert summary_line(verdicts) == (
        "1,874 serve as they are, 96 need trust, 30 need scikit-learn 1.2, "
        "1 needs trust and xgboost>=2, 2 can't be served, 1 could not be read"
    )
    assert counts(verdicts)["artifacts"] == 2004


def test_nothing_is_said_to_be_nothing() -> None:
    """An empty prefix is no success: it is most likely the wrong one."""
    assert summary_line([]) == "there are no artifacts here"
    assert exit_code([]) == 1


def test_the_status_is_0_only_if_all_serve() -> None:
    """One that needs something is enough for a script to stop."""
    assert exit_code([_one("serves"), _one("serves")]) == 0
    assert exit_code([_one("serves"), _one("needs", "trust")]) == 1
    assert exit_code([_one("unknown")]) == 1


def test_a_line_says_what_and_why() -> None:
    """Refused names are named, not all of them; figures come with a load."""
    needs = Verdict(
        target="b/old.pkl",
        bytes=1,
        status="needs",
        needs=("trust",),
        format="sklearn",
        refused=tuple(f"pkg:N{i}" for i in range(7)),
    )
    assert verdict_line(needs) == (
        "b/old.pkl  sklearn  needs trust: its pickle asks for "
        "pkg:N0, pkg:N1, pkg:N2, pkg:N3, pkg:N4 and 2 more"
    )
    serves = Verdict(
        target="a.onnx",
        bytes=1,
        status="serves",
        format="onnx",
        memory_bytes=1_500_000,
        load_s=0.0123,
        probe="ok",
    )
    assert verdict_line(serves) == "a.onnx  onnx  serves  [1.5 MB, loads in 12 ms]"


def test_what_is_left_out_is_named() -> None:
    """As far as there is room, or whole; a name can't write lines of its own."""
    assert others_line(["a\nb.txt"], shown=5) == (
        "1 object is no artifact by its name and was left out: a\\nb.txt"
    )
    some = others_line(["a.txt", "b.txt", "c.txt"], shown=2)
    assert some.endswith("left out: a.txt, b.txt and 1 more (--all)")
    assert others_line(["a.txt", "b.txt", "c.txt"], shown=None).endswith(": a.txt, b.txt, c.txt")
