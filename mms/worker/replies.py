"""What a request is answered, and how a failed one is told to its caller.

The one place that makes replies of errors: the public code and a message in one line, without this
machine's folders. Knows nothing of models; what is a model's fault is logged where it happened.
"""

from __future__ import annotations

import logging
import re
import traceback
from pathlib import PurePath
from typing import Final, NamedTuple

from loaders.base import InputError
from mms.errors import InsufficientStorage, MmsError, ModelError, NotAcceptable, ValidationError
from mms.worker.codecs.values import Unwritable

logger = logging.getLogger("mms.worker")

MAX_MESSAGE: Final = 1000
_FRAMES: Final = 5  # of a traceback that the log tells


class Reply(NamedTuple):
    """A request's outcome: ``code`` is "" and ``body`` the answer, or an error's and its text."""

    code: str
    content_type: bytes
    body: bytes


class BatchResult(NamedTuple):
    replies: list[Reply]  # in the order of the requests
    rows: int  # that the model was given, each counted once
    predict_s: float  # spent in the model, second tries included


def refusal(error: BaseException, model_format: str) -> Reply:
    """The reply to a request that failed; what is a model's fault is logged.

    Without the error's text, which may quote the request's body: the caller gets that.
    """
    code, message = _code_and_message(error)
    if code in {ModelError.code, InsufficientStorage.code}:
        fields = {"error": type(error).__name__, "where": where(error)}
        logger.warning("model failed", extra={"model_format": model_format, **fields})
    return Reply(code, b"text/plain", message[:MAX_MESSAGE].encode("utf-8", "replace"))


def _code_and_message(error: BaseException) -> tuple[str, str]:
    if isinstance(error, InputError):
        return ValidationError.code, str(error)
    if isinstance(error, MmsError):
        return error.code, error.message
    if isinstance(error, Unwritable):
        return NotAcceptable.code, str(error)
    if isinstance(error, MemoryError):
        return InsufficientStorage.code, "not enough memory to answer this request"
    return ModelError.code, _describe(error)


def where(error: BaseException) -> str:
    """Where it was raised, the innermost call first: functions, files and lines."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return " < ".join(
        f"{code.co_name} ({PurePath(code.co_filename).name}:{line})"
        for code, line in frames[: -_FRAMES - 1 : -1]
    )


# Folders in front of a file's name, in quotes (they may hold blanks) or bare.
_FOLDERS = re.compile(r"""(?<=["'])/[^"'\n]*/|(?<![\w./:])/(?:[^\s/"',:;()]+/)+""")


def _describe(error: BaseException) -> str:
    """Type and first line of a foreign error, without the folders of this machine."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - __str__ may be a model's code too
        lines = []
    name = type(error).__name__
    return f"{name}: {_FOLDERS.sub('.../', lines[0][:10_000])}" if lines else name
