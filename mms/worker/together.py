"""The quick way through a batch: its requests are read, run and answered together.

For JSON rows in and JSON out, which nearly all requests are. What comes out is what each of them
would be answered by itself (``mms.worker.batching``); whatever is in the way of that, a body that
can't be read among others, leaves the batch to the thorough way, which tells each what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from loaders.base import Batch, Model, Outputs
from mms import media
from mms.media import Spec, decode_spec
from mms.worker.codecs import json
from mms.worker.replies import BatchResult, Reply
from mms.worker.splitting import split, whole

_REPLY = media.TYPES[media.JSON].reply


class Failed(Exception):
    """The model, or the writing of its answers, failed; the cause is what it raised."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class _Stack(NamedTuple):
    batch: Batch
    counts: list[int]  # of each request's rows
    method: str


def run_together(
    model: Model, requests: Sequence[tuple[bytes, bytes]], max_rows: int
) -> BatchResult | None:
    """The replies, or ``None`` where the requests have to be looked at one by one.

    Raises Failed: then each has to be run alone.
    """
    stacked = _stacked(model, requests, max_rows)
    if stacked is None:
        return None
    start = time.perf_counter()
    try:
        outputs = model.run(stacked.method, stacked.batch)
        predict_s = time.perf_counter() - start
        bodies = _written(outputs, stacked.counts)
    except BaseException as error:
        raise Failed(time.perf_counter() - start) from error
    replies = [Reply("", _REPLY, body) for body in bodies]
    return BatchResult(replies=replies, rows=stacked.batch.rows, predict_s=predict_s)


def _written(outputs: Outputs, counts: list[int]) -> list[bytes]:
    if len(counts) == 1:
        return [json.encode(split(outputs, counts)[0], "instances")]
    return json.encode_each(whole(outputs, sum(counts)), counts)


def _stacked(model: Any, requests: Sequence[tuple[bytes, bytes]], max_rows: int) -> _Stack | None:
    """The requests as one batch, where all ask for the same and it is plain what that is."""
    stack = getattr(model, "stack", None)
    if stack is None or not (model.batchable or len(requests) == 1):
        return None
    first = requests[0][0]
    if not all(spec == first for spec, _ in requests):
        return None
    spec = decode_spec(first)
    method = spec.method or model.methods[0]
    if not _is_plain(spec) or method not in model.methods:
        return None
    rows = [json.plain_rows(body) for _, body in requests]
    counts = [len(part) for part in rows]
    if 0 in counts or (len(rows) > 1 and sum(counts) > max_rows):
        return None
    batch = stack(rows)
    return None if batch is None else _Stack(batch, counts, method)


def _is_plain(spec: Spec) -> bool:
    is_json = spec.content_type == spec.accept == media.JSON
    return is_json and not (spec.params or spec.coding or spec.refusal)
