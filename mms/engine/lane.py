"""The lane of one copy of a model: its queue, its deadlines and the batch rule.

An idle model never waits. A fast model (predict below half a millisecond) has two batches in
flight. Any other has one, and after a batch the next leaves when as many requests wait as were just
answered, or after a short hold: closed-loop clients that were answered together come back together,
and without the hold they fall apart into cohorts. What the client has given up, or the deadline
has, is dropped before the worker sees it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mms.errors import ModelError, ModelTimeout, Overloaded, from_code
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome
from mms.fleet.payloads import Reply

FAST_S = 0.0005
HOLD_MIN_S = 0.001
HOLD_SHARE = 0.1
SMOOTHING = 0.2
MAX_BATCH_BYTES = 8 << 20
HANG_FACTOR = 10.0
HANG_MIN_S = 5.0


class WorkerGone(Exception):
    """The worker died before it had STARTED this request, which may run once elsewhere."""


Outcome = Reply | Exception  # of mms.errors, or WorkerGone


class Carrier(Protocol):
    """The worker, as a lane sees it."""

    def at_end_of_turn(self, call: Callable[[], None], /) -> None: ...

    def submit(
        self,
        model_id: int,
        requests: Sequence[tuple[bytes, bytes]],
        *,
        hang_limit_s: float,
        on_done: Callable[[BatchOutcome], None],
    ) -> None: ...


@dataclass(slots=True, kw_only=True, frozen=True)
class LaneLimits:
    max_queue: int
    max_batch: int
    batch_delay_s: float
    request_timeout_s: float


class Pending:
    """One request in a lane, until it is settled or dropped.

    ``on_settled`` is called once, on the loop, with what became of it: a reply or an error. It must
    not raise: others of its batch are still to be told.
    """

    __slots__ = ("_on_settled", "body", "deadline", "enqueued", "predict_s", "sent", "spec")

    def __init__(
        self,
        spec: bytes,
        body: bytes,
        deadline: float,
        on_settled: Callable[[Pending, Outcome], None],
    ) -> None:
        self.spec = spec
        self.body = body
        self.deadline = deadline
        self.enqueued = time.monotonic()
        self.sent = 0.0
        self.predict_s = 0.0
        self._on_settled: Callable[[Pending, Outcome], None] | None = on_settled

    @property
    def is_over(self) -> bool:
        return self._on_settled is None

    def settle(self, outcome: Outcome) -> None:
        """Tell who asked, unless that was done, or nobody wants to know any more."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled(self, outcome)

    def drop(self) -> None:
        """Nobody waits for it any more: it is taken from the queue before the worker sees it."""
        self._on_settled = None


