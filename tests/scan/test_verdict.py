"""What a worker found becomes a verdict, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.errors import InsufficientStorage, ModelLoadError, StoreUnavailable
from mms.scan.verdict import Verdict, of_error, of_findings
from mms.types import Loaded


def _loaded(**findings: Any) -> Loaded:
    return Loaded(
        format="finding", bytes=2048, methods=("predict",), batchable=True, signature=findings
    )


def test_findings_are_carried_over() -> None:
    """What was found stands in the verdict; what wasn't looked for is left out of the JSON."""
    loaded = _loaded(
        format="sklearn",
        status="needs",
        needs=["trust"],
        message="no",
        refused=["a:b"],
        script="x.py",
    )
    verdict = of_findings("a.pkl", 10, loaded)
    assert verdict == Verdict(
        target="a.pkl",
        bytes=10,
        status="needs",
        needs=("trust",),
        message="no",
        format="sklearn",
        refused=("a:b",),
        script="x.py",
    )
    assert verdict.as_json().keys().isdisjoint({"memory_bytes", "load_s", "probe"})


def test_a_measured_one_has_its_figures() -> None:
    """Memory, time and probe come with a load."""
    loaded = _loaded(status="serves", load_s=0.25, probe="ok")
    verdict = of_findings("a.pkl", 10, loaded)
    assert (verdict.memory_bytes, verdict.load_s, verdict.probe) == (2048, 0.25, "ok")


_PLAIN = st.sampled_from(["serves", "needs", "a\nb", "x" * 5000, "", None, True, -1, 7, 2.5])
_JUNK = (
    _PLAIN | st.lists(_PLAIN | st.lists(_PLAIN)) | st.dictionaries(st.sampled_from("abc"), _PLAIN)
)
_KEYS = [
    "status",
    "needs",
    "message",
    "environment",
    "versions",
    "script",
    "unmet",
    "refused",
    "load_s",
    "probe",
]


@given(st.dictionaries(st.sampled_from(_KEYS), _JUNK))
def test_a_worker_may_say_anything(findings: dict[str, Any]) -> None:
    """Whatever types come, there is a verdict, and no line break in it."""
    verdict = of_findings("a.pkl", 1, _loaded(**findings))
    assert verdict.status in {"serves", "needs", "fails"}
    texts = (verdict.message, verdict.script, verdict.probe or "", *verdict.needs, *verdict.refused)
    assert all("\n" not in text and len(text) <= 2000 for text in texts)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelLoadError("corrupt"), "fails"),
        (InsufficientStorage("too large"), "fails"),
        (StoreUnavailable("away"), "unknown"),
    ],
)
def test_what_passes_by_is_no_verdict_on_the_artifact(error: Any, status: str) -> None:
    """A store that is away says nothing of the artifact."""
    verdict = of_error("a.pkl", 1, error)
    assert (verdict.status, verdict.message) == (status, error.message)
