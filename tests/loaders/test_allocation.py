"""What may be allocated is bounded for a while, and only for a while."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from loaders.allocation import at_most, turn, unbounded, was_bounded

MIB = 1 << 20


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def test_more_than_the_bound_is_out_of_memory() -> None:
    """Before any of it is taken; what fits is given, and afterwards all is as it was."""
    before = _limits()
    with at_most(512 * MIB):
        assert np.ones(16 * MIB, np.uint8).all()
        with pytest.raises(MemoryError):
            np.empty(1024 * MIB, np.uint8)
    assert _limits() == before
    assert np.empty(1024 * MIB, np.uint8).size == 1024 * MIB


def test_an_error_lifts_the_bound() -> None:
    before = _limits()
    with pytest.raises(ValueError, match="odd"), at_most(64 * MIB):
        raise ValueError("odd")
    assert _limits() == before


def test_one_at_a_time() -> None:
    """Two that overlap would leave the limit of one behind for good."""
    before = _limits()
    inside, other = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait()
        with at_most(512 * MIB):
            other.set()

    thread = threading.Thread(target=second)
    thread.start()
    with at_most(512 * MIB):
        inside.set()
        assert not other.wait(0.1)
    thread.join()
    assert other.is_set()
    assert _limits() == before


def test_a_tighter_limit_of_the_process_stays() -> None:
    """Nothing is ever allowed that the operator doesn't."""
    code = """
import resource
from loaders.allocation import at_most, turn, unbounded, was_bounded
most = 2 << 30
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
with at_most(1 << 40):
    assert resource.getrlimit(resource.RLIMIT_DATA) == (most, most)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_who_must_not_be_under_a_bound_lifts_it() -> None:
    """And meanwhile none is put; afterwards they are as before."""
    before = _limits()
    with at_most(64 * MIB):
        with unbounded():
            assert _limits() == before
        assert _limits() == before
    with unbounded(), at_most(64 * MIB):
        assert _limits() == before
    with at_most(64 * MIB):
        assert _limits() != before
    assert _limits() == before


def test_it_is_known_whether_there_was_a_bound() -> None:
    since = turn()
    assert not was_bounded(since)
    with at_most(512 * MIB):
        inside = turn()
        assert was_bounded(since)
    assert was_bounded(since)
    assert was_bounded(inside)
    assert not was_bounded(turn())


def test_who_took_the_room_is_known() -> None:
    with at_most(512 * MIB) as bound:
        assert not bound.is_taken_by_others()
        others = np.empty(400 * MIB, np.uint8)
        assert bound.is_taken_by_others()
        del others
        assert not bound.is_taken_by_others()
