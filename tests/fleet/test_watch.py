"""When a worker hangs: its heart is silent, or what it runs is over its limit, as far as seen."""

from __future__ import annotations

import pytest

from mms.fleet.watch import Timed, Watch


@pytest.fixture(name="watch")
def _watch() -> Watch:
    return Watch(tick_s=0.25, silent_s=5.0, busy_silent_s=60.0)


def silence(watch: Watch, ticks: int, *running: Timed, loading: bool = False) -> list[str | None]:
    return [watch.tick(0.25, 1, running, loading=loading) for _ in range(ticks)]


def test_a_heart_silent_for_five_seconds_has_stopped(watch: Watch) -> None:
    verdicts = silence(watch, 22)
    assert verdicts[:21] == [None] * 21
    assert verdicts[21] == "hung"


def test_a_heart_that_beats_is_never_hung(watch: Watch) -> None:
    assert {watch.tick(0.25, beat, [], loading=False) for beat in range(100)} == {None}


def test_a_load_may_keep_the_heart_still_for_longer(watch: Watch) -> None:
    """Some hold the interpreter's lock; not for ever."""
    verdicts = silence(watch, 250, loading=True)
    assert verdicts[230] is None
    assert verdicts[249] == "hung"


def test_a_batch_over_its_limit_is_a_timeout_though_the_heart_beats(watch: Watch) -> None:
    batch = Timed(1.0)
    verdicts = [watch.tick(0.25, beat, [batch], loading=False) for beat in range(5)]
    assert verdicts == [None, None, None, None, "timeout"]


def test_a_model_allowed_long_batches_may_be_silent_as_long(watch: Watch) -> None:
    """It may compute with the lock held, within its limit."""
    assert silence(watch, 100, Timed(30.0)) == [None] * 100


def test_every_batch_is_counted_though_one_is_over(watch: Watch) -> None:
    first, second = Timed(0.1), Timed(9.0)
    watch.tick(0.25, 1, [first, second], loading=False)
    assert second.ran_s == 0.25


def test_a_front_that_was_stopped_itself_blames_nobody(watch: Watch) -> None:
    """After an hour in a frozen container the first tick counts for two."""
    batch = Timed(5.0)
    watch.tick(0.25, 1, [batch], loading=False)
    assert watch.tick(3600.0, 1, [batch], loading=False) is None
