"""The quick way through a batch: requests are read, run and answered together.

For JSON rows in and JSON out, which nearly all requests are. What comes out is what each of them
would be answered by itself (``mms.worker.batching``). Whatever is in the way of that is left to the
thorough way, which tells each request what is wrong with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from loaders.base import Model, Outputs
from mms import media
from mms.media import decode_spec
from mms.worker.codecs import json
from mms.worker.replies import Reply, refusal
from mms.worker.splitting import split, whole

MAX_BYTES: Final = 512 << 10
"""Of the bodies that are read together. Their lists may take forty times as much, all at once; the
thorough way lets go of each request's before it reads the next."""
_REPLY: Final = media.TYPES[media.JSON].reply


@dataclass
class Together:
    """What came of the requests of a batch, by their indices."""

    replies: dict[int, Reply] = field(default_factory=dict)
    rows: int = 0
    predict_s: float = 0.0
    apart: list[int] = field(default_factory=list)  # to be read one by one
    alone: list[int] = field(default_factory=list)  # to be run one by one: together they failed


@dataclass
class _Group:
    """Requests that ask for the same, and their rows."""

    method: str
    indices: list[int] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    count: int = 0  # of rows
    held: int = 0  # bytes of bodies

    def is_full(self, rows: int, held: int, max_rows: int) -> bool:
        """Whether a request of so much more has to wait for the next group."""
        too_much = self.count + rows > max_rows or self.held + held > MAX_BYTES
        return bool(self.indices) and too_much

    def add(self, index: int, rows: list[Any], held: int) -> None:
        self.indices.append(index)
        self.rows.append(rows)
        self.count += len(rows)
        self.held += held


def run_together(model: Model, requests: Sequence[tuple[bytes, bytes]], max_rows: int) -> Together:
    """Answer what can be answered so; raises nothing, whatever the model does."""
    done = Together()
    if not hasattr(model, "stack") or not (model.batchable or len(requests) == 1):
        done.apart.extend(range(len(requests)))
        return done
    groups: dict[bytes, _Group] = {}
    for index, (spec, body) in enumerate(requests):
        method = _method(spec, model.methods)
        # A large body is not parsed twice where it has to be refused.
        rows = json.plain_rows(body) if method and len(body) <= MAX_BYTES else []
        if not rows:
            done.apart.append(index)
            continue
        group = groups.get(spec)
        if group is None or group.is_full(len(rows), len(body), max_rows):
            if group is not None:
                _run(model, group, done)
            group = groups[spec] = _Group(method)
        group.add(index, rows, len(body))
    for group in groups.values():
        _run(model, group, done)
    return done


@lru_cache(maxsize=1024)
def _method(spec_bytes: bytes, methods: tuple[str, ...]) -> str:
    """The method that a request of plain JSON rows asks for; "" for every other request."""
    spec = decode_spec(spec_bytes)
    is_json = spec.content_type == spec.accept == media.JSON
    if not is_json or spec.params or spec.coding or spec.refusal:
        return ""
    method = spec.method or methods[0]
    return method if method in methods else ""


def _run(model: Any, group: _Group, done: Together) -> None:
    counts = [len(rows) for rows in group.rows]
    try:
        batch = model.stack(group.rows)
    except Exception:  # noqa: BLE001 - no memory for all at once, say: one by one it may do
        batch = None
    group.rows.clear()
    if batch is None:
        done.apart.extend(group.indices)
        return
    start = time.perf_counter()
    try:
        outputs = model.run(group.method, batch)
        done.predict_s += time.perf_counter() - start
        bodies = _written(outputs, counts)
    except BaseException as error:  # noqa: BLE001 - a model's code may raise anything
        if len(counts) > 1:
            done.alone.extend(group.indices)
        else:
            done.replies[group.indices[0]] = refusal(error, model.format)
        return
    done.rows += group.count
    for index, body in zip(group.indices, bodies):
        done.replies[index] = Reply("", _REPLY, body)


def _written(outputs: Outputs, counts: list[int]) -> list[bytes]:
    if len(counts) == 1:
        return [json.encode(split(outputs, counts)[0], "instances")]
    return json.encode_each(whole(outputs, sum(counts)), counts)
