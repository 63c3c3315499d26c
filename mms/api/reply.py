"""The headers of a successful invocation. Bytes are made once where they can be.

What comes from a worker or a store is checked before it becomes a header, so that no model can
write headers of its own.
"""

from __future__ import annotations

import re

from mms.api.problems import Headers
from mms.types import Answer

_TIERS = {
    "memory": (b"x-mms-tier", b"memory"),
    "disk": (b"x-mms-tier", b"disk"),
    "store": (b"x-mms-tier", b"store"),
}
_VERSION = re.compile(r"[0-9A-Za-z]{1,12}")
_VALUE = re.compile(rb"[ -~]{1,1024}")
_FALLBACK_TYPE = b"application/octet-stream"


def reply_headers(answer: Answer, *, echo_attributes: bool) -> Headers:
    """All but ids and those of the surface."""
    content_type = answer.content_type
    if not _VALUE.fullmatch(content_type):
        content_type = _FALLBACK_TYPE
    headers: Headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(answer.body)),
        _TIERS[answer.tier],
        (b"server-timing", server_timing(answer)),
    ]
    version = answer.version if _VERSION.fullmatch(answer.version) else ""
    if version:
        headers.append((b"x-mms-model-version", version.encode()))
    if echo_attributes:
        echo = f"mms-version={version};mms-tier={answer.tier}"
        headers.append((b"x-amzn-sagemaker-custom-attributes", echo.encode()))
    return headers


def server_timing(answer: Answer) -> bytes:
    """Milliseconds by phase; a warm request has neither fetched nor loaded."""
    queue_ms, predict_ms = answer.queue_s * 1e3, answer.predict_s * 1e3
    if answer.fetch_s is None and answer.load_s is None:
        return b"queue;dur=%.3f, predict;dur=%.3f" % (queue_ms, predict_ms)
    fetch = b"" if answer.fetch_s is None else b"fetch;dur=%.3f, " % (answer.fetch_s * 1e3)
    load = b"" if answer.load_s is None else b"load;dur=%.3f, " % (answer.load_s * 1e3)
    return b"queue;dur=%.3f, %s%spredict;dur=%.3f" % (queue_ms, fetch, load, predict_ms)
