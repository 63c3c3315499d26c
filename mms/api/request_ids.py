"""Request ids: ours, which are unique across restarts and servers, and the caller's own.

Ours are a random part drawn once a process and a counter, because an id is made for every request
and a UUID costs more than the rest of the header.
"""

from __future__ import annotations

import itertools
import re
import secrets

_CALLERS_ID = re.compile(rb"[!-~]{1,128}")


class RequestIds:
    """Makes ids such as ``1f0c6a5b9d3e-0000002a``."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._count = itertools.count(1)

    def make(self) -> str:
        return f"{self._prefix}-{next(self._count):08x}"


def accepted_caller_id(value: bytes | None) -> str:
    """The caller's ``X-Request-Id`` if it is fit to be echoed and logged, else ""."""
    if value is None or not _CALLERS_ID.fullmatch(value):
        return ""
    return value.decode("ascii")
