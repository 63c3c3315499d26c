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

    def submit(self, number: int, requests: Sequence[tuple[bytes, bytes]] = OK) -> None:
        self.executor.submit(number, b"".join(payloads.encode_batch(1, requests)))


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
