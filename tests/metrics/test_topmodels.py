"""Who has a series of their own: the busiest, steadily, and never two too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mms.metrics.topmodels import HALVE_AFTER, LEAD_COUNT, OTHER, TopModels


def make(size: int) -> tuple[TopModels, list[str]]:
    left: list[str] = []
    return TopModels(size, left.append), left


def use(top: TopModels, model: str, times: int) -> str:
    label = OTHER
    for _ in range(times):
        label = top.use(model)
    return label


def test_while_there_is_room_everyone_has_one() -> None:
    """The first K models count under their names, the next under the others'."""
    top, left = make(2)
    assert [top.use(model) for model in ("a", "b", "c")] == ["a", "b", OTHER]
    assert left == []


def test_a_clear_lead_takes_the_least_busys_place() -> None:
    """Who is much busier than the least busy member replaces it, which is told."""
    top, left = make(2)
    use(top, "a", 100)
    use(top, "b", 10)
    assert use(top, "c", 10 * 3 // 2 + LEAD_COUNT) == OTHER
    assert use(top, "c", 1) == "c"
    assert left == ["b"]
    assert top.use("b") == OTHER


def test_models_of_like_use_dont_trade_places() -> None:
    """A hundred equal models for ten places: the first ten stay."""
    top, left = make(10)
    for _ in range(2000):
        for number in range(100):
            top.use(f"m{number}")
    assert left == []


def test_yesterdays_busiest_make_room() -> None:
    """Merit fades with further use of others."""
    top, left = make(1)
    use(top, "old", HALVE_AFTER // 2)
    assert use(top, "new", HALVE_AFTER) == "new"
    assert left == ["old"]


def test_looking_lets_nobody_in() -> None:
    """A name that no model answered to gets no series."""
    top, _ = make(5)
    assert top.label("ghost") == OTHER
    assert len(top) == 0


def test_an_unloaded_model_leaves_and_makes_room() -> None:
    """Its place is free for the next, and it starts anew when it comes back."""
    top, left = make(1)
    use(top, "a", 1000)
    top.forget("a")
    assert left == ["a"]
    assert top.use("b") == "b"
    assert top.use("a") == OTHER
    top.forget("never seen")
    assert left == ["a"]


def test_no_places_and_bad_names() -> None:
    """K = 0 puts everyone together; the common name is nobody's own."""
    top, left = make(0)
    assert use(top, "a", 1000) == OTHER
    top, left = make(5)
    assert top.use(OTHER) == top.use("") == OTHER
    assert OTHER not in top
    assert left == []


@given(st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=400))
def test_members_are_bounded_and_every_loss_is_told(
    size: int, steps: list[tuple[bool, int]]
) -> None:
    """At any time at most K members, and exactly those that came and didn't leave."""
    top, left = make(size)
    present: set[str] = set()
    for is_use, number in steps:
        model = f"m{number}"
        if not is_use:
            top.forget(model)
        elif (label := use(top, model, 40)) != OTHER:
            assert label == model
            present.add(model)
        present -= set(left)
        left.clear()
        assert len(top) == len(present) <= size
        assert all(model in top for model in present)
