"""The batch rule, step by step, with a carrier that answers when it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from mms.engine.lane import Lane, LaneLimits, Outcome, Pending, WorkerGone
from mms.errors import ModelError, ModelTimeout, Overloaded, ValidationError
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome
from mms.fleet.payloads import Reply

FAR = 1e12


class SlowCarrier:
    """A worker that keeps every batch until ``answer`` is called: the fake of the fleet's seam."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], Callable[[BatchOutcome], None]]] = []
        self.hang_limits: list[float] = []

    def at_end_of_turn(self, call: Callable[[], None], /) -> None:
        asyncio.get_running_loop().call_soon(call)

    def submit(
        self,
        model_id: int,
        requests: Sequence[tuple[bytes, bytes]],
        *,
        hang_limit_s: float,
        on_done: Callable[[BatchOutcome], None],
    ) -> None:
        self.batches.append(([body for _, body in requests], on_done))
        self.hang_limits.append(hang_limit_s)

    def answer(self, predict_s: float, *, code: str = "") -> list[bytes]:
        bodies, on_done = self.batches.pop(0)
        replies = [Reply(code, b"text/plain", body) for body in bodies]
        on_done(BatchDone(replies=replies, rows=len(bodies), predict_s=predict_s))
        return bodies

    def lose(self, outcome: BatchLost) -> None:
        self.batches.pop(0)[1](outcome)


@pytest.fixture
def carrier() -> SlowCarrier:
    return SlowCarrier()


def lane_of(carrier: SlowCarrier, **limits: float) -> Lane:
    chosen = {"max_queue": 100, "max_batch": 8, "batch_delay_s": 0.0, "request_timeout_s": 55.0}
    chosen.update(limits)
    return Lane(
        7,
        carrier,
        LaneLimits(
            max_queue=int(chosen["max_queue"]),
            max_batch=int(chosen["max_batch"]),
            batch_delay_s=chosen["batch_delay_s"],
            request_timeout_s=chosen["request_timeout_s"],
        ),
        on_batch=lambda _size, _rows, _seconds: None,
    )


async def turn() -> None:
    """Let what is due on the loop happen."""
    for _ in range(3):
        await asyncio.sleep(0)


class Asked:
    """A request in a lane; awaiting it gives its reply or raises its error."""

    def __init__(self, lane: Lane, body: bytes, deadline: float = FAR) -> None:
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending = lane.submit(b"", body, deadline, self._settled)

    def _settled(self, _pending: Pending, outcome: Outcome) -> None:
        if isinstance(outcome, Reply):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def cancel(self) -> None:
        self._pending.drop()

    def done(self) -> bool:
        return self.future.done()

    def __await__(self) -> Generator[Any, None, Reply]:
        return self.future.__await__()


def put(lane: Lane, *bodies: bytes) -> list[Asked]:
    return [Asked(lane, body) for body in bodies]


async def test_an_idle_model_never_waits(carrier: SlowCarrier) -> None:
    """A lone request leaves in the next turn of the loop."""
    lane = lane_of(carrier)
    (future,) = put(lane, b"a")
    await turn()
    assert carrier.answer(0.01) == [b"a"]
    assert (await future).body == b"a"
    assert lane.is_idle


async def test_what_was_given_up_takes_no_place_in_the_queue(carrier: SlowCarrier) -> None:
    """Nor does its body stay in memory for as long as the batch before it runs."""
    lane = lane_of(carrier, max_queue=2)
    put(lane, b"a")
    await turn()
    for future in put(lane, b"b", b"c"):
        future.cancel()
    lane.expire(0.0)
    assert lane.queued == 0
    (future,) = put(lane, b"d")
    carrier.answer(0.1)
    await turn()
    carrier.answer(0.1)
    assert (await future).body == b"d"


async def test_requests_of_one_turn_leave_together(carrier: SlowCarrier) -> None:
    """What was read from the sockets at once is one batch, as far as it may be."""
    lane = lane_of(carrier, max_batch=3)
    put(lane, b"a", b"b", b"c", b"d")
    await turn()
    assert carrier.answer(0.01) == [b"a", b"b", b"c"]


async def test_a_slow_model_has_one_batch_in_flight(carrier: SlowCarrier) -> None:
    """What comes meanwhile waits, and leaves as one batch."""
    lane = lane_of(carrier)
    put(lane, b"a")
    await turn()
    carrier.answer(0.1)
    put(lane, b"b")
    await turn()
    put(lane, b"c")
    await turn()
    put(lane, b"d")
    await turn()
    assert len(carrier.batches) == 1
    carrier.answer(0.1)
    assert carrier.answer(0.1) == [b"c", b"d"]


async def test_a_fast_model_has_two_batches_in_flight(carrier: SlowCarrier) -> None:
    """The worker always has the next one at hand."""
    lane = lane_of(carrier)
    put(lane, b"a")
    await turn()
    carrier.answer(0.0001)
    for body in (b"b", b"c", b"d"):
        put(lane, body)
        await turn()
    assert [bodies for bodies, _ in carrier.batches] == [[b"b"], [b"c"]]


async def test_after_a_batch_as_many_are_awaited_as_were_answered(carrier: SlowCarrier) -> None:
    """Closed-loop clients answered together come back together, and stay one cohort."""
    lane = lane_of(carrier)
    put(lane, b"a", b"b", b"c")
    await turn()
    carrier.answer(10.0)  # a hold of one second
    put(lane, b"a")
    await turn()
    put(lane, b"b")
    await turn()
    assert carrier.batches == []
    put(lane, b"c")
    await turn()
    assert carrier.answer(10.0) == [b"a", b"b", b"c"]


