"""The kinds of setting: how a text becomes a ready value, and what the error says is allowed.

Pure. A kind's ``parse`` raises ValueError for whatever it doesn't take; the message of that error
is never shown, ``allowed`` is. Used by the settings table only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mms.settings.quantity import Share, parse_count, parse_duration, parse_share, parse_size

_S3 = re.compile(r"s3://[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9](/.*)?")
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_GLOBAL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_MEDIA = re.compile(r"[\w.+*-]+/[\w.+*-]+[\x20-\x7e]*", re.ASCII)
_MAX_SIZE = 1 << 60

T = TypeVar("T", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``parse`` makes the value, ``allowed`` completes "must be …", ``metavar`` stands in help."""

    parse: Callable[[str], object]
    allowed: str
    metavar: str


def count(low: int, high: int, allowed: str = "") -> Kind:
    def parse(text: str) -> int:
        return _within(parse_count(text), low, high)

    allowed = allowed or f"a whole number from {low} to {high}"
    return Kind(parse=parse, allowed=allowed, metavar="N")


def size(low: int) -> Kind:
    def parse(text: str) -> int:
        return _within(parse_size(text), low, _MAX_SIZE)

    allowed = f"a size of at least {low} bytes such as 512MiB, 6MB or plain bytes"
    return Kind(parse=parse, allowed=allowed, metavar="SIZE")


def size_or_share(low: int) -> Kind:
    def parse(text: str) -> int | Share:
        if text.rstrip().endswith("%"):
            return parse_share(text)
        return _within(parse_size(text), low, _MAX_SIZE)

    allowed = f"a share such as 70%, or a size of at least {low} bytes such as 4GiB"
    return Kind(parse=parse, allowed=allowed, metavar="SIZE|%")


def duration(low: float, high: float, spoken: str) -> Kind:
    def parse(text: str) -> float:
        return _within(parse_duration(text), low, high)

    allowed = f"a duration {spoken} such as 30, 30s, 500ms or 5m"
    return Kind(parse=parse, allowed=allowed, metavar="TIME")


def choice(*values: str) -> Kind:
    def parse(text: str) -> str:
        text = text.strip().lower()
        if text not in values:
            raise ValueError(text)
        return text

    return Kind(parse=parse, allowed=f"one of {', '.join(values)}", metavar="|".join(values))


def switch() -> Kind:
    def parse(text: str) -> bool:
        return {"true": True, "false": False}[text.strip().lower()]

    return Kind(parse=parse, allowed="true or false", metavar="true|false")


def _parse_models(text: str) -> str:
    """The store's address: an S3 prefix always ends in "/"; a folder is made absolute."""
    _refuse_controls(text)
    if _S3.fullmatch(text):
        return text if text.count("/") > 2 and text.endswith("/") else text + "/"
    if "://" in text:
        raise ValueError(text)
    return str(Path(text).expanduser().absolute())


def _parse_folder(text: str) -> Path:
    _refuse_controls(text)
    return Path(text).expanduser().absolute()


def _parse_globals(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        _match(_GLOBAL, name)
    return names


def _parse_media(text: str) -> str:
    return _match(_MEDIA, text.strip())


def _match(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _refuse_controls(text: str) -> None:
    if not text.isprintable():
        raise ValueError(text)


def _within(value: T, low: T, high: T) -> T:
    if not low <= value <= high:
        raise ValueError(value)
    return value


MODELS = Kind(
    parse=_parse_models,
    allowed="s3://bucket/prefix/ (a bucket: 3 to 63 of a-z, 0-9, '-' and '.') or a local folder",
    metavar="URL|DIR",
)
ENDPOINT = Kind(
    parse=lambda text: _match(_ENDPOINT, text.strip()).rstrip("/"),
    allowed="http://host:port or https://host:port, without path or user",
    metavar="URL",
)
HOST = Kind(
    parse=lambda text: _match(_HOST, text.strip()),
    allowed="an address or host name to listen on, such as 0.0.0.0 or ::",
    metavar="ADDRESS",
)
FOLDER = Kind(parse=_parse_folder, allowed="a folder", metavar="DIR")
GLOBALS = Kind(
    parse=_parse_globals,
    allowed="exact names separated by commas, such as pkg.mod:Name,pkg.mod:Other",
    metavar="NAMES",
)
MEDIA = Kind(parse=_parse_media, allowed="a media type such as text/csv", metavar="TYPE")
