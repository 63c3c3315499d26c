"""Batches: what runs together, and that nobody pays for a neighbour."""

from __future__ import annotations

import functools
import gzip
import json
import logging
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from loaders.allocation import at_most
from loaders.base import Batch, InputError, Outputs, Payload, Signature
from mms.media.headers import spec_for
from mms.worker.batching import run_batch
from mms.worker.replies import MAX_MESSAGE, Reply

JSON = spec_for(None, None, None, "")
PROBA = spec_for(None, None, b"method=predict_proba", "")
TRANSFORM = spec_for(None, None, b"method=transform", "")
TO_CSV = spec_for(None, b"text/csv", None, "")
FROM_CSV = spec_for(b"text/csv", None, None, "")
GZIP = spec_for(None, None, None, "", coding="gzip", max_body=6_000_000)


@functools.cache
def forest() -> RandomForestClassifier:
    data = load_iris()
    return RandomForestClassifier(n_estimators=5, random_state=0).fit(data.data, data.target)


class Forest:
    """A fitted scikit-learn model of four features; remembers the sizes of what it was given."""

    format = "test"
    methods: tuple[str, ...] = ("predict", "predict_proba")
    batchable = True
    signature = Signature()

    def __init__(self) -> None:
        self.ran: list[int] = []

    def prepare(self, payload: Payload) -> Batch:
        rows = [payload.rows] if payload.flat else payload.rows
        if any(len(row) != 4 for row in rows):
            raise InputError("row 0 has the wrong number of columns")
        table = np.array(rows, dtype=float if payload.form == "csv" else None)
        if table.dtype.kind not in "if":
            raise InputError("a cell is no number")
        return Batch(rows=len(rows), arrays={"": table})

    def run(self, method: str, batch: Batch) -> Outputs:
        self.ran.append(batch.rows)
        return self.answer(method, batch.arrays[""])

    def answer(self, method: str, table: Any) -> Outputs:
        if np.isnan(table).any():
            raise InputError("row 0, column 0 is NaN")
        return Outputs(arrays={"y": getattr(forest(), method)(table)})


class Acting(Forest):
    """The forest, but doing something of its own to tables whose first cell is negative."""

    def __init__(self, act: Callable[[Any], Any]) -> None:
        super().__init__()
        self.act = act

    def answer(self, method: str, table: Any) -> Outputs:
        if (table[:, 0] < 0).any():
            done = self.act(table)
            return done if isinstance(done, Outputs) else Outputs(arrays={"y": done})
        return super().answer(method, table)


def body(*rows: object) -> bytes:
    return json.dumps({"instances": rows}).encode()


GOOD = [5.1, 3.5, 1.4, 0.2]
OTHER = [6.2, 2.9, 4.3, 1.3]
BAD = [-1.0, 0.0, 0.0, 0.0]


def run(model: Forest, *requests: tuple[bytes, bytes], max_rows: int = 1024) -> list[Reply]:
    return run_batch(model, requests, max_rows=max_rows).replies


def said(reply: Reply) -> tuple[str, str]:
    return reply.code, reply.body.decode()


def raiser(error: BaseException) -> Callable[[Any], Any]:
    def act(_table: Any) -> Any:
        raise error

    return act


def test_requests_run_together_and_are_answered_in_order() -> None:
    model = Forest()
    result = run_batch(
        model,
        [(JSON, body(GOOD)), (TO_CSV, body(OTHER, GOOD)), (FROM_CSV, b"6.2,2.9,4.3,1.3")],
        max_rows=1024,
    )
    assert result.replies == [
        Reply("", b"application/json", b'{"predictions":[0]}'),
        Reply("", b"text/csv; charset=utf-8", b"1\n0\n"),
        Reply("", b"application/json", b'{"predictions":[1]}'),
    ]
    assert model.ran == [4]
    assert result.rows == 4
    assert result.predict_s > 0


def test_no_requests_are_no_replies() -> None:
    assert run_batch(Forest(), [], max_rows=8) == ([], 0, 0.0)


def test_methods_and_dtypes_never_share_a_batch() -> None:
    """An int64 request joined to a float one would be changed by its neighbour."""
    model = Forest()
    requests = [(JSON, body(GOOD)), (JSON, body([5, 3, 1, 0])), (PROBA, body(GOOD))] * 2
    replies = run(model, *requests)
    assert model.ran == [2, 2, 2]
    assert replies[:3] == replies[3:]
    assert json.loads(replies[2].body) == {"predictions": forest().predict_proba([GOOD]).tolist()}