async def test_the_hold_ends_by_itself(carrier: SlowCarrier) -> None:
    """Clients that don't come back hold nobody up for longer than a tenth of a predict."""
    lane = lane_of(carrier)
    put(lane, b"a", b"b")
    await turn()
    carrier.answer(0.05)
    put(lane, b"c")
    await turn()
    assert carrier.batches == []
    async with asyncio.timeout(5):
        while not carrier.batches:  # noqa: ASYNC110 - it is the loop's timer that is awaited
            await asyncio.sleep(0.001)
    assert carrier.answer(0.05) == [b"c"]


async def test_who_has_gone_is_dropped_before_the_worker_sees_it(carrier: SlowCarrier) -> None:
    """A cancelled request costs no predict."""
    lane = lane_of(carrier)
    first, second = put(lane, b"a", b"b")
    first.cancel()
    await turn()
    assert carrier.answer(0.01) == [b"b"]
    assert (await second).body == b"b"


async def test_a_passed_deadline_is_dropped_in_the_queue_and_failed_in_flight(
    carrier: SlowCarrier,
) -> None:
    """504 at the deadline, wherever the request is; a late answer goes nowhere."""
    lane = lane_of(carrier)
    now = time.monotonic()
    late = Asked(lane, b"late", now - 1)
    flying = Asked(lane, b"flying", now + 60)
    await turn()
    with pytest.raises(ModelTimeout, match="queue"):
        await late
    lane.expire(now + 61)
    with pytest.raises(ModelTimeout, match="in the model"):
        await flying
    assert carrier.answer(0.01) == [b"flying"]
    assert lane.is_idle


async def test_a_full_queue_refuses(carrier: SlowCarrier) -> None:
    """Beyond MMS_MAX_QUEUE a request is told so at once."""
    lane = lane_of(carrier, max_queue=2)
    put(lane, b"a", b"b")
    with pytest.raises(Overloaded, match="MMS_MAX_QUEUE"):
        put(lane, b"c")


async def test_replies_with_a_code_become_that_error(carrier: SlowCarrier) -> None:
    """A worker's error keeps its kind and its message."""
    lane = lane_of(carrier)
    (future,) = put(lane, b"row 3: not a number")
    await turn()
    carrier.answer(0.01, code="ValidationError")
    with pytest.raises(ValidationError, match="row 3"):
        await future


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (BatchLost(started=False, reason="crashed"), WorkerGone),
        (BatchLost(started=True, reason="crashed"), ModelError),
        (BatchLost(started=True, reason="hung"), ModelTimeout),
        (BatchLost(started=True, reason="timeout"), ModelTimeout),
    ],
)
async def test_a_lost_batch_says_whether_it_may_run_again(
    carrier: SlowCarrier, outcome: BatchLost, expected: type[Exception]
) -> None:
    """Only what had not started is tried elsewhere: a poison request kills one worker at most."""
    lane = lane_of(carrier)
    (future,) = put(lane, b"a")
    await turn()
    carrier.lose(outcome)
    with pytest.raises(expected):
        await future


async def test_abandoning_moves_the_queue_but_not_what_flies(carrier: SlowCarrier) -> None:
    """What the dead worker had is told by its own outcome."""
    lane = lane_of(carrier)
    (flying,) = put(lane, b"a")
    await turn()
    (queued,) = put(lane, b"b")
    lane.abandon()
    with pytest.raises(WorkerGone):
        await queued
    assert not flying.done()
    carrier.lose(BatchLost(started=True, reason="crashed"))
    with pytest.raises(ModelError):
        await flying


async def test_the_hang_limit_follows_the_model(carrier: SlowCarrier) -> None:
    """Ten times its usual predict, at least five seconds, at most the request timeout."""
    lane = lane_of(carrier, request_timeout_s=55.0)
    for predict_s in (1.0, 1.0):
        put(lane, b"a")
        await turn()
        carrier.answer(predict_s)
    put(lane, b"a")
    await turn()
    assert carrier.hang_limits == [55.0, 10.0, 10.0]


async def test_the_hang_limit_grows_with_the_body(carrier: SlowCarrier) -> None:
    """A large request to a model that is used to small ones is no hang."""
    lane = lane_of(carrier)
    put(lane, b"a" * 10)
    await turn()
    carrier.answer(0.5)
    put(lane, b"a" * 60)
    await turn()
    assert carrier.hang_limits == [55.0, 30.0]


async def test_refusals_do_not_shorten_the_hang_limit(carrier: SlowCarrier) -> None:
    """Bad input is refused in no time, which must not make the next good request a hang."""
    lane = lane_of(carrier)
    for code in ("", "ValidationError", "ValidationError"):
        futures = put(lane, b"a")
        await turn()
        carrier.answer(0.0 if code else 2.0, code=code)
        await asyncio.wait([asked.future for asked in futures])
        for asked in futures:
            asked.future.exception()
    put(lane, b"a")
    await turn()
    assert carrier.hang_limits[1:] == [20.0, 20.0, 20.0]


async def test_a_big_body_does_not_drag_others_into_its_batch(carrier: SlowCarrier) -> None:
    """Batches are bounded in bytes too."""
    lane = lane_of(carrier)
    big = b"x" * (5 << 20)
    put(lane, big, big, b"small")
    await turn()
    assert carrier.answer(0.01) == [big]


async def test_a_batch_delay_waits_only_when_asked_for(carrier: SlowCarrier) -> None:
    """MMS_BATCH_DELAY lets an idle model wait for company; a full batch ends the wait."""
    lane = lane_of(carrier, batch_delay_s=30.0, max_batch=2)
    put(lane, b"a")
    await turn()
    assert carrier.batches == []
    put(lane, b"b")
    await turn()
    assert carrier.answer(0.01) == [b"a", b"b"]
