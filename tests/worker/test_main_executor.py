"""What the executor says of itself to who measures the heap."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from mms.fleet import payloads
from mms.fleet.outcome import BatchDone
from mms.fleet.page import StatusPage
from mms.fleet.payloads import Reply
from mms.media import NPZ, Spec, encode_spec
from mms.worker.executor import Executor
from mms.worker.outbox import Outbox

OK = [(b"", b"")]


class Answers:
    """The outbox: who waits for an answer is let go when it is posted."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)

    def post(self, kind: int, ident: int, parts: Sequence[bytes] = ()) -> None:
        self.came.release()


class Stage:
    """An executor whose model runs until it is told."""

    def __init__(self, page: StatusPage) -> None:
        self.running, self.go = threading.Event(), threading.Event()
        self.answers = Answers()
        self.threads: list[str] = []  # that ran a batch, in order
        self.executor = Executor(
            self._run,
            page,
            cast("Outbox", self.answers),
            threads=1,
            max_rows=10,
        )

    def _run(self, model: Any, requests: Sequence[tuple[bytes, bytes]], /, *, max_rows: int) -> Any:
        self.threads.append(threading.current_thread().name)
        self.ran_by = threading.current_thread()
        self.running.set()
        assert self.go.wait(20)
        return BatchDone([Reply("", b"", b"")] * len(requests), len(requests), 0.0)

    def submit(
        self, number: int, requests: Sequence[tuple[bytes, bytes]] = OK, *, model_id: int = 1
    ) -> None:
        self.executor.submit(number, b"".join(payloads.encode_batch(model_id, requests)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    page, descriptor = StatusPage.create()
    os.close(descriptor)
    made = Stage(page)
    yield made
    made.go.set()
    page.close()


def test_it_says_whether_anything_ran_between_two_looks(stage: Stage) -> None:
    """None during a batch, and another number after it: nothing is missed in between."""
    stage.executor.add(1, object())

    def look() -> int | None:
        return stage.executor.idle_since

    before = look()
    assert before is not None
    assert look() == before
    stage.submit(1)
    assert stage.running.wait(20)
    assert look() is None
    stage.go.set()
    assert stage.answers.came.acquire(timeout=20)
    assert look() not in {before, None}


@pytest.mark.parametrize(
    ("spec", "is_inline"),
    [
        (Spec(), True),
        (Spec(content_type=NPZ), False),
        (Spec(coding="gzip"), False),
        (Spec(coding="gzip", max_body=1000), True),
    ],
)
def test_what_may_unpack_to_much_never_keeps_the_socket_waiting(
    stage: Stage, spec: Spec, is_inline: bool
) -> None:
    """A quick model's batch is run by the thread that reads it, unless it may get large."""
    stage.go.set()
    stage.executor.add(1, object())
    stage.executor._lines[1].run_s = 0
    stage.submit(1, [(encode_spec(spec), b"x" * 500)])
    assert stage.answers.came.acquire(timeout=20)
    assert (stage.ran_by is threading.current_thread()) == is_inline


@pytest.mark.parametrize(("size", "is_inline"), [(50, True), (400, True), (40_000, False)])
def test_a_batch_far_larger_than_usual_keeps_nobody_waiting(
    stage: Stage, size: int, is_inline: bool
) -> None:
    """However quick the model usually is: its time grows with what it is given."""
    stage.go.set()
    stage.executor.add(1, object())
    line = stage.executor._lines[1]
    line.run_s, line.run_bytes = 0.0005, 100.0
    stage.submit(1, [(b"", b"x" * size)])
    assert stage.answers.came.acquire(timeout=20)
    assert (stage.ran_by is threading.current_thread()) == is_inline


def test_what_is_usual_is_learnt(stage: Stage) -> None:
    """A batch of a size that has shown to be quick stays quick."""
    stage.executor.add(1, object())
    line = stage.executor._lines[1]
    for _ in range(100):
        line.learn(0.0005, 40_000)
    assert line.is_quick(40_000)
    assert not line.is_quick(1 << 20)


def test_a_removed_model_is_let_go_at_once(stage: Stage) -> None:
    """Though the thread that ran its last batch may still hold its line."""

    class Model:
        pass

    model = Model()
    gone = weakref.ref(model)
    stage.executor.add(1, model)
    line = stage.executor._lines[1]
    del model
    stage.executor.remove(1)
    assert (line.model, gone()) == (None, None)


@pytest.mark.parametrize("is_script", [False, True])
def test_a_quick_model_is_run_at_once_but_never_a_script(stage: Stage, is_script: bool) -> None:
    """A script may wait for anything at any time; the thread that reads the socket may not."""

    class Model:
        pass

    model = Model()
    if is_script:
        vars(model)["answer_raw"] = None
    stage.go.set()
    stage.executor.add(1, model)
    for number in range(100):
        stage.executor._lines[1].run_s = 0.0  # it has shown to be quick
        stage.submit(number)
        assert stage.answers.came.acquire(timeout=20)
    here = threading.current_thread().name
    assert (here in stage.threads) is not is_script


class Lingering:
    """A model that takes its time to go."""

    def __init__(self) -> None:
        self.goes, self.may_go, self.is_gone = (threading.Event() for _ in range(3))
        self.events = self.goes, self.may_go, self.is_gone

    def __del__(self) -> None:
        self.goes.set()
        self.may_go.wait(2)
        self.is_gone.set()


def test_a_model_that_goes_slowly_keeps_nobody_waiting(stage: Stage) -> None:
    """Large ones are taken apart for long, and a script's may wait for something."""
    model = Lingering()
    goes, may_go, is_gone = model.events
    stage.executor.add(1, model)
    stage.executor.add(2, object())
    stage.go.set()
    del model
    thread = threading.Thread(target=stage.executor.remove, args=(1,))
    thread.start()
    assert goes.wait(20)
    stage.submit(1, model_id=2)
    assert stage.answers.came.acquire(timeout=20)
    assert not is_gone.is_set()
    may_go.set()
    thread.join()
    assert is_gone.is_set()
