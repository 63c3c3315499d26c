"""Content types: which bodies are read and written, and what a request's headers ask for.

One table that both sides share. The front turns headers into a short ``spec``
(:mod:`mms.media.headers`), the worker reads it back (:func:`decode_spec`); neither touches a body
here. Standard library only, and Python 3.9's: a worker may run in an older environment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

JSON: Final = "application/json"
CSV: Final = "text/csv"
JSON_LINES: Final = "application/jsonlines"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"

MAX_BODY: Final = 6_291_456  # SageMaker's

METHODS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)


@dataclass(frozen=True)
class MediaType:
    """One row of the table: ``reply`` is the Content-Type of an answer; text is always UTF-8."""

    reply: bytes
    parameters: frozenset[str] = field(default_factory=frozenset)  # that mean something here
    aliases: tuple[str, ...] = ()  # other names of the same; one that Accept names is answered
    is_packed: bool = False  # a body may hold far more than its own bytes


TYPES: Final[dict[str, MediaType]] = {  # the order is the server's preference
    JSON: MediaType(reply=b"application/json", parameters=frozenset({"charset"})),
    CSV: MediaType(
        reply=b"text/csv; charset=utf-8",
        parameters=frozenset({"charset", "header", "label_size"}),
    ),
    JSON_LINES: MediaType(
        reply=b"application/jsonlines",
        parameters=frozenset({"charset"}),
        aliases=("application/x-jsonlines", "application/jsonl", "application/x-ndjson"),
    ),
    NPY: MediaType(reply=b"application/x-npy"),
    NPZ: MediaType(reply=b"application/x-npz", is_packed=True),
}

ALIASES: Final[dict[str, str]] = {
    alias: name for name, row in TYPES.items() for alias in row.aliases
}


@dataclass(frozen=True)
class Spec:
    """What the worker has to know of a request: how to read it, how to answer, what to call.

    ``params`` are the Content-Type's, checked, without those that say what holds anyway.
    ``charset`` is a Python codec's name. ``accept`` may be an alias, as it was asked for.
    ``coding`` is ``"gzip"`` for a body that comes so; ``max_body`` bounds what it unpacks to.

    Where a model's own script may be what answers, any headers get through: then ``refusal`` is
    the code and message of the error that they are to every other model (``content_type`` and
    ``accept`` are "" with it), the ``raw`` ones are the headers' own texts, and ``wanted`` is the
    plain type that a script is asked to answer with.
    """

    content_type: str = JSON
    params: tuple[tuple[str, str], ...] = ()
    accept: str = JSON
    method: str | None = None  # None: the model's default
    coding: str = ""
    max_body: int = MAX_BODY
    refusal: tuple[str, str] | None = None
    raw_content_type: str = ""
    raw_accept: str = ""
    wanted: str = ""
    attributes: str = ""

    def param(self, name: str, default: str) -> str:
        for key, value in self.params:
            if key == name:
                return value
        return default


def encode_spec(spec: Spec) -> bytes:
    fields: list[Any] = [
        spec.content_type,
        spec.params,
        spec.accept,
        spec.method,
        spec.coding,
        spec.max_body,
    ]
    further = [spec.refusal, spec.raw_content_type, spec.raw_accept, spec.wanted, spec.attributes]
    if any(further):
        fields += further
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


@lru_cache(maxsize=1024)
def decode_spec(spec: bytes) -> Spec:
    """The inverse of :func:`encode_spec`; the same object for the same bytes."""
    content_type, params, accept, method, coding, max_body, *further = json.loads(spec)
    refusal, *texts = further or (None,)
    return Spec(
        content_type,
        tuple((name, value) for name, value in params),
        accept,
        method,
        coding,
        max_body,
        (refusal[0], refusal[1]) if refusal else None,
        *texts,
    )
