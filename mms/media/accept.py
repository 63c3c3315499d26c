"""Content negotiation: which of the types that can be had an Accept header welcomes most.

RFC 9110, 12.5.1, with its gaps filled: the highest q wins. Among equals a type that is named wins
over one that a wildcard covers, then what stands first in the header; among those that one
wildcard covers the default, then the order of the offer. Parameters other than q are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mms.errors import NotAcceptable, ValidationError
from mms.media import JSON
from mms.media.syntax import TYPE, parameters, shown

_SEPARATOR = re.compile(r"[ \t,]*+")
_QVALUE = re.compile(r"0(?:\.\d*)?|\.\d+|1(?:\.0*)?")


@dataclass(frozen=True, slots=True)
class _Range:
    """One media range of an Accept header, the ``place``-th."""

    name: str
    q: float
    place: int

    @property
    def specificity(self) -> int:
        return 2 - (self.name.count("*") if self.name.endswith("/*") else 0)

    def matches(self, media_type: str) -> bool:
        if self.specificity == 2:
            return self.name == media_type
        return self.name == "*/*" or media_type.startswith(self.name[:-1])


def negotiate(
    accept: str, offered: Sequence[str], default_accept: str, *, also: Sequence[str] = ()
) -> str:
    """The type of the answer, one of ``offered``; ``default_accept`` "" is the first of them.

    ``also`` can be had by those who name it, but nobody is told of it.
    """
    ranges = _ranges(accept) or [_Range("*/*", 1.0, 0)]
    default = default_accept.partition(";")[0].strip().lower() or offered[0]
    best: tuple[tuple[float, int, int], str] | None = None
    named = (*offered, *also)
    for name in sorted(named, key=lambda name: name != default):  # stable: the default first
        if (rank := _rank(name, ranges)) and (best is None or rank > best[0]):
            best = rank, name
    if best is None:
        raise NotAcceptable(
            f"Accept {shown(accept)} allows none of what can be had: {', '.join(offered)}"
        )
    if best[0][1] == 0 and default not in named:
        raise NotAcceptable(
            f"The server's default answer type {shown(default)} can't be written: "
            f"send Accept with one of {', '.join(offered)}"
        )
    return best[1]


def wanted(accept: str, default_accept: str) -> str:
    """The plain type that is most welcome, whether or not the table has it.

    The default where that is none by name, or where the header can't be read.
    """
    default = default_accept.partition(";")[0].strip().lower() or JSON
    try:
        ranges = _ranges(accept)
    except ValidationError:
        return default
    best = max(ranges, key=lambda r: (r.q, r.specificity, -r.place), default=None)
    return best.name if best and best.q > 0 and best.specificity == 2 else default


def _rank(name: str, ranges: list[_Range]) -> tuple[float, int, int] | None:
    """How welcome a type is: by the most specific range that matches it; None if not at all."""
    fitting = [r for r in ranges if r.matches(name)]
    if not fitting:
        return None
    closest = max(fitting, key=lambda r: (r.specificity, -r.place))
    return (closest.q, closest.specificity, -closest.place) if closest.q > 0 else None


def _ranges(text: str) -> list[_Range]:
    ranges: list[_Range] = []
    at = _skip(text, 0)
    while at < len(text):
        match = TYPE.match(text, at)
        params, end = parameters(text, match.end()) if match else ([], at)
        if match is None or (end < len(text) and text[end] != ","):
            raise ValidationError(f"Accept {shown(text)} can't be read at character {end + 1}")
        name = "*/*" if match[1] == "*" else match[1].lower()  # Java's old clients send a bare *
        ranges.append(_Range(name, _quality(dict(params).get("q", "1")), len(ranges)))
        at = _skip(text, end)
    return ranges


def _skip(text: str, at: int) -> int:
    match = _SEPARATOR.match(text, at)
    return match.end() if match else at


def _quality(text: str) -> float:
    if not _QVALUE.fullmatch(text):
        raise ValidationError(f"q={shown(text)} in Accept: use a number from 0 to 1")
    return float(text)
