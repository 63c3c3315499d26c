"""What went wrong lately, so that the next request doesn't pay for it again at once.

Unknown names are remembered for 2 s, store faults for at most 10 s, a broken artifact by its ETag
for a time that grows to 5 minutes; within it the store is asked now and then whether there is a
newer artifact, which starts afresh. Everything is bounded, names from outside above all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from mms.errors import (
    InsufficientStorage,
    MmsError,
    ModelLoadError,
    ModelNotFound,
    StoreUnavailable,
)

UNKNOWN_S = 2.0
STORE_FIRST_S, STORE_MAX_S = 1.0, 10.0
BROKEN_FIRST_S, BROKEN_MAX_S = 5.0, 300.0
RECHECK_S = 2.0  # how often a broken artifact is checked for a newer version
COUNT_KEPT_S = 600.0  # after the wait is over, how long the count that grows it is kept
REMEMBERED = 50_000


@dataclass(slots=True, kw_only=True)
class Failure:
    """The last failure of one key."""

    error: MmsError
    etag: str  # of the broken artifact; "" where the fault isn't the artifact's
    count: int
    until: float
    recheck_at: float


class FailureBook:
    """Failures by key; ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: TLRUCache[str, Failure] = TLRUCache(
            REMEMBERED, ttu=lambda _key, failure, _now: _kept_until(failure), timer=clock
        )

    def refuse(self, key: str) -> None:
        """Raise what this key failed with, as long as that is remembered."""
        failure = self._failures.get(key)
        if failure is not None and self._clock() < failure.recheck_at:
            raise self._again(failure)

    def known_broken(self, key: str) -> str | None:
        """The ETag of the artifact that isn't worth another try yet."""
        failure = self._failures.get(key)
        if failure is None or not failure.etag or self._clock() >= failure.until:
            return None
        return failure.etag

    def still_broken(self, key: str) -> MmsError:
        """The store has nothing newer than what ``known_broken`` named: the error to repeat."""
        failure = self._failures.get(key)
        if failure is None:
            return ModelLoadError("the artifact is still the one that could not be loaded")
        failure.recheck_at = min(self._clock() + RECHECK_S, failure.until)
        return self._again(failure)

    def note(self, key: str, error: MmsError, etag: str = "") -> None:
        """Remember a failure, if it is of a kind that will happen again."""
        last = self._failures.get(key)
        again = last is not None and type(last.error) is type(error) and last.etag == etag
        count = last.count + 1 if again and last is not None else 1
        wait_s = _wait_s(error, count)
        if wait_s > 0:
            now = self._clock()
            recheck_s = RECHECK_S if etag else wait_s
            self._failures[key] = Failure(
                error=error.again(),  # without the frames that its traceback holds
                etag=etag,
                count=count,
                until=now + wait_s,
                recheck_at=now + min(recheck_s, wait_s),
            )

    def clear(self, key: str) -> None:
        """It works now."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)

    def _again(self, failure: Failure) -> MmsError:
        error = failure.error.again()
        if isinstance(error, StoreUnavailable):
            error.retry_after_s = max(0.1, failure.until - self._clock())
        return error


def _kept_until(failure: Failure) -> float:
    if isinstance(failure.error, ModelNotFound):
        return failure.until
    return failure.until + COUNT_KEPT_S


def _wait_s(error: MmsError, count: int) -> float:
    doubled = 2.0 ** min(count - 1, 16)
    match error:
        case ModelNotFound():
            return UNKNOWN_S
        case StoreUnavailable():
            return min(STORE_MAX_S, STORE_FIRST_S * doubled)
        case ModelLoadError() | InsufficientStorage():
            return min(BROKEN_MAX_S, BROKEN_FIRST_S * doubled)
        case _:
            return 0.0
