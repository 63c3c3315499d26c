"""The answers that boto3 would read as a whole, listings and errors, read within bounds instead.

boto3 reads them until they end, however slowly they come; here a deadline ends that, the store's
close, and a size that no such answer has. Objects' bodies aren't touched.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mms.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

_READ = 64 << 10
_MAX_BYTES = 16 << 20  # a page of a thousand keys has some 400 kB


class WholeAnswers:
    """Reads them for a client; each thread sets its own deadline around a request."""

    def __init__(self, is_closed: Callable[[], bool]) -> None:
        self._is_closed = is_closed
        self._thread = threading.local()

    @contextmanager
    def within(self, deadline: float) -> Iterator[None]:
        """What this thread asks for in here is read until ``deadline``."""
        self._thread.deadline = deadline
        yield

    def attach(self, client: S3Client) -> Callable[[Any], Any]:
        """Take the client's requests over at the point where they are sent; how others are."""
        session = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way

        def send(request: Any, **_: object) -> Any:
            is_whole = not request.stream_output
            request.stream_output = True
            answer = session.send(request)
            if is_whole or answer.status_code >= 300:
                answer._content = self._read(answer.raw)  # noqa: SLF001 - where boto3 keeps it
            return answer

        client.meta.events.register("before-send.s3", send)
        return send

    def _read(self, raw: Any) -> bytes:
        parts: list[bytes] = []
        left = _MAX_BYTES
        while block := raw.read1(_READ):
            parts.append(block)
            left -= len(block)
            if left < 0 or self._is_closed() or time.monotonic() >= self._thread.deadline:
                raw.close()
                raise StoreUnavailable("the model store's answer doesn't come to an end in time")
        return b"".join(parts)