class Lane:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(
        self,
        model_id: int,
        carrier: Carrier,
        limits: LaneLimits,
        *,
        on_batch: Callable[[int, int, float], None],
        on_send: Callable[[], None] = lambda: None,
        on_land: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._model_id = model_id
        self._carrier = carrier
        self._limits = limits
        self._on_batch = on_batch
        self._on_send = on_send  # of every batch, and then on_land, whatever became of it
        self._on_land = on_land
        self._queue: deque[Pending] = deque()
        self._flying: dict[int, list[Pending]] = {}
        self._next_batch = 0
        self._ewma_s: float | None = None  # of predict, and of the bytes that were asked
        self._ewma_bytes = 0.0
        self._quorum = 0  # how many waiting requests end the hold; 0: no hold
        self._hold: asyncio.TimerHandle | None = None
        self._pump_due = False

    def __repr__(self) -> str:
        return f"<Lane {self._model_id} queued={len(self._queue)} flying={len(self._flying)}>"

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        return not self._queue and not self._flying

    def submit(
        self,
        spec: bytes,
        body: bytes,
        deadline: float,
        on_settled: Callable[[Pending, Outcome], None],
    ) -> Pending:
        """Queue a request; never settles it before it returns. Raises Overloaded."""
        if len(self._queue) >= self._limits.max_queue:
            raise Overloaded(
                f"{len(self._queue)} requests wait for this model already (MMS_MAX_QUEUE)",
                retry_after_s=max(1.0, self._ewma_s or 0.0),
            )
        pending = Pending(spec, body, deadline, on_settled)
        self._queue.append(pending)
        if not self._pump_due:
            self._start_hold_if_asked()
            self._pump_due = True  # so that all requests read in this turn leave together
            self._carrier.at_end_of_turn(self._pump)
        return pending

    def expire(self, now: float) -> None:
        """Fail what has passed its deadline, queued or in flight."""
        for pending in [*self._queue, *(p for batch in self._flying.values() for p in batch)]:
            if pending.deadline <= now and not pending.is_over:
                pending.settle(_too_late("in the model" if pending.sent else "in its queue"))
        if any(pending.is_over for pending in self._queue):  # or its client has gone
            self._queue = deque(p for p in self._queue if not p.is_over)

    def abandon(self) -> None:
        """The worker is gone: what is queued may run elsewhere."""
        while self._queue:
            self._queue.popleft().settle(WorkerGone())
        self._end_hold()

    # -- the batch rule -------------------------------------------------------------------------

    def _start_hold_if_asked(self) -> None:
        """With MMS_BATCH_DELAY an idle model waits too."""
        if self._limits.batch_delay_s > 0 and self.is_alone and self._hold is None:
            self._begin_hold(self._limits.max_batch, self._limits.batch_delay_s)

    @property
    def is_alone(self) -> bool:
        return len(self._queue) == 1 and not self._flying

    def _pump(self) -> None:
        self._pump_due = False
        while self._queue and self._may_send():
            batch = self._take()
            if batch:
                self._send(batch)

    def _may_send(self) -> bool:
        if len(self._flying) >= (2 if self._is_fast else 1):
            return False
        return len(self._queue) >= self._quorum

    @property
    def _is_fast(self) -> bool:
        return self._ewma_s is not None and self._ewma_s < FAST_S

    def _take(self) -> list[Pending]:
        batch: list[Pending] = []
        size = 0
        now = time.monotonic()
        while self._queue and len(batch) < self._limits.max_batch:
            pending = self._queue[0]
            size += len(pending.body)
            if batch and size > MAX_BATCH_BYTES:
                break
            self._queue.popleft()
            if pending.deadline <= now:
                pending.settle(_too_late("in its queue"))
            elif not pending.is_over:
                pending.sent = now
                batch.append(pending)
        return batch

    def _send(self, batch: list[Pending]) -> None:
        self._end_hold()
        number = self._next_batch
        self._next_batch += 1
        self._flying[number] = batch
        self._on_send()
        self._carrier.submit(
            self._model_id,
            [(p.spec, p.body) for p in batch],
            hang_limit_s=self._hang_limit_s(_size(batch)),
            on_done=lambda outcome: self._done(number, outcome),
        )

    def _hang_limit_s(self, size: int) -> float:
        """Ten times the usual, and more for a batch of more bytes than usual."""
        if self._ewma_s is None:
            return self._limits.request_timeout_s
        larger = max(1.0, size / max(1.0, self._ewma_bytes))
        wanted = max(HANG_MIN_S, HANG_FACTOR * self._ewma_s * larger)
        return min(wanted, self._limits.request_timeout_s)

    def _done(self, number: int, outcome: BatchOutcome) -> None:
        batch = self._flying.pop(number)
        self._on_land()
        if isinstance(outcome, BatchLost):
            _lose(batch, outcome)
        else:
            self._learn(batch, outcome)
            _answer(batch, outcome)
            if not self._is_fast:
                hold_s = max(HOLD_MIN_S, HOLD_SHARE * (self._ewma_s or 0.0))
                self._begin_hold(len(batch), hold_s)
        if self._queue:
            self._pump()

    def _learn(self, batch: list[Pending], outcome: BatchDone) -> None:
        seen, size = outcome.predict_s, _size(batch)
        self._on_batch(len(batch), outcome.rows, seen)
        if all(reply.code for reply in outcome.replies):
            return  # a refusal says nothing of the model's time
        if self._ewma_s is None:
            self._ewma_s, self._ewma_bytes = seen, size
        else:
            self._ewma_s += SMOOTHING * (seen - self._ewma_s)
            self._ewma_bytes += SMOOTHING * (size - self._ewma_bytes)

    def _begin_hold(self, quorum: int, hold_s: float) -> None:
        self._end_hold()
        if quorum > 1:
            self._quorum = min(quorum, self._limits.max_batch)
            self._hold = self._loop.call_later(hold_s, self._hold_over)

    def _hold_over(self) -> None:
        self._end_hold()
        self._pump()

    def _end_hold(self) -> None:
        self._quorum = 0
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None


def _size(batch: list[Pending]) -> int:
    return sum(len(pending.body) for pending in batch)


def _answer(batch: list[Pending], outcome: BatchDone) -> None:
    for pending, reply in zip(batch, outcome.replies, strict=True):
        pending.predict_s = outcome.predict_s
        if reply.code:
            pending.settle(from_code(reply.code, reply.body.decode(errors="replace")))
        else:
            pending.settle(reply)


def _lose(batch: list[Pending], outcome: BatchLost) -> None:
    for pending in batch:
        pending.settle(_loss(outcome))  # each has its own


def _too_late(where: str) -> ModelTimeout:
    return ModelTimeout(f"not answered within MMS_REQUEST_TIMEOUT: it was {where}")


def _loss(outcome: BatchLost) -> Exception:
    if not outcome.started:
        return WorkerGone(outcome.reason)
    if outcome.reason in {"hung", "timeout"}:
        return ModelTimeout("the model did not answer within its time and was stopped")
    return ModelError(
        "the process that ran the model died while it did (out of memory, or a crash)"
    )
