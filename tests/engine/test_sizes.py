"""Sizes: what was measured is known, the rest is estimated from what earlier loads were like."""

from __future__ import annotations

from mms.engine.sizes import BASE_BYTES, FIRST_RATIO, LEARN_FROM_BYTES, MAX_RATIO, SizeBook
from tests.engine.fakes import MB, artifact


def test_a_first_estimate_has_room_for_a_little_more_than_the_file() -> None:
    assert SizeBook().estimate("m", artifact(MB)) == BASE_BYTES + int(FIRST_RATIO * MB)


def test_a_version_that_was_loaded_is_known_exactly() -> None:
    """And its next version isn't."""
    book = SizeBook()
    book.learn("m", artifact(MB, "v1"), 5 * MB)
    assert book.estimate("m", artifact(MB, "v1")) == book.known("m", "v1") == 5 * MB
    assert book.known("m", "v2") is None
    assert book.known("n", "v1") is None


def test_the_ratio_follows_what_loads_are_like() -> None:
    """Models that unpack to twice their file make the next estimate about so."""
    book = SizeBook()
    for number in range(30):
        book.learn(f"m{number}", artifact(10 * MB), 20 * MB)
    assert 1.95 < book.ratio <= 2.0


def test_tiny_models_teach_no_ratio() -> None:
    """Their fixed part would hide it."""
    book = SizeBook()
    book.learn("m", artifact(LEARN_FROM_BYTES - 1), 50 * MB)
    assert book.ratio == FIRST_RATIO


def test_one_odd_model_does_not_spoil_the_ratio() -> None:
    """Whatever it measures, the estimate stays between the file's size and a bound."""
    book = SizeBook()
    for _ in range(100):
        book.learn("m", artifact(2 * MB), 1 << 40)
    assert book.ratio <= MAX_RATIO
    for _ in range(100):
        book.learn("m", artifact(2 * MB), 1)
    assert book.ratio >= 1.0
