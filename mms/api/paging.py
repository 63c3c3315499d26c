"""Pages of the model list, and the tokens between them.

A token names the last model of its page, so that models which come and go between two calls neither
repeat nor hide others. It is opaque to callers and carries a checksum: what isn't ours is refused.
Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from mms.errors import ValidationError
from mms.types import ModelListing

MAX_LIMIT = 100
_MAX_TOKEN = 2048
_CHECK_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, and the token of the next if there is one."""

    models: list[ModelListing]
    next_token: str | None


def page_of(models: Iterable[ModelListing], *, limit: int, after: str | None) -> Page:
    """The first ``limit`` models, by name, behind ``after``."""
    rest = sorted(
        (m for m in models if after is None or m.name > after), key=lambda model: model.name
    )
    shown = rest[:limit]
    return Page(models=shown, next_token=token_of(shown[-1].name) if len(rest) > limit else None)


def token_of(name: str) -> str:
    raw = name.encode()
    return base64.urlsafe_b64encode(_check(raw) + raw).decode().rstrip("=")


def name_in(token: str) -> str:
    """The name in a token of ours; raises ValidationError for any other text."""
    name = _decoded(token) if len(token) <= _MAX_TOKEN else ""
    if not name or token_of(name) != token:
        raise ValidationError(
            "next_page_token is not one of this server's; ask for the first page again."
        )
    return name


def limit_of(text: str | None) -> int:
    """A page size between 1 and 100, whatever number was asked for."""
    if text is None:
        return MAX_LIMIT
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ValidationError("limit must be a whole number; 1 to 100 are used.")
    if text.startswith("-") or len(digits.lstrip("0")) > len(str(MAX_LIMIT)):
        return 1 if text.startswith("-") else MAX_LIMIT
    return min(max(int(digits), 1), MAX_LIMIT)


def _decoded(token: str) -> str:
    padded = token + "=" * (-len(token) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True)[_CHECK_BYTES:].decode()
    except ValueError:  # not base64, not ASCII, not UTF-8
        return ""


def _check(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=_CHECK_BYTES, person=b"mms-page").digest()
