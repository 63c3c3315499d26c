"""Waits before a restart: none for an accident, growing for what fails again and again."""

from __future__ import annotations

from mms.fleet.backoff import Backoff


def test_what_never_gets_ready_waits_ever_longer_up_to_a_bound() -> None:
    """No tight loop of forks that die."""
    backoff = Backoff(0.1, 1.0)
    waits = [backoff.after(was_ready=False, lived_s=0.0) for _ in range(100)]
    assert waits[:5] == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert waits[-1] == 1.0


def test_three_ends_of_ready_ones_cost_nothing() -> None:
    """A poison request is no reason to be slow; a series of them is."""
    backoff = Backoff(0.1, 1.0)
    waits = [backoff.after(was_ready=True, lived_s=1.0) for _ in range(5)]
    assert waits == [0.0, 0.0, 0.0, 0.1, 0.2]


def test_a_long_life_clears_the_record() -> None:
    backoff = Backoff(0.1, 1.0)
    for _ in range(10):
        backoff.after(was_ready=True, lived_s=1.0)
    assert backoff.after(was_ready=True, lived_s=60.0) == 0.0
