"""A request to a model that is resident, without a task of its own.

Nearly all requests are such: a task for each, woken once, cost more than all that is done for it.
"""

from __future__ import annotations

from collections.abc import Callable

from mms.engine.copy import Entry
from mms.engine.lane import Outcome, Pending, WorkerGone
from mms.errors import MmsError
from mms.fleet.payloads import Reply
from mms.types import Answer

OnAnswer = Callable[[Answer | MmsError | None], None]
"""Called once, on the loop; None: its worker died first, and it may be asked again."""


class Submission:
    """The entry's pin, from the lane to the answer; ``drop`` gives both up."""

    __slots__ = ("_entry", "_on_answer", "_release", "pending")

    def __init__(self, entry: Entry, on_answer: OnAnswer, release: Callable[[Entry], None]) -> None:
        self._entry = entry
        self._on_answer: OnAnswer | None = on_answer
        self._release = release
        self.pending: Pending

    def settled(self, pending: Pending, outcome: Outcome) -> None:
        """What the lane says."""
        entry, on_answer = self._entry, self._on_answer
        assert on_answer is not None
        self._on_answer = None  # which holds us: without a cycle both are freed at once
        self._release(entry)
        if isinstance(outcome, Reply):
            on_answer(warm_answer(entry, pending, outcome))
        elif isinstance(outcome, MmsError):
            on_answer(outcome)
        else:
            assert isinstance(outcome, WorkerGone)
            on_answer(None)

    def drop(self) -> None:
        """Nobody waits for the answer any more; again, or once it is there, is harmless."""
        if not self.pending.is_over:
            self.pending.drop()
            self._on_answer = None
            self._release(self._entry)


def warm_answer(entry: Entry, pending: Pending, reply: Reply) -> Answer:
    """The answer of a model that was resident when the request came."""
    return Answer(
        body=reply.body,
        content_type=reply.content_type,
        version=entry.artifact.version if entry.artifact else "",
        queue_s=pending.sent - pending.enqueued,
        predict_s=pending.predict_s,
    )
