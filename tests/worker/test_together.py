"""The quick way through a batch answers as the thorough one does, whatever is in the batch."""

from __future__ import annotations

import functools
import logging
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from loaders.base import Batch, LoadOptions, Outputs
from loaders.sklearn.estimator import EstimatorModel
from mms.media.headers import spec_for
from mms.worker.batching import run_batch
from mms.worker.replies import Reply
from mms.worker.together import MAX_BYTES, run_together

JSON = spec_for(None, None, None, "")
PROBA = spec_for(None, None, b"method=predict_proba", "")
FROM_CSV = spec_for(b"text/csv", None, None, "")
TO_CSV = spec_for(None, b"text/csv", None, "")
GOOD = b'{"instances": [[0.25, 1.5]]}'
REQUESTS = (
    (JSON, GOOD),
    (JSON, b'{"instances": [[1, 2], [3.5, -1]]}'),
    (JSON, b'{"instances": [[1, 2]]}'),
    (JSON, b"[[0.25, 1.5]]"),
    (JSON, b'{"inputs": [[0.25, 1.5]]}'),
    (JSON, b'\xef\xbb\xbf{"instances": [[0.25, 1.5]]}'),
    (JSON, b'{"instances": [[0.25, 1.5]], "parameters": {}}'),
    (JSON, b'{"instances": [[0.25]]}'),
    (JSON, b'{"instances": [[0.25, Infinity]]}'),
    (JSON, b'{"instances": [[0.25, "a"]]}'),
    (JSON, b'{"instances": [{"features": [0.25, 1.5]}]}'),
    (JSON, b'{"instances": []}'),
    (JSON, b'{"instances": [0.25, 1.5]}'),
    (JSON, b'{"instances"'),
    (JSON, b"\xff"),
    (PROBA, GOOD),
    (FROM_CSV, b"0.25,1.5"),
    (TO_CSV, GOOD),
)


@functools.cache
def forest() -> EstimatorModel:
    x = np.random.default_rng(0).normal(size=(60, 2))
    fitted = RandomForestClassifier(n_estimators=7, random_state=0).fit(x, x[:, 0] > 0)
    return EstimatorModel(fitted, LoadOptions())


@functools.cache
def alone(request: tuple[bytes, bytes]) -> Reply:
    (reply,) = run_batch(forest(), [request], max_rows=1024).replies
    return reply


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=8), st.sampled_from([1, 2, 1024]))
def test_each_is_answered_as_if_it_were_alone(
    requests: list[tuple[bytes, bytes]], max_rows: int
) -> None:
    result = run_batch(forest(), requests, max_rows=max_rows)
    assert result.replies == [alone(request) for request in requests]


@given(st.lists(st.sampled_from(REQUESTS[:2]), min_size=1, max_size=8))
def test_plain_requests_take_the_quick_way(requests: list[tuple[bytes, bytes]]) -> None:
    done = run_together(forest(), requests, 1024)
    assert [done.replies[i] for i in range(len(requests))] == [alone(r) for r in requests]


def test_rows_run_together_up_to_the_bound() -> None:
    """Of rows, and of bytes: as objects, bodies take many times their size."""
    model: Any = Moody(fails_from=99)
    assert len(run_together(model, [(JSON, GOOD)] * 5, 2).replies) == 5
    assert model.calls == 3
    padded = GOOD + b" " * (MAX_BYTES // 2)
    run_together(model, [(JSON, padded)] * 3, 1024)
    assert model.calls == 3 + 3


def test_one_bad_body_leaves_the_others_on_the_quick_way() -> None:
    done = run_together(forest(), [(JSON, GOOD), (JSON, b"{"), (JSON, GOOD), (TO_CSV, GOOD)], 1024)
    assert sorted(done.replies) == [0, 2]
    assert done.apart == [1, 3]


class Moody:
    """Fails for a batch of several requests' rows, or for every batch; counts its calls."""

    format = "test"
    methods = ("predict",)
    batchable = True
    takes_sparse = False

    def __init__(self, fails_from: int) -> None:
        self.fails_from = fails_from
        self.calls = 0

    def prepare(self, payload: Any) -> Batch:
        return self._batch(payload.rows)

    def stack(self, requests: list[list[Any]]) -> Batch:
        return self._batch([row for rows in requests for row in rows])

    def _batch(self, rows: list[Any]) -> Batch:
        return Batch(rows=len(rows), arrays={"": np.array(rows, dtype=float)})

    def run(self, _method: str, batch: Batch) -> Outputs:
        self.calls += 1
        if batch.rows >= self.fails_from:
            raise MemoryError
        return Outputs(arrays={"y": batch.arrays[""][:, 0]})


def test_a_batch_that_fails_is_run_one_by_one() -> None:
    model: Any = Moody(fails_from=2)
    result = run_batch(model, [(JSON, GOOD)] * 3, max_rows=1024)
    assert [reply.body for reply in result.replies] == [b'{"predictions":[0.25]}'] * 3
    assert model.calls == 1 + 3


def test_what_a_failed_batch_took_is_given_back_before_its_requests_run_alone() -> None:
    class Hungry(Moody):
        joined: weakref.ref[Any] | None = None

        def run(self, method: str, batch: Batch) -> Outputs:
            if self.joined is None:
                self.joined = weakref.ref(batch.arrays[""])
            else:
                assert self.joined() is None
            return super().run(method, batch)

    model: Any = Hungry(fails_from=2)
    result = run_batch(model, [(JSON, GOOD)] * 2, max_rows=1024)
    assert [reply.code for reply in result.replies] == ["", ""]


@pytest.mark.parametrize("error", [MemoryError, RecursionError, TypeError])
def test_a_batch_that_can_not_be_made_costs_nobody_an_answer(error: type[Exception]) -> None:
    class Unstacked(Moody):
        def stack(self, requests: list[list[Any]]) -> Batch:
            raise error(len(requests))

    model: Any = Unstacked(fails_from=2)
    result = run_batch(model, [(JSON, GOOD)] * 2, max_rows=1)
    assert [reply.code for reply in result.replies] == ["", ""]


def test_a_request_that_fails_alone_is_run_once(caplog: pytest.LogCaptureFixture) -> None:
    model: Any = Moody(fails_from=1)
    with caplog.at_level(logging.WARNING):
        result = run_batch(model, [(JSON, GOOD)], max_rows=1024)
    assert [reply.code for reply in result.replies] == ["InsufficientStorage"]
    assert model.calls == 1
    assert "model failed" in caplog.text


def test_what_is_not_split_by_rows_is_not_shared_out() -> None:
    class Scalar(Moody):
        def run(self, _method: str, batch: Batch) -> Outputs:
            return Outputs(arrays={"y": np.array(batch.rows)}, batched=False)

    model: Any = Scalar(fails_from=99)
    assert run_together(model, [(JSON, GOOD)] * 2, 1024).alone == [0, 1]
    (reply,) = run_batch(model, [(JSON, GOOD)], max_rows=1024).replies
    assert reply.body == b'{"predictions":1}'
