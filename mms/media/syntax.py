"""The grammar that request headers share (RFC 9110, 5.6): tokens, parameters, what to show of them.

Every pattern takes time linear in the text and every text is bounded: header bytes are hostile.
"""

from __future__ import annotations

import re
from typing import Final

from mms.errors import ValidationError

MAX_HEADER_BYTES: Final = 1024  # SageMaker's own limit for Content-Type, Accept and attributes

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - HTTP's word for a word
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
TYPE = re.compile(rf"[ \t]*+({_TOKEN}/{_TOKEN}|\*)[ \t]*+")
_PARAMETER = re.compile(rf";[ \t]*+(?:({_TOKEN})(?:[ \t]*+=[ \t]*+({_TOKEN}|{_QUOTED})?)?)?[ \t]*+")
_ESCAPE = re.compile(r"\\(.)")


def parameters(text: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """Name and value of the parameters that begin ``at``, and where they end."""
    found = []
    while match := _PARAMETER.match(text, at):
        at = match.end()
        name, value = match[1], match[2] or ""
        if value.startswith('"'):
            value = _ESCAPE.sub(r"\1", value[1:-1])
        if name:
            found.append((name.lower(), value))
    return found, at


def text_of(name: str, raw: bytes | None) -> str:
    """A header's text, "" where the request has none; raises ValidationError if it is too long."""
    if raw is None:
        return ""
    if len(raw) > MAX_HEADER_BYTES:
        raise ValidationError(
            f"{name} is {len(raw)} characters long: at most {MAX_HEADER_BYTES} are read"
        )
    return raw.decode("latin-1").strip(" \t")


def shown(text: str) -> str:
    """A header's text for a message: printable, and not all of it."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
