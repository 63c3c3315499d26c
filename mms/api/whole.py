"""A response as one piece of bytes, as nearly all are written."""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE


def whole_response(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Status line, headers, body. Raises RuntimeError where a header would end its line early."""
    lines = [STATUS_LINE[status]]
    count = 1
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
        count += 1
    head = b"".join(lines)
    if head.count(b"\n") != count or head.count(b"\r") != count:
        raise RuntimeError("a response header holds a line end")
    return b"".join((head, b"\r\n", body))
