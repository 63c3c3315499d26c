"""One line of ``requirements.txt``: which package, which versions, and whether it is meant here.

As PEP 508 has it, read with tolerance. Own, since an older environment need not have
``packaging``. Pure but for what Python and machine this is; what can't be read is a ValueError.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from loaders.scripts.pep440 import check_specifier, meets

_REQUIREMENT: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"(?:@\s*(?P<url>[^\s;]+)|\(?(?P<versions>[^;()@]*)\)?)\s*(?:;(?P<marker>.*))?"
)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<word>[A-Za-z_.]+)"
    r"|(?P<operator>===|~=|==|!=|<=|>=|<|>|\(|\)))\s*"
)
_MAX_DEPTH: Final = 50


class Requirement(NamedTuple):
    name: str
    versions: str  # a specifier, "" for any
    url: str  # "" where it comes by name
    is_meant: bool  # by its marker, for this Python and machine


def parse_requirement(line: str) -> Requirement:
    match = _REQUIREMENT.fullmatch(line.strip())
    if match is None:
        raise ValueError(line)
    versions, marker = (match["versions"] or "").strip(), match["marker"]
    check_specifier(versions)
    return Requirement(
        name=match["name"],
        versions=versions,
        url=match["url"] or "",
        is_meant=holds(marker) if marker and marker.strip() else True,
    )


def normal_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Markers ---


def _environment() -> dict[str, str]:
    return {
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "extra": "",
    }


def holds(marker: str) -> bool:
    """Whether an environment marker is true here."""
    return _Marker(marker).value()


class _Marker:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._environment = _environment()

    def value(self) -> bool:
        found = self._any()
        if self._at != len(self._tokens):
            raise ValueError(self._tokens[self._at])
        return found

    def _any(self) -> bool:
        found = self._all()
        while self._take("or"):
            found = self._all() or found
        return found

    def _all(self) -> bool:
        found = self._one()
        while self._take("and"):
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if not self._take("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("too deep")
        found = self._any()
        self._depth -= 1
        if not self._take(")"):
            raise ValueError("no closing parenthesis")
        return found

    def _comparison(self) -> bool:
        (left, left_is_name), operator = self._operand(), self._operator()
        right, right_is_name = self._operand()
        if left_is_name == right_is_name:
            raise ValueError("a marker compares a name with a text")
        return _compare(left, operator, right)

    def _operand(self) -> tuple[str, bool]:
        token = self._next()
        if token[0] in "'\"":
            return token[1:-1], False
        name = token.replace(".", "_")
        if name == "python_implementation":
            name = "platform_python_implementation"
        if name not in self._environment:
            raise ValueError(token)
        return self._environment[name], True

    def _operator(self) -> str:
        word = self._next()
        if word == "not":
            if not self._take("in"):
                raise ValueError(word)
            return "not in"
        if word not in {"in", "~=", "===", *_COMPARISONS}:
            raise ValueError(word)
        return word

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise ValueError("a marker that is cut short")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at] == token
        self._at += found
        return found


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(text[at:])
        found.append(match.group().strip())
        at = match.end()
    return found


_COMPARISONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _compare(left: str, operator: str, right: str) -> bool:
    if operator == "in":
        return left in right
    if operator == "not in":
        return left not in right
    try:
        return meets(left, operator + right)
    except ValueError:  # no versions: texts
        if operator not in _COMPARISONS:
            raise
        return _COMPARISONS[operator](left, right)
