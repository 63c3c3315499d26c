"""The one table from error classes to HTTP, and the shape of every error answer.

``problem_of`` answers for the container's and the operators' routes; ``mms.api.runtime`` maps the
same errors to what boto3 expects. An unknown exception becomes ``InternalFailure`` with a fixed
text: what really happened is in the log only.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from mms import errors

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
DEFAULT_RETRY_S = 1.0
MAX_RETRY_S = 3600.0
_MAY_RETRY = frozenset({429, 503})


class InternalFailure(errors.MmsError):
    """A fault of the server itself."""

    code = "InternalFailure"
    reason = "internal"

    def __init__(self) -> None:
        super().__init__("The server failed to answer; its log has the details under RequestId.")


STATUS: dict[type[errors.MmsError], int] = {
    errors.ValidationError: 400,
    errors.Unauthorized: 401,
    errors.ModelNotFound: 404,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.RequestTimeout: 408,
    errors.ModelAlreadyLoaded: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ModelLoadError: 422,
    errors.ModelNotReady: 429,
    errors.HeadersTooLarge: 431,
    errors.MmsError: 500,
    errors.ModelError: 500,
    InternalFailure: 500,
    errors.ServiceUnavailable: 503,
    errors.ModelTimeout: 504,
    errors.InsufficientStorage: 507,
}


def status_of(error: errors.MmsError) -> int:
    """The status of the nearest class that has a row."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error, ready to be written."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    members: dict[str, object] = field(default_factory=dict)  # of the body, beyond the usual three
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, request_id: str) -> bytes:
        members = {"ErrorCode": self.code, "Message": self.message, "RequestId": request_id}
        return json.dumps(members | self.members).encode()  # ASCII: survives any message

    def head(self) -> Headers:
        """Headers that belong to the error; the caller adds ids and the length."""
        head: Headers = [JSON_TYPE, (b"x-amzn-errortype", self.code.encode()), *self.headers]
        if self.status in _MAY_RETRY:
            wait_s = _sane(self.retry_after_s)
            head.append((b"retry-after", b"%d" % max(1, math.ceil(wait_s))))
            head.append((b"x-amz-retry-after", b"%d" % max(1, math.ceil(wait_s * 1000))))
        return head


def problem_of(error: errors.MmsError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    return Problem(
        status=status_of(error),
        code=error.code,
        message=error.message,
        retry_after_s=error.retry_after_s,
        headers=headers,
    )


def _sane(wait_s: float | None) -> float:
    if wait_s is None or not math.isfinite(wait_s):
        return DEFAULT_RETRY_S
    return min(max(wait_s, 0.0), MAX_RETRY_S)
