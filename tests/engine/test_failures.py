"""What is remembered of failures, and for how long."""

from __future__ import annotations

import pytest

from mms.engine.failures import BROKEN_MAX_S, FailureBook
from mms.errors import (
    InsufficientStorage,
    MmsError,
    ModelLoadError,
    ModelNotFound,
    NoRoom,
    StoreUnavailable,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> FailureBook:
    return FailureBook(clock)


def refuses(book: FailureBook, key: str = "a") -> bool:
    try:
        book.refuse(key)
    except MmsError:
        return True
    return False


def test_an_unknown_name_is_remembered_for_two_seconds(book: FailureBook, clock: Clock) -> None:
    """Then the store is asked again: the model may have been added."""
    book.note("a", ModelNotFound("no"))
    with pytest.raises(ModelNotFound, match="no"):
        book.refuse("a")
    clock.now += 2.01
    assert not refuses(book)


def test_a_store_fault_is_never_remembered_longer_than_ten_seconds(
    book: FailureBook, clock: Clock
) -> None:
    """The wait doubles from one second, and says how long it still is."""
    for expected in (1, 2, 4, 8, 10, 10):
        book.note("a", StoreUnavailable("down"))
        with pytest.raises(StoreUnavailable) as caught:
            book.refuse("a")
        assert caught.value.retry_after_s == pytest.approx(expected)
        clock.now += expected + 0.01
        assert not refuses(book)


def test_a_broken_artifact_waits_longer_each_time_up_to_five_minutes(
    book: FailureBook, clock: Clock
) -> None:
    """Its waits grow while its ETag stays."""
    waits = []
    for _ in range(9):
        book.note("a", ModelLoadError("corrupt"), "e1")
        start = clock.now
        while book.known_broken("a") == "e1":
            clock.now += 0.5
        waits.append(clock.now - start)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(5, abs=1)
    assert waits[-1] == pytest.approx(BROKEN_MAX_S, abs=1)


def test_a_broken_artifact_is_rechecked_for_a_newer_one_every_two_seconds(
    book: FailureBook, clock: Clock
) -> None:
    """Between rechecks the answer costs nothing; at one, only the ETag is asked for."""
    book.note("a", ModelLoadError("corrupt"), "e1")
    assert refuses(book)
    clock.now += 2.01
    assert not refuses(book)
    assert book.known_broken("a") == "e1"
    assert isinstance(book.still_broken("a"), ModelLoadError)
    assert refuses(book)


def test_a_new_etag_starts_afresh(book: FailureBook, clock: Clock) -> None:
    """The waits of an older artifact don't burden a newer one."""
    for _ in range(6):
        book.note("a", ModelLoadError("corrupt"), "e1")
    book.note("a", ModelLoadError("corrupt"), "e2")
    clock.now += 5.01
    assert book.known_broken("a") is None


def test_what_passes_by_itself_is_not_remembered(book: FailureBook) -> None:
    """No room just now says nothing about the next request."""
    book.note("a", NoRoom("busy"))
    assert not refuses(book)


def test_each_refusal_is_a_fresh_exception(book: FailureBook) -> None:
    """A shared instance would collect the tracebacks of everybody it was raised at."""
    error = InsufficientStorage("too large")
    book.note("a", error, "e1")
    seen = []
    for _ in range(2):
        with pytest.raises(InsufficientStorage) as caught:
            book.refuse("a")
        seen.append(caught.value)
    assert len({id(error), *map(id, seen)}) == 3


def test_success_clears_it(book: FailureBook) -> None:
    """What works is not held against its past."""
    book.note("a", ModelLoadError("corrupt"), "e1")
    book.clear("a")
    assert not refuses(book)
    assert len(book) == 0
