"""What a target model may be called: the one place that turns a caller's bytes into a target.

A target is a key relative to the prefix, taken as it comes: nothing is decoded, folded or trimmed,
so two spellings never name one model; what could be read in two ways is refused instead. Names that
would leave the prefix or mislead a reader get no further than here. Touches no store and no disk.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from mms.errors import ModelNotFound, ValidationError
from mms.types import TargetModel

MAX_BYTES = 1024  # SageMaker's limit on TargetModel
MAX_SEGMENT_BYTES = 255  # what file systems take

# Not printable: controls, format characters (bidi, zero width), surrogates, private and unassigned
# code points (whose normal form may still change), and every space and line end but U+0020.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_SHOWN = 60


@lru_cache(maxsize=4096)
def parse_target(raw: str | bytes) -> TargetModel:
    """The target that ``raw`` names, character for character.

    Raises ``ValidationError`` saying what is wrong with it, and ``ModelNotFound`` for hidden files,
    which are well-formed keys but never models.
    """
    text = _decoded(raw)
    fault = _fault_of_text(text) or _fault_of_segments(text)
    if fault:
        raise ValidationError(f"The target model {_shown(text)} is not valid: {fault}.")
    if any(segment.startswith(".") for segment in text.split("/")):
        raise ModelNotFound(
            f"There is no model {_shown(text)}: hidden files (a name that begins with a dot) "
            "are no models."
        )
    return TargetModel(text)


def _decoded(raw: str | bytes) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValidationError("The target model is not valid: its bytes are not UTF-8.") from None


def _fault_of_text(text: str) -> str:
    """What is wrong with the whole, or ""."""
    if not text:
        return "it is empty"
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    if text.isascii():
        bad = "" if text.isprintable() else next(c for c in text if not c.isprintable())
    else:
        bad = next((c for c in text if c != " " and unicodedata.category(c) in _UNPRINTABLE), "")
    if bad:
        return f"it holds the unprintable character U+{ord(bad):04X}"
    if "\\" in text:
        return "it holds a backslash; folders are separated by /"
    if not unicodedata.is_normalized("NFC", text):
        return "its Unicode is not in the composed form (NFC)"
    return ""


def _fault_of_segments(text: str) -> str:
    """What is wrong with a part between slashes, or "". One slash at the end means a folder."""
    if text.startswith("/"):
        return "it begins with /; targets are relative to the prefix"
    for segment in text.removesuffix("/").split("/"):
        if not segment:
            return "it holds two slashes in a row"
        if segment in {".", ".."}:
            return f'the segment "{segment}" is not allowed'
        if segment[0] == " " or segment[-1] == " ":
            return "a segment begins or ends with a blank"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
    return ""


def _shown(text: str) -> str:
    """Short, and plain ASCII whatever it holds."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
