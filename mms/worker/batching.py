"""From request bodies to replies: decode, group, predict, encode.

Owns which requests run together and what each is answered; knows nothing of sockets or threads.
A request's outcome depends on itself alone: a payload that can't be read, a batch that fails and
an answer that can't be written cost nobody but the request they come from. Nothing is raised,
whatever a model does.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loaders import allocation
from loaders.base import Batch, Form, InputError, Model, Outputs, concatenate
from mms.errors import InsufficientStorage, ValidationError, from_code
from mms.media import Spec, decode_spec
from mms.worker import scripts
from mms.worker.codecs import decode, encode, may_hold, plain
from mms.worker.replies import BatchResult, Reply, refusal, where
from mms.worker.splitting import split
from mms.worker.together import run_together

logger = logging.getLogger("mms.worker")
_IGNORE_ALL = [("ignore", None, Warning, None, 0)]

MAX_HELD: Final = 64 << 20
"""Bytes of unpacked and decoded requests that are held at a time; what is left runs after them."""
_OBJECT_BYTES: Final = 64  # what an object is taken for: a short text


@dataclass
class _Work:
    """One request, fitted to the model."""

    index: int
    spec: Spec
    form: Form
    method: str
    batch: Batch
    held: int  # about the bytes of memory it takes until it has run


class _Runner:
    """The model, and the time spent in it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.predict_s = 0.0

    def run(self, method: str, batches: list[Batch]) -> list[Outputs]:
        """One answer per batch; raises whatever the model does."""
        whole = concatenate(batches)
        start = time.perf_counter()
        try:
            outputs = self.model.run(method, whole)
        finally:
            self.predict_s += time.perf_counter() - start
        return split(outputs, [batch.rows for batch in batches])


def run_batch(
    model: Model, requests: Sequence[tuple[bytes, bytes]], *, max_rows: int
) -> BatchResult:
    """Answer requests, each a spec (of ``media.spec_for``) and a body, with one model.

    Rows run together up to ``max_rows`` where the model allows it; a request of more runs alone.
    """
    _silence_warnings()
    turn = allocation.turn()
    result = _run_once(model, requests, max_rows)
    starved = [
        i for i, reply in enumerate(result.replies) if reply.code == InsufficientStorage.code
    ]
    if not starved or not allocation.was_bounded(turn):
        return result
    with allocation.unbounded():  # a load beside them may have kept the memory from them
        again = _run_once(model, [requests[i] for i in starved], max_rows)
    for index, reply in zip(starved, again.replies):
        result.replies[index] = reply
    return result._replace(predict_s=result.predict_s + again.predict_s)


def _run_once(model: Model, requests: Sequence[tuple[bytes, bytes]], max_rows: int) -> BatchResult:
    if scripts.has_script(model):
        return scripts.run_scripts(model, requests)
    together = run_together(model, requests, max_rows)
    replies, rows, predict_s = together.replies, together.rows, together.predict_s
    for indices, at_once in ((together.apart, max_rows), (together.alone, 0)):
        if indices:
            rest = _run_apart(model, [requests[index] for index in indices], at_once)
            replies.update(zip(indices, rest.replies))
            rows += rest.rows
            predict_s += rest.predict_s
    return BatchResult([replies[index] for index in range(len(requests))], rows, predict_s)


def _run_apart(model: Model, requests: Sequence[tuple[bytes, bytes]], max_rows: int) -> BatchResult:
    """The thorough way: each request read by itself; ``max_rows`` 0 runs each alone, too."""
    runner = _Runner(model)
    replies: dict[int, Reply] = {}
    works: list[_Work] = []
    rows = held = 0
    for index, (spec, body) in enumerate(requests):
        if works and held + may_hold(spec, body) > MAX_HELD:
            replies.update(_run_all(runner, works, max_rows))
            works, held = [], 0
        prepared = _prepare(model, index, spec, body)
        if isinstance(prepared, Reply):
            replies[index] = prepared
        else:
            works.append(prepared)
            rows += prepared.batch.rows
            held += prepared.held
    replies.update(_run_all(runner, works, max_rows))
    return BatchResult(
        replies=[replies[index] for index in range(len(requests))],
        rows=rows,
        predict_s=runner.predict_s,
    )