def test_a_batch_holds_at_most_max_rows_and_a_larger_request_runs_alone() -> None:
    model = Forest()
    requests = [(JSON, body(*[GOOD] * n)) for n in (2, 2, 2, 9, 1, 3)]
    replies = run(model, *requests, max_rows=4)
    assert model.ran == [4, 2, 9, 4]
    assert [len(json.loads(r.body)["predictions"]) for r in replies] == [2, 2, 2, 9, 1, 3]


def test_a_model_that_cannot_be_batched_gets_each_request_alone() -> None:
    model = Forest()
    model.batchable = False
    run(model, *[(JSON, body(GOOD))] * 3)
    assert model.ran == [1, 1, 1]


@pytest.mark.parametrize(
    ("spec", "sent", "message"),
    [
        (JSON, b"", "the body is empty: send at least one row"),
        (JSON, b"[[1, 2]", "the body is not JSON: Expecting ',' delimiter at line 1, column 8"),
        (JSON, body([1, 2]), "row 0 has the wrong number of columns"),
        (JSON, body(["a", 1, 2, 3]), "a cell is no number"),
        (JSON, b"[NaN, 1, 2, 3]", "row 0, column 0 is NaN"),
        (FROM_CSV, b'"1,2', "the quote that opens a cell on line 1 of the body is never closed"),
        (
            TRANSFORM,
            body(GOOD),
            "this model has no method transform: it has predict, predict_proba",
        ),
    ],
)
def test_a_bad_request_gets_its_own_answer(spec: bytes, sent: bytes, message: str) -> None:
    model = Forest()
    before, bad, after = run(model, (JSON, body(GOOD)), (spec, sent), (JSON, body(OTHER)))
    assert said(bad) == ("ValidationError", message)
    assert said(before) == ("", '{"predictions":[0]}')
    assert said(after) == ("", '{"predictions":[1]}')


