"""Content negotiation against a slow reference; ``test_media`` has the cases by name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mms.errors import NotAcceptable
from mms.media.accept import negotiate, wanted

OFFERED = ("application/json", "text/csv", "application/x-npy")

RANGES = st.sampled_from(["*/*", "text/*", "application/*", *OFFERED, "text/html", "image/*"])
Q = st.sampled_from(["", ";q=0", ";q=0.3", ";q=0.300", ";q=0.7", ";q=1", ";q=1.0", "; q=.7"])


def reference(parts: list[tuple[str, str]], default: str) -> str | None:
    """RFC 9110, section 12.5.1, and the tie rules of ``negotiate``, spelt out slowly."""
    candidates = []
    order = [default, *(name for name in OFFERED if name != default)]
    for preference, name in enumerate(order):
        for pattern in (name, name.split("/")[0] + "/*", "*/*"):  # most specific first
            places = [i for i, (r, _) in enumerate(parts) if r == pattern]
            if places:
                q = float(parts[places[0]][1].partition("=")[2] or 1)
                stars = pattern.count("*")
                if q > 0:
                    candidates.append((-q, stars, places[0], preference, name))
                break
    return min(candidates)[-1] if candidates else None


@given(st.lists(st.tuples(RANGES, Q), min_size=1, max_size=5), st.sampled_from(OFFERED))
@example([("*/*", ";q=0.3"), (OFFERED[0], ";q=0")], OFFERED[0])
def test_negotiation_agrees_with_a_slow_reference(
    parts: list[tuple[str, str]], default: str
) -> None:
    accept = ", ".join(name + q for name, q in parts)
    try:
        got: str | None = negotiate(accept, OFFERED, default)
    except NotAcceptable:
        got = None
    assert got == reference(parts, default)


def test_a_wildcard_is_answered_by_the_default_it_covers_else_by_what_is_offered_first() -> None:
    assert negotiate("application/*", OFFERED, "application/x-npy") == "application/x-npy"
    assert negotiate("application/*", OFFERED, "text/csv") == "application/json"
    assert negotiate("*/*;q=0.1", OFFERED, "") == "application/json"
    with pytest.raises(NotAcceptable, match="application/json, text/csv, application/x-npy"):
        negotiate("image/png", OFFERED, "")


@pytest.mark.parametrize(
    ("accept", "default", "best"),
    [
        ("", "", "application/json"),
        ("", "Text/CSV; charset=utf-8", "text/csv"),
        ("*/*", "text/csv", "text/csv"),
        ("image/PNG", "text/csv", "image/png"),
        ("image/png;q=0.1, image/webp;q=0.5, */*;q=0.2", "text/csv", "image/webp"),
        ("image/png;q=0.1, */*", "text/csv", "text/csv"),
        ("image/png, image/webp", "text/csv", "image/png"),
        ("image/*, */*;q=0.5", "text/csv", "text/csv"),
        ("image/png;q=0", "text/csv", "text/csv"),
        ("not readable", "text/csv", "text/csv"),
    ],
)
def test_the_type_that_a_script_is_asked_for(accept: str, default: str, best: str) -> None:
    """The most welcome one by name, whether or not the table has it; else the default."""
    assert wanted(accept, default) == best
