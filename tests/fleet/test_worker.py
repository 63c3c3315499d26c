"""A worker by its handle: loads, batches, and exactly one outcome for each, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from mms.errors import InsufficientStorage, ModelLoadError
from mms.fleet import wire
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome, LostReason, WorkerLost
from tests.fleet.world import Recorder, ask, done, lost, model, running, submit, until

BIG = 6_000_000


async def test_load_batch_unload(tmp_path: Path) -> None:
    """A model is there from its load to its unload, and answers in the order of the requests."""
    async with running() as fleet:
        [worker] = fleet.workers
        loaded = await worker.load(1, model(tmp_path, "ok Ada"), {"trusted": True})
        assert loaded.format == "tiny"
        assert loaded.bytes >= 1024
        assert loaded.signature == {"options": {"trusted": True}}
        result = await done(submit(worker, "name", "bad", "echo", body=b"x"))
        assert [tuple(reply) for reply in result.replies] == [
            ("", b"", b"Ada"),
            ("ValidationError", b"", b"row 1, column 2"),
            ("", b"x/echo", b"x"),
        ]
        assert result.rows == 3
        await worker.unload(1)
        [reply] = (await done(submit(worker, "name"))).replies
        assert reply.code == "ModelError"
        assert worker.inflight == 0


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("refuse no such format", ModelLoadError, "no such format"),
        ("raise", ModelLoadError, "ValueError: model is bad"),
        ("memory", InsufficientStorage, "out of memory while loading the model"),
        ("exit", ModelLoadError, "SystemExit: 3"),
    ],
)
async def test_a_load_that_fails_says_why(
    tmp_path: Path, what: str, error: type[Exception], message: str
) -> None:
    """In one line, without a path; and the worker goes on."""
    async with running() as fleet:
        [worker] = fleet.workers
        with pytest.raises(error) as caught:
            await worker.load(1, model(tmp_path, what), {})
        assert str(caught.value) == message
        assert not worker.loading
        await worker.load(1, model(tmp_path), {})
        assert await ask(worker, "echo") == ""


async def test_big_bodies_cross_beside_small_ones(tmp_path: Path) -> None:
    """Bytes arrive as they were sent; small answers needn't wait for a big one to end."""
    async with running() as fleet:
        [worker] = fleet.workers
        for model_id in (1, 2):
            await worker.load(model_id, model(tmp_path), {})
        bodies = [os.urandom(BIG) for _ in range(3)]
        bigs = [submit(worker, "echo", body=body) for body in bodies]
        small_first = 0
        while not bigs[-1].done():
            await ask(worker, "echo", model_id=2)
            small_first += 1
        for big, body in zip(bigs, bodies, strict=True):
            assert (await done(big)).replies[0].body == body
        assert small_first >= 2


async def test_batches_of_one_model_run_one_at_a_time_in_order(tmp_path: Path) -> None:
    """Models aren't made for more than one thread at a time."""
    order: list[int] = []
    async with running(threads=4) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        waiting = []
        for number in range(6):
            outcome = submit(worker, "sleep 0.01" if number % 2 else "echo")
            outcome.add_done_callback(lambda _, n=number: order.append(n))  # type: ignore[misc]
            waiting.append(outcome)
        await asyncio.gather(*map(done, waiting))
    assert order == list(range(6))


async def test_a_slow_model_does_not_hold_up_another(tmp_path: Path) -> None:
    async with running(threads=2) as fleet:
        [worker] = fleet.workers
        for model_id in (1, 2):
            await worker.load(model_id, model(tmp_path), {})
        slow = submit(worker, "sleep 30", model_id=1)
        assert await ask(worker, "echo", model_id=2) == ""
        assert not slow.done()
    assert (await lost(slow)).started


async def test_a_load_does_not_hold_up_batches(tmp_path: Path) -> None:
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        load = asyncio.create_task(worker.load(2, model(tmp_path, "sleep 30", "slow"), {}))
        await until(lambda: worker.loading)
        assert await ask(worker, "echo") == ""
    with pytest.raises(WorkerLost):
        await load


