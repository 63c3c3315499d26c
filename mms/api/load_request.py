"""What ``POST /models`` may ask for. Pure: looks at no file.

The folder is the platform's and is only read; devices and the kernel's file systems are refused
here, whether they exist or not.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass

from mms.api.model_name import checked_model_name
from mms.api.ports import Mode
from mms.errors import ValidationError

MAX_BODY = 65_536
_MAX_PATH = 4095
_FORBIDDEN = ("/dev", "/proc", "/sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    name: str
    url: str | None


def load_request_in(body: bytes, mode: Mode) -> LoadRequest:
    """The load that ``body`` asks for; unknown keys are ignored. Raises ValidationError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # ValueError: not JSON, or not UTF-8
        raise ValidationError("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise ValidationError('The body must be a JSON object with "model_name" and "url".')
    name = checked_model_name(document.get("model_name"))
    if mode != "multi":  # the server knows itself where its models are
        return LoadRequest(name=name, url=None)
    return LoadRequest(name=name, url=checked_folder(document.get("url")))


def checked_folder(url: object) -> str:
    """``url`` if it names an absolute local folder, as it came."""
    if not isinstance(url, str) or not url:
        raise ValidationError('"url" must be a string that is not empty.')
    if not url.startswith("/"):
        raise ValidationError('"url" must be the absolute path of a local folder.')
    if len(url.encode("utf-8", "surrogatepass")) > _MAX_PATH or not url.isprintable():
        raise ValidationError('"url" is too long or holds unprintable characters.')
    if ".." in url.split("/"):
        raise ValidationError('"url" must not hold "..".')
    plain = "/" + posixpath.normpath(url).lstrip("/")
    if any(plain == root or plain.startswith(root + "/") for root in _FORBIDDEN):
        raise ValidationError('"url" must not be below /dev, /proc or /sys.')
    return url