def _run_all(runner: _Runner, works: list[_Work], max_rows: int) -> Iterator[tuple[int, Reply]]:
    for group in _groups(works, max_rows if runner.model.batchable else 0):
        yield from _answer(runner, group)


def _silence_warnings() -> None:
    """Keep models' warnings from becoming errors or filling the log.

    For the whole process and at every batch: ``catch_warnings`` is not safe between threads, and
    frameworks put filters of their own in front when they are imported. One filter and no more:
    scikit-learn copies all of them for every tree of a forest, which takes longer than the tree.
    """
    if warnings.filters != _IGNORE_ALL:
        warnings.resetwarnings()
        warnings.simplefilter("ignore")


def _prepare(model: Model, index: int, spec_bytes: bytes, body: bytes) -> _Work | Reply:
    try:
        spec = decode_spec(spec_bytes)
        if spec.refusal is not None:
            raise from_code(*spec.refusal)  # noqa: TRY301 - one place makes replies of errors
        method = spec.method or model.methods[0]
        if method not in model.methods:
            raise ValidationError(  # noqa: TRY301 - the same
                f"this model has no method {method}: it has {', '.join(model.methods)}"
            )
        body = plain(body, spec)
        payload = decode(body, spec)
        if payload.sparse is not None and not getattr(model, "takes_sparse", False):
            raise InputError("this model takes no sparse matrix: send dense rows")  # noqa: TRY301
        batch = model.prepare(payload)
        if batch.rows < 1:
            raise InputError("there are no rows: send at least one")  # noqa: TRY301 - the same
    except BaseException as error:  # noqa: BLE001 - a model's code may raise anything
        return refusal(error, model.format)
    held = max(len(body), _size(batch))
    return _Work(index=index, spec=spec, form=payload.form, method=method, batch=batch, held=held)


def _size(batch: Batch) -> int:
    """About the bytes that a batch takes."""
    return sum(
        array.size * (_OBJECT_BYTES if array.dtype.hasobject else array.dtype.itemsize)
        for array in batch.arrays.values()
    )


def _groups(works: list[_Work], max_rows: int) -> list[list[_Work]]:
    """Works that may run together, in the order of arrival; ``max_rows`` 0 leaves each alone."""
    if len(works) == 1:
        return [works]
    groups: list[list[_Work]] = []
    open_groups: dict[object, tuple[list[_Work], int]] = {}
    for work in works:
        key = work.method, work.batch.key
        group, rows = open_groups.get(key, ([], 0))
        if not group or rows + work.batch.rows > max_rows:
            group, rows = [], 0
            groups.append(group)
        group.append(work)
        open_groups[key] = group, rows + work.batch.rows
    return groups


def _answer(runner: _Runner, group: list[_Work]) -> Iterator[tuple[int, Reply]]:
    """The replies to a group by their requests' indices."""
    try:
        outputs = runner.run(group[0].method, [work.batch for work in group])
    except BaseException as error:  # noqa: BLE001 - a model's code may raise anything
        if len(group) == 1:
            yield group[0].index, refusal(error, runner.model.format)
            return
        fields = {"error": type(error).__name__, "where": where(error)}
        logger.debug("batch failed, running its requests one by one", extra=fields)
    else:
        for work, output in zip(group, outputs):
            yield work.index, _written(output, work, runner.model)
        return
    for work in group:
        yield from _answer(runner, [work])


def _written(outputs: Outputs, work: _Work, model: Model) -> Reply:
    try:
        content_type, body = encode(outputs, work.form, work.spec)
    except BaseException as error:  # noqa: BLE001 - outputs may hold objects of a model's code
        return refusal(error, model.format)
    return Reply("", content_type, body)
