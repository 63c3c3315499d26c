"""What a script's answer comes to: a body and a content type, whatever shape it has.

Bytes or text, a pair with the type, an object of Flask's or the toolkits' kind, or a prediction
that nobody has written yet. Raises ScriptError, Unwritable, TypeError.
"""

from __future__ import annotations

from typing import Any, Final

from loaders.scripts import defaults
from loaders.scripts.context import Context
from loaders.scripts.errors import ScriptError, Unwritable

_MAX_TYPE: Final = 256


def written(result: Any, accept: str, context: Context) -> tuple[bytes, str]:
    """The body and the content type that are sent."""
    status, phrase = context.response_status
    body, content_type = _body_and_type(result, context.response_type or accept)
    status = getattr(result, "status_code", status)
    if type(status) is int and status >= 400:
        raise ScriptError(status, phrase or bytes(_bytes(body)).decode("utf-8", "replace"))
    return _bytes(_encoded(body, content_type)), _checked_type(content_type)


def _body_and_type(result: Any, accept: str) -> tuple[Any, str]:
    """Whatever shape a script gives its answer."""
    if isinstance(result, tuple) and len(result) in {2, 3} and isinstance(result[1], str):
        return result[0], result[1]
    if hasattr(result, "response") and hasattr(result, "mimetype"):  # worker.Response, Flask's
        get_data = getattr(result, "get_data", None)
        return (get_data() if callable(get_data) else result.response), result.mimetype or accept
    return result, accept


def _encoded(body: Any, content_type: str) -> Any:
    """What isn't written yet is written as the default ``output_fn`` does."""
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        return body
    if body is None:
        raise TypeError("the script answered None: return a body, or a body and its content type")
    try:
        return defaults.encode(body, content_type)
    except defaults.UnsupportedFormat as error:
        raise Unwritable(str(error)) from error


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def _checked_type(content_type: Any) -> str:
    text = content_type if isinstance(content_type, str) else ""
    if 0 < len(text) <= _MAX_TYPE and text.isascii() and text.isprintable():
        return text
    raise TypeError("the script answered with a content type that can't be sent")
