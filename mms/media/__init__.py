"""Content types: which bodies are read and written, and what a request's headers ask for.

One table and pure functions over header bytes. The front turns the headers into a short ``spec``
(:func:`spec_for`), the worker reads it back (:func:`decode_spec`); neither touches a body here.
Standard library only, so that the front stays small. Header bytes are hostile: whatever they hold,
the outcome is a spec or one of ``ValidationError``, ``UnsupportedMediaType``, ``NotAcceptable``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

from mms.errors import UnsupportedMediaType, ValidationError
from mms.media.accept import negotiate
from mms.media.syntax import TYPE, parameters, shown, text_of

JSON: Final = "application/json"
CSV: Final = "text/csv"

METHODS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """One row of the table: ``reply`` is the Content-Type of an answer, which is always UTF-8."""

    reply: bytes
    parameters: frozenset[str]  # those that mean something here; others are ignored


TYPES: Final[dict[str, MediaType]] = {  # the order is the server's preference
    JSON: MediaType(reply=b"application/json", parameters=frozenset({"charset"})),
    CSV: MediaType(
        reply=b"text/csv; charset=utf-8",
        parameters=frozenset({"charset", "header", "label_size"}),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the worker has to know of a request: how to read it, how to answer, what to call.

    ``params`` are the Content-Type's, checked, without those that say what holds anyway.
    ``charset`` is a Python codec's name.
    """

    content_type: str = JSON
    params: tuple[tuple[str, str], ...] = ()
    accept: str = JSON
    method: str | None = None  # None: the model's default

    def param(self, name: str, default: str) -> str:
        for key, value in self.params:
            if key == name:
                return value
        return default


def encode_spec(spec: Spec) -> bytes:
    fields = (spec.content_type, spec.params, spec.accept, spec.method)
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


@lru_cache(maxsize=1024)
def decode_spec(spec: bytes) -> Spec:
    """The inverse of :func:`encode_spec`; the same object for the same bytes."""
    content_type, params, accept, method = json.loads(spec)
    return Spec(
        content_type=content_type,
        params=tuple((name, value) for name, value in params),
        accept=accept,
        method=method,
    )


def spec_for(
    content_type: bytes | None, accept: bytes | None, attributes: bytes | None, default_accept: str
) -> bytes:
    """The spec for a request's headers, each ``None`` where the request has none.

    ``default_accept`` is the type of an answer to a client that takes anything; "" is JSON.
    """
    # Attributes may differ with every request (trace ids), so they have a cache of their own.
    method = asked_method(attributes) if attributes else None
    return _spec(content_type, accept, method, default_accept)


@lru_cache(maxsize=1024)
def _spec(
    content_type: bytes | None, accept: bytes | None, method: str | None, default_accept: str
) -> bytes:
    media_type, params = parse_content_type(text_of("Content-Type", content_type))
    answer = negotiate(text_of("Accept", accept), tuple(TYPES), default_accept)
    return encode_spec(Spec(content_type=media_type, params=params, accept=answer, method=method))


# --- Custom attributes ---


@lru_cache(maxsize=256)
def asked_method(attributes: bytes) -> str | None:
    """The ``method=`` among the caller's own attributes, which are nobody else's business."""
    text = text_of("X-Amzn-SageMaker-Custom-Attributes", attributes)
    if "method" not in text:
        return None
    pairs = (pair.partition("=") for pair in text.split(","))
    asked = {value.strip() for key, sign, value in pairs if sign and key.strip() == "method"}
    if unknown := sorted(asked.difference(METHODS)):
        raise ValidationError(
            f"method={shown(unknown[0])} in X-Amzn-SageMaker-Custom-Attributes is no method: "
            f"use one of {', '.join(METHODS)}"
        )
    if len(asked) > 1:
        raise ValidationError(
            "X-Amzn-SageMaker-Custom-Attributes names several methods: "
            f"{', '.join(sorted(asked))}; send one"
        )
    return asked.pop() if asked else None


# --- Content-Type ---


def parse_content_type(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The media type, as the table has it, and its parameters, checked."""
    if not text:
        return JSON, ()
    match = TYPE.match(text)
    name = _known_type(match[1].lower() if match else "")
    if match is None or name is None:
        raise UnsupportedMediaType(
            f"Content-Type {shown(text)} is not read here: send {' or '.join(TYPES)}"
        )
    found, end = parameters(text, match.end())
    if end != len(text):
        raise ValidationError(f"Content-Type {shown(text)} can't be read at character {end + 1}")
    return name, _checked(name, found)


def _known_type(name: str) -> str | None:
    if name in TYPES:
        return name
    # RFC 6839: whatever else it means, it may be processed as JSON.
    return JSON if name.startswith("application/") and name.endswith("+json") else None


def _checked(name: str, found: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    params: dict[str, str] = {}
    for key, raw in found:
        if key not in TYPES[name].parameters:
            continue
        value = _canonical(key, raw)
        if params.setdefault(key, value) != value:
            raise ValidationError(f"Content-Type has {key} twice, with different values")
    return tuple((k, v) for k, v in sorted(params.items()) if (k, v) not in _IMPLIED)


_IMPLIED = frozenset({("charset", "utf_8"), ("label_size", "0")})

# Text encodings under all their spellings. By Python's table of aliases and not codecs.lookup(),
# which imports modules by name and remembers every wrong name for ever.
_NO_TEXT = {"base64", "bz2", "hex", "quopri", "uu", "zlib"}
_CHARSETS = frozenset(aliases.values()) - {f"{name}_codec" for name in _NO_TEXT} - {
    "mbcs",
    "rot_13",
    "utf_7",
} | {"utf_8_sig"}


def _canonical(key: str, value: str) -> str:
    """A parameter's value in its one spelling, or the reason why it won't do."""
    folded = value.lower()
    if key == "charset":
        spelling = folded.replace("-", "_").replace(".", "_")
        codec = aliases.get(spelling, spelling)
        if codec not in _CHARSETS:
            raise UnsupportedMediaType(f"charset {shown(value)} is not known here: send UTF-8")
        return codec
    if key == "header" and folded not in {"present", "absent"}:
        raise ValidationError(f"header={shown(value)} in Content-Type: use present or absent")
    if key == "label_size" and folded != "0":
        raise ValidationError(
            f"label_size={shown(value)} in Content-Type: only 0 is possible, rows have no label"
        )
    return folded