@pytest.mark.parametrize(("kill", "reason"), [(signal.SIGKILL, "oom"), (signal.SIGSEGV, "crashed")])
async def test_death_in_a_batch_tells_started_from_queued(
    tmp_path: Path, kill: int, reason: LostReason
) -> None:
    """Only what hadn't started may be tried elsewhere: a poison request kills one worker."""
    recorder = Recorder()
    async with running(recorder=recorder, threads=2) as fleet:
        [worker] = fleet.workers
        for model_id in (1, 2, 3):
            await worker.load(model_id, model(tmp_path), {})
        first = submit(worker, "sleep 60", model_id=1)
        second = submit(worker, "sleep 60", model_id=2)
        await until(lambda: len(worker._page.started()) == 2)
        queued = [submit(worker, "echo", "echo", model_id=m) for m in (1, 2, 3)]
        assert worker.inflight == 8
        os.kill(worker.pid, kill)
        for outcome in (first, second):
            assert await lost(outcome) == BatchLost(started=True, reason=reason)
        for outcome in queued:
            assert await lost(outcome) == BatchLost(started=False, reason=reason)
        assert worker.inflight == 0
        assert recorder.lost == {worker.id: reason}
        await until(lambda: len(fleet.workers) == 1)
        assert fleet.workers[0].id != worker.id


async def test_an_answer_sent_before_death_still_arrives(tmp_path: Path) -> None:
    """What was answered isn't lost, though the front hadn't read it when the worker died."""
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        answered = submit(worker, "echo", body=bytes(1000))
        poison = submit(worker, "exit 7")  # behind it, one at a time
        await asyncio.sleep(0)  # both leave
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is kept from reading until it is over
        assert (await done(answered)).replies[0].body == bytes(1000)
        assert (await lost(poison)).started


async def test_exit_inside_predict_is_a_crash(tmp_path: Path) -> None:
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        assert await lost(submit(worker, "exit 0")) == BatchLost(started=True, reason="crashed")


async def test_death_in_a_load_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    async with running() as fleet:
        [worker] = fleet.workers
        with pytest.raises(WorkerLost) as caught:
            await worker.load(1, model(tmp_path, "die"), {})
        assert caught.value.how == "crashed"
        assert caught.value.retry_after_s


async def test_a_stopped_worker_is_hung_killed_and_replaced(tmp_path: Path) -> None:
    """SIGSTOP: nothing says a word, and the heart is silent."""
    recorder = Recorder()
    async with running(recorder=recorder, silent_s=1.0, tick_s=0.1) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        os.kill(worker.pid, signal.SIGSTOP)
        outcome = submit(worker, "echo")
        assert await lost(outcome) == BatchLost(started=False, reason="hung")
        await until(lambda: len(fleet.workers) == 1)
        assert recorder.lost == {worker.id: "hung"}


async def test_a_batch_over_its_limit_costs_its_worker(tmp_path: Path) -> None:
    """It timed out; what ran beside it was killed; what waited hadn't started."""
    async with running(tick_s=0.05) as fleet:
        [worker] = fleet.workers
        for model_id in (1, 2):
            await worker.load(model_id, model(tmp_path), {})
        beside = submit(worker, "sleep 60", model_id=2)
        late = submit(worker, "sleep 60", limit_s=0.3)
        queued = submit(worker, "echo", limit_s=0.3)
        assert await lost(late) == BatchLost(started=True, reason="timeout")
        assert await lost(beside) == BatchLost(started=True, reason="killed")
        assert await lost(queued) == BatchLost(started=False, reason="timeout")


async def test_waiting_for_a_thread_is_not_hanging(tmp_path: Path) -> None:
    """The limit is on the run: a batch behind a slow one isn't blamed for it."""
    async with running(tick_s=0.05) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        slow = submit(worker, "sleep 0.6")
        behind = submit(worker, "echo", limit_s=0.2)
        await done(slow)
        await done(behind)


async def test_what_it_was_asked_lately_is_told_and_fades(tmp_path: Path) -> None:
    async with running(tick_s=0.02) as fleet:
        [worker] = fleet.workers
        assert worker.loads_pending == 0
        loads = [asyncio.create_task(worker.load(i, model(tmp_path), {})) for i in (1, 2)]
        await asyncio.sleep(0)
        assert worker.loads_pending == 2
        await asyncio.gather(*loads)
        assert worker.loads_pending == 0
        batches = [submit(worker, "echo") for _ in range(100)]
        await until(lambda: worker.lately > 20)
        await asyncio.gather(*map(done, batches))
        await until(lambda: worker.lately < 1)


async def test_a_load_over_its_limit_costs_its_worker(tmp_path: Path) -> None:
    async with running(tick_s=0.05) as fleet:
        [worker] = fleet.workers
        with pytest.raises(WorkerLost) as caught:
            await worker.load(1, model(tmp_path, "sleep 60"), {}, limit_s=0.2)
        assert caught.value.how == "timeout"