def test_a_request_of_no_rows_never_reaches_the_model() -> None:
    class Empty(Forest):
        def prepare(self, payload: Payload) -> Batch:
            return Batch(rows=0, arrays={"": np.empty((0, 4))})

    model = Empty()
    assert said(run(model, (JSON, body(GOOD)))[0])[0] == "ValidationError"
    assert model.ran == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (InputError("column a: 'x' is unknown"), ("ValidationError", "column a: 'x' is unknown")),
        (MemoryError(), ("InsufficientStorage", "not enough memory to answer this request")),
        (ValueError("first\nsecond"), ("ModelError", "ValueError: first")),
        (KeyError("a"), ("ModelError", "KeyError: 'a'")),
        (RuntimeError(), ("ModelError", "RuntimeError")),
        (SystemExit(3), ("ModelError", "SystemExit: 3")),
        (KeyboardInterrupt(), ("ModelError", "KeyboardInterrupt")),
        (GeneratorExit(), ("ModelError", "GeneratorExit")),
        (RecursionError("deep"), ("ModelError", "RecursionError: deep")),
        (StopIteration("x"), ("ModelError", "StopIteration: x")),
        (FileNotFoundError(2, "No such file", "/var/cache dir/mms/ab/m.bin"),
         ("ModelError", "FileNotFoundError: [Errno 2] No such file: '.../m.bin'")),
        (OSError("at /tmp/mms/x/y.bin, http://h/a/b and 1/2"),
         ("ModelError", "OSError: at .../y.bin, http://h/a/b and 1/2")),
        (ValueError("\ud800"), ("ModelError", "ValueError: ?")),
    ],
)  # fmt: skip
def test_a_failing_model_is_an_answer_and_neighbours_do_not_notice(
    error: BaseException, answer: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    # A lone surrogate in a captured log line can't be sent between pytest's processes.
    caplog.set_level(logging.CRITICAL + 1, "mms.worker")
    model = Acting(raiser(error))
    before, bad, after = run(model, (JSON, body(GOOD)), (JSON, body(BAD)), (JSON, body(OTHER)))
    assert said(bad) == answer
    assert said(before) == ("", '{"predictions":[0]}')
    assert said(after) == ("", '{"predictions":[1]}')
    assert model.ran == [3, 1, 1, 1]


def test_an_error_that_cannot_be_shown_is_still_an_answer() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    assert said(run(Acting(raiser(Mute())), (JSON, body(BAD)))[0]) == ("ModelError", "Mute")
    long = run(Acting(raiser(ValueError("x" * 10**6))), (JSON, body(BAD)))[0]
    assert len(long.body) == MAX_MESSAGE


def test_a_failure_is_logged_once_with_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """But never its text, which may quote a body; bad input is the caller's affair, not logged."""
    with caplog.at_level(logging.INFO, logger="mms.worker"):
        run(Acting(raiser(ZeroDivisionError("in 'a cell'"))), (JSON, body(BAD)), (JSON, body(GOOD)))
        run(Acting(raiser(InputError("no"))), (JSON, body(BAD)), (JSON, b""))
    (record,) = caplog.records
    fields = vars(record)
    assert fields["error"] == "ZeroDivisionError"
    assert re.match(r"act \(test_batching\.py:\d+\) < answer ", fields["where"])
    assert "a cell" not in repr(fields)


@pytest.mark.parametrize(
    ("given_back", "message"),
    [
        (np.zeros(3), "the model gave 3 for 1 rows in its output 'y'"),
        (np.array(1.0), "the model gave one value without rows for 1 rows in its output 'y'"),
        (Outputs(arrays={}), "the model gave no output"),
        (np.array([object()]),
         "TypeError: the model answered with a object, which can't be written"),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_its_rows_is_a_model_error(
    given_back: Any, message: str
) -> None:
    replies = run(Acting(lambda _: given_back), (JSON, body(GOOD)), (JSON, body(BAD)))
    assert [r.code for r in replies] == ["", "ModelError"]
    assert said(replies[1])[1] == message


def test_an_answer_that_is_not_by_row_is_given_to_one_request_only() -> None:
    model = Acting(lambda table: Outputs(arrays={"y": np.array([len(table)] * 5)}, batched=False))
    replies = run(model, (JSON, body(BAD)), (JSON, body(BAD, BAD)))
    assert model.ran == [3, 1, 2]
    assert [json.loads(r.body)["predictions"] for r in replies] == [[1] * 5, [2] * 5]


def test_an_answer_that_one_client_cannot_be_given_costs_only_that_client() -> None:
    """Outputs of different lengths are no CSV table, but fine as JSON."""
    model = Acting(
        lambda _: Outputs(arrays={"a": np.zeros(2), "b": np.zeros(3)}, single=False, batched=False)
    )
    model.batchable = False
    as_csv, as_json = run(model, (TO_CSV, body(BAD)), (JSON, body(BAD)))
    assert as_csv.code == "NotAcceptable"
    assert said(as_json) == ("", '{"predictions":{"a":[0.0,0.0],"b":[0.0,0.0,0.0]}}')


@pytest.mark.parametrize(
    "given_back",
    [
        sparse.csr_array([[1.0, 0.0], [2.0, 0.0]]),
        np.array([[1.0, 0.0], [2.0, 0.0]]),
        [[1.0, 0.0], [2.0, 0.0]],
    ],
)
def test_outputs_may_be_sparse_or_lists(given_back: Any) -> None:
    """Also where a batch of several has to be split."""
    replies = run(Acting(lambda _: given_back), (JSON, body(BAD)), (JSON, body(BAD)))
    answers = [json.loads(r.body)["predictions"] for r in replies]
    assert answers == [[[1.0, 0.0]], [[2.0, 0.0]]]


def test_ragged_outputs_keep_one_entry_per_row() -> None:
    replies = run(Acting(lambda _: [[1], [2, 3]]), (JSON, body(BAD)), (JSON, body(BAD)))
    assert [said(r)[1] for r in replies] == ['{"predictions":[[1]]}', '{"predictions":[[2,3]]}']


def test_warnings_of_models_are_neither_errors_nor_noise() -> None:
    """Even where the process says that warnings are errors, as this test suite does."""

    def act(table: Any) -> Any:
        warnings.warn("deprecated", FutureWarning, stacklevel=1)
        return np.log(table[:, 1] * 0.0 - 1.0)  # RuntimeWarning: invalid value

    warnings.simplefilter("error")
    reply = run(Acting(act), (JSON, body(BAD)))[0]
    assert said(reply) == ("", '{"predictions":[NaN]}')
    warnings.filterwarnings("default", module="somebody")  # as a framework's import does
    run(Acting(act), (JSON, body(BAD)))
    assert len(warnings.filters) == 1  # scikit-learn copies each of them for every tree


def test_a_spec_that_is_none_is_an_answer_too() -> None:
    replies = run(Forest(), (b"\xff", body(GOOD)), (JSON, body(GOOD)))
    assert [r.code for r in replies] == ["ModelError", ""]


CELL = st.sampled_from([5.1, 0.25, 3.0, 1e308])
GOOD_BODY = st.lists(st.lists(CELL, min_size=4, max_size=4), min_size=1, max_size=3).map(
    lambda rows: body(*rows)
)
ANY_BODY = st.sampled_from(
    [b"", b"{", b"[[1]]", body(BAD), body([5, 3, 1, 0]), b"[NaN,1,2,3]", b"\xff", b"1.5,2,3,4"]
)
REQUESTS = st.lists(
    st.tuples(st.sampled_from([JSON, PROBA, TO_CSV, FROM_CSV, TRANSFORM]), GOOD_BODY | ANY_BODY),
    max_size=8,
)


@given(REQUESTS, st.integers(1, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_request_gets_the_answer_it_gets_alone(
    requests: list[tuple[bytes, bytes]], max_rows: int, batchable: bool
) -> None:
    logging.getLogger("mms.worker").disabled = True
    model = Acting(raiser(OSError("poison")))
    model.batchable = batchable
    try:
        together = run(model, *requests, max_rows=max_rows)
        alone = [run(model, request)[0] for request in requests]
    finally:
        logging.getLogger("mms.worker").disabled = False
    assert together == alone


def test_gzip_is_inflated_and_runs_with_the_rest() -> None:
    """A spec says so; a body that is none, or too large, costs its request only."""
    model = Forest()
    packed = gzip.compress(body(GOOD))
    large = gzip.compress(b" " * 6_000_000 + body(GOOD))
    replies = run(model, (GZIP, packed), (JSON, body(OTHER)), (GZIP, body(GOOD)), (GZIP, large))
    assert [reply.code for reply in replies] == ["", "", "ValidationError", "PayloadTooLarge"]
    assert replies[0].body == b'{"predictions":[0]}'
    assert "MMS_MAX_BODY" in said(replies[3])[1]
    assert model.ran == [2]


def test_what_a_batch_unpacks_is_bounded() -> None:
    """Requests that would be too much together run one after the other; small ones don't."""
    model = Forest()
    large = gzip.compress(b" " * 5_900_000 + body(GOOD))
    replies = run(model, *[(GZIP, large)] * 12, (JSON, body(OTHER)))
    assert [reply.code for reply in replies] == [""] * 13
    assert model.ran == [11, 2]
    model = Forest()
    run(model, *[(GZIP, gzip.compress(body(GOOD)))] * 64)
    assert model.ran == [64]


class Large(Forest):
    """Takes much memory for a moment; the first time it is asked, while a load is under way."""

    def __init__(self, load: Callable[[], None]) -> None:
        super().__init__()
        self.load = load

    def run(self, method: str, batch: Batch) -> Outputs:
        self.load()
        np.empty(1 << 30, np.uint8)
        return super().run(method, batch)


def test_a_load_beside_it_takes_no_memory_away_from_a_request() -> None:
    """A load has a bound on what the whole process may allocate: a request asks again without."""
    began, ends = threading.Event(), threading.Event()

    def load() -> None:
        with at_most(64 << 20):
            began.set()
            ends.wait()

    thread = threading.Thread(target=load)

    def begin() -> None:
        if not began.is_set():
            thread.start()
            began.wait()

    model = Large(begin)
    result = run_batch(model, [(JSON, body([1, 2, 3, 4])), (JSON, b"no")], max_rows=100)
    assert thread.is_alive()
    ends.set()
    thread.join()
    assert [reply.code for reply in result.replies] == ["", "ValidationError"]


def test_a_request_that_is_too_large_by_itself_is_asked_once() -> None:
    asked = []

    def exhausted() -> None:
        asked.append(1)
        raise MemoryError

    result = run_batch(Large(exhausted), [(JSON, body([1, 2, 3, 4]))], max_rows=100)
    assert [reply.code for reply in result.replies] == ["InsufficientStorage"]
    assert len(asked) == 1
