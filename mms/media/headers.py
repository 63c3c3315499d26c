"""From a request's headers to its spec: what the body is, what answer is wanted, which method.

Pure functions over header bytes, which are hostile: whatever they hold, the outcome is a spec or
one of ``ValidationError``, ``UnsupportedMediaType``, ``NotAcceptable``. Never touches a body.
"""

from __future__ import annotations

from dataclasses import replace
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

from mms.errors import MmsError, UnsupportedMediaType, ValidationError
from mms.media import ALIASES, JSON, MAX_BODY, METHODS, TYPES, Spec, decode_spec, encode_spec
from mms.media.accept import negotiate, wanted
from mms.media.syntax import TYPE, parameters, shown, text_of

ATTRIBUTES: Final = "X-Amzn-SageMaker-Custom-Attributes"


def spec_for(
    content_type: bytes | None,
    accept: bytes | None,
    attributes: bytes | None,
    default_accept: str,
    *,
    coding: str = "",
    max_body: int = MAX_BODY,
    any_type: bool = False,
) -> bytes:
    """The spec for a request's headers, each ``None`` where the request has none.

    ``default_accept`` is the type of an answer to a client that takes anything; "" is JSON.
    ``coding`` is that of the body ("" or "gzip"), ``max_body`` what it may unpack to. With
    ``any_type`` no header is refused but for its length: what is wrong with them stands in the
    spec, for the model to refuse unless a script of its own reads them.
    """
    if any_type:
        return _any_spec(
            content_type, accept, attributes, default_accept, coding=coding, max_body=max_body
        )
    # Attributes may differ with every request (trace ids), so they have a cache of their own.
    method = asked_method(attributes) if attributes else None
    return _spec(content_type, accept, method, default_accept, coding=coding, max_body=max_body)


@lru_cache(maxsize=1024)
def _spec(
    content_type: bytes | None,
    accept: bytes | None,
    method: str | None,
    default_accept: str,
    *,
    coding: str,
    max_body: int,
) -> bytes:
    media_type, params = parse_content_type(text_of("Content-Type", content_type))
    spec = Spec(
        content_type=media_type,
        params=params,
        accept=negotiate(text_of("Accept", accept), _OFFERED, default_accept, also=_ALSO),
        method=method,
        coding=coding,
        max_body=max_body,
    )
    return encode_spec(spec)


_OFFERED = tuple(TYPES)
_ALSO = tuple(ALIASES)


@lru_cache(maxsize=1024)
def _any_spec(
    content_type: bytes | None,
    accept: bytes | None,
    attributes: bytes | None,
    default_accept: str,
    *,
    coding: str,
    max_body: int,
) -> bytes:
    refusal = None
    try:
        known = decode_spec(
            spec_for(
                content_type, accept, attributes, default_accept, coding=coding, max_body=max_body
            )
        )
    except MmsError as error:
        refusal = error.code, error.message
        known = Spec(content_type="", accept="", coding=coding, max_body=max_body)
    raw_accept = text_of("Accept", accept)
    spec = replace(
        known,
        refusal=refusal,
        raw_content_type=text_of("Content-Type", content_type),
        raw_accept=raw_accept,
        wanted=wanted(raw_accept, default_accept),
        attributes=text_of(ATTRIBUTES, attributes),
    )
    return encode_spec(spec)


# --- Custom attributes ---


@lru_cache(maxsize=256)
def asked_method(attributes: bytes) -> str | None:
    """The ``method=`` among the caller's own attributes, which are nobody else's business."""
    text = text_of(ATTRIBUTES, attributes)
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
    name = ALIASES.get(name, name)
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