async def test_a_cancelled_load_leaves_no_model(tmp_path: Path) -> None:
    """Whenever it is cancelled, the model is gone once the load is over."""
    async with running() as fleet:
        [worker] = fleet.workers
        load = asyncio.create_task(worker.load(1, model(tmp_path, "sleep 0.2"), {}))
        await until(lambda: worker.loading)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        assert load.cancelled()
        assert worker.loading
        await until(lambda: not worker.loading)
        await worker.unload(99)  # behind the unload of the model
        [reply] = (await done(submit(worker, "echo"))).replies
        assert reply.code == "ModelError"


async def test_a_load_cancelled_in_the_turn_of_its_answer_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was there, but nobody to take it."""
    async with running() as fleet:
        [worker] = fleet.workers
        load = asyncio.create_task(worker.load(1, model(tmp_path), {}))
        answer = worker._pending.answer

        def cancel_too(message: wire.Message) -> int | None:
            asyncio.get_running_loop().call_soon(load.cancel)  # before the task gets to run
            return answer(message)

        monkeypatch.setattr(worker._pending, "answer", cancel_too)
        await asyncio.gather(load, return_exceptions=True)
        assert load.cancelled()
        await worker.unload(99)
        [reply] = (await done(submit(worker, "echo"))).replies
        assert reply.code == "ModelError"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("few", "ModelError"),
        ("type", "ModelError"),
        ("sysexit", "ModelError"),
        ("memory", "InsufficientStorage"),
        ("no-such-thing", "ModelError"),
    ],
)
async def test_a_model_that_misbehaves_costs_only_its_batch(
    tmp_path: Path, spec: str, code: str
) -> None:
    """Too few replies, no bytes, SystemExit, MemoryError, a bug: each request gets an answer."""
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        result = await done(submit(worker, spec, "echo"))
        assert [reply.code for reply in result.replies] == [code, code]
        assert await ask(worker, "echo") == ""


@pytest.mark.parametrize(("spec", "reason"), [("garbage", "protocol"), ("shut", "crashed")])
async def test_a_worker_that_breaks_the_channel_is_replaced(
    tmp_path: Path, spec: str, reason: LostReason
) -> None:
    """Garbage in the channel, or its end while the process lives: it isn't trusted any further."""
    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        assert await lost(submit(worker, spec)) == BatchLost(started=True, reason=reason)
        await until(lambda: len(fleet.workers) == 1)


async def test_work_for_a_dead_worker_is_lost_at_once(tmp_path: Path) -> None:
    """Never started, never raised, never called back before submit has returned."""
    async with running() as fleet:
        [worker] = fleet.workers
        worker.kill("retired")
        await until(lambda: not worker.alive)
        outcome = submit(worker, "echo")
        assert not outcome.done()
        assert not (await lost(outcome)).started
        await worker.unload(1)
        with pytest.raises(WorkerLost):
            await worker.load(1, model(tmp_path), {})


async def test_a_callback_that_fails_costs_nobody_else(tmp_path: Path) -> None:
    """An engine's bug in one batch is no end of the worker."""

    def bug(outcome: BatchOutcome) -> None:
        raise RuntimeError(type(outcome).__name__)

    async with running() as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path), {})
        worker.submit(1, [(b"echo", b"")], hang_limit_s=5, on_done=bug)
        assert await ask(worker, "echo") == ""
        assert worker.inflight == 0


async def test_unload_gives_memory_back(tmp_path: Path) -> None:
    """UNLOADED is said when the memory is the system's again, cycles or not."""
    size = 60_000_000
    async with running() as fleet:
        [worker] = fleet.workers
        for what in ("weigh", "cycle"):
            before = fleet.memory()[worker.pid]
            loaded = await worker.load(1, model(tmp_path, f"{what} {size}"), {})
            assert size <= loaded.bytes <= 1.2 * size
            assert fleet.memory()[worker.pid] - before >= size
            await worker.unload(1)
            assert fleet.memory()[worker.pid] - before < size / 4


async def test_answers_come_by_the_thousand(tmp_path: Path) -> None:
    """Every batch of a burst is answered once, quick ones run where they are read."""
    count = 3000
    counts: dict[type, int] = {}

    def tally(outcome: BatchOutcome) -> None:
        counts[type(outcome)] = counts.get(type(outcome), 0) + 1

    async with running(2) as fleet:
        for worker in fleet.workers:
            await worker.load(1, model(tmp_path), {})
        begun = time.monotonic()
        for number in range(count):
            worker = fleet.workers[number % 2]
            worker.submit(1, [(b"echo", b"x" * 300)], hang_limit_s=60, on_done=tally)
        await until(lambda: sum(counts.values()) == count)
        assert time.monotonic() - begun < 30
    assert counts == {BatchDone: count}
