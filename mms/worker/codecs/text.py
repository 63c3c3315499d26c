"""Body bytes to text, for the codecs that read text. Says where bytes don't fit the charset."""

from __future__ import annotations

from loaders.base import InputError
from mms.media import Spec


def text_of(body: bytes, spec: Spec) -> str:
    """The body as text, without a byte order mark; raises InputError."""
    charset = spec.param("charset", "utf-8")
    try:
        text = body.decode(charset)
    except UnicodeDecodeError as error:
        raise InputError(
            f"the body is not {charset}: byte {error.start} does not fit; "
            "name the charset in Content-Type if it is another one"
        ) from None
    text = text.removeprefix("\ufeff")
    if not text.strip(" \t\r\n"):
        raise InputError("the body is empty: send at least one row")
    return text
