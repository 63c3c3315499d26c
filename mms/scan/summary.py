"""The scan's last line, and its status for scripts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mms.scan.verdict import Verdict


def counts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How many serve, how many need what, how many can't; each artifact counts once."""
    needs = Counter(" and ".join(v.needs) for v in verdicts if v.status == "needs")
    states = Counter(v.status for v in verdicts)
    return {
        "artifacts": len(verdicts),
        "serve": states["serves"],
        "needs": dict(needs.most_common()),
        "fail": states["fails"],
        "unknown": states["unknown"],
    }


def summary_line(verdicts: Sequence[Verdict]) -> str:
    """``1,874 serve as they are, 96 need trust, 30 need scikit-learn 1.2``."""
    total = counts(verdicts)
    if not verdicts:
        return "there are no artifacts here"
    parts = [_part(total["serve"], "serves as it is", "serve as they are")]
    for what, count in total["needs"].items():
        parts.append(_part(count, f"needs {what}", f"need {what}"))
    if total["fail"]:
        parts.append(_part(total["fail"], "can't be served", "can't be served"))
    if total["unknown"]:
        parts.append(_part(total["unknown"], "could not be read", "could not be read"))
    return ", ".join(parts)


def _part(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 if all serve as they are, else 1: also where there is nothing."""
    return 0 if verdicts and all(v.status == "serves" for v in verdicts) else 1
