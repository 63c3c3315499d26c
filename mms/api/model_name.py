"""What a loaded model may be called in a URL or a load: SageMaker's opaque ``model_name``.

Opaque means that nothing is read out of it and no path is made of it; it only has to be printable
and bounded. Where the server itself brings models, a name is a target and the engine says so.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from mms.errors import ValidationError

MAX_BYTES = 1024


def model_name_in(raw: bytes) -> str:
    """The name in a URL: percent-decoded exactly once, UTF-8."""
    try:
        name = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ValidationError("The model name in the URL is not UTF-8.") from None
    return checked_model_name(name)


def checked_model_name(name: object) -> str:
    """``name`` if it may be one; raises ValidationError."""
    if not isinstance(name, str) or not name:
        raise ValidationError('"model_name" must be a string that is not empty.')
    if len(name.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ValidationError(f"The model name is longer than {MAX_BYTES} bytes.")
    if not name.isprintable() or name != name.strip():
        raise ValidationError("The model name holds unprintable characters, or blanks at its ends.")
    return name
