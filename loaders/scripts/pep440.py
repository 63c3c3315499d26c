"""Versions of Python packages and what is asked of them, as PEP 440 has it.

Own, since an older environment need not have ``packaging``; a test holds the two against each
other. Pure; a text that is no version or no specifier is a ValueError.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_VERSION: Final = re.compile(
    r"v?(?:(?P<epoch>\d{1,18})!)?(?P<release>\d{1,18}(?:\.\d{1,18}){0,30})"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|a|b|c|rc|pre)[-_.]?(?P<pre_n>\d{0,18}))?"
    r"(?P<post>-(?P<post_short>\d{1,18})|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d{0,18}))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d{0,18}))?"
    r"(?:\+(?P<local>[a-z0-9]{1,64}(?:[-_.][a-z0-9]{1,64}){0,30}))?",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"\s*(===|~=|==|!=|<=|>=|<|>)\s*(\S+?)\s*")
_PHASES: Final = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_LOW: Final = (-1,)
_HIGH: Final = (1,)


class Version(NamedTuple):
    """Compared by ``key``; the rest is for the operators that look at parts."""

    key: tuple[Any, ...]  # without the local part
    local: tuple[Any, ...]
    epoch: int
    release: tuple[int, ...]
    is_pre: bool
    is_post: bool


def parse_version(text: str) -> Version:
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    epoch, release = int(match["epoch"] or 0), tuple(map(int, match["release"].split(".")))
    pre, post, dev = _pre(match), _number(match, "post"), _number(match, "dev")
    if pre is None:
        pre_key: tuple[Any, ...] = _LOW if post is None and dev is not None else _HIGH
    else:
        pre_key = (0, *pre)
    post_key = _LOW if post is None else (0, post)
    dev_key = _HIGH if dev is None else (0, dev)
    return Version(
        key=(epoch, _trimmed(release), pre_key, post_key, dev_key),
        local=_local(match["local"]),
        epoch=epoch,
        release=release,
        is_pre=pre is not None or dev is not None,
        is_post=post is not None,
    )


def _pre(match: re.Match[str]) -> tuple[str, int] | None:
    if not match["pre"]:
        return None
    phase = match["pre"].lower()
    return _PHASES.get(phase, phase), int(match["pre_n"] or 0)


def _number(match: re.Match[str], what: str) -> int | None:
    if match[what] is None:
        return None
    short = match["post_short"] if what == "post" else None
    return int(short or match[f"{what}_n"] or 0)


def _trimmed(release: tuple[int, ...]) -> tuple[int, ...]:
    end = len(release)
    while end > 1 and release[end - 1] == 0:
        end -= 1
    return release[:end]


def _local(text: str | None) -> tuple[Any, ...]:
    parts = re.split(r"[-_.]", text.lower()) if text else []
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)


def check_specifier(text: str) -> None:
    """Raise ValueError unless ``text`` is a specifier, such as ``>=1.2,<2``."""
    meets("1", text)


def meets(version: str, specifier: str) -> bool:
    """Whether a version is what the specifier asks for; what is installed may be a pre-release."""
    given = None
    fits = True
    for clause in filter(None, (part.strip() for part in specifier.split(","))):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise ValueError(clause)
        operator, wanted = match.groups()
        if operator == "===":
            fits &= version.strip().lower() == wanted.lower()
            continue
        given = given or parse_version(version)
        fits &= _fits(given, operator, wanted)
    return fits


def _fits(given: Version, operator: str, text: str) -> bool:
    if text.endswith(".*"):
        if operator not in {"==", "!="}:
            raise ValueError(text)
        return _starts_with(given, parse_version(text[:-2])) == (operator == "==")
    wanted = parse_version(text)
    if operator in {"==", "!="}:
        same = given.key == wanted.key and (not wanted.local or given.local == wanted.local)
        return same == (operator == "==")
    if wanted.local:  # an order among local versions is nothing one can ask for
        raise ValueError(text)
    if operator == "~=":
        if len(wanted.release) < 2:
            raise ValueError(text)
        series = wanted._replace(release=wanted.release[:-1])
        return given.key >= wanted.key and _in_series(given, series)
    if operator == ">=":
        return given.key >= wanted.key
    if operator == "<=":
        return given.key <= wanted.key
    return _strictly(given, operator, wanted)


def _strictly(given: Version, operator: str, wanted: Version) -> bool:
    """``<`` and ``>``, which leave out what is a variant of the version itself."""
    if operator == "<":
        epoch, release, _, post, _ = wanted.key
        first = (epoch, release, _HIGH if wanted.is_post else _LOW, post, (0, 0))
        return given.key < (wanted.key if wanted.is_pre else first)
    is_variant = given.is_post and not wanted.is_post and given.key[:3] == wanted.key[:3]
    return given.key > wanted.key and not is_variant


def _starts_with(given: Version, wanted: Version) -> bool:
    if wanted.is_pre or wanted.is_post or wanted.local:
        # "==1.0rc1.*" is no specifier
        raise ValueError("a version with a suffix and .*")
    return _in_series(given, wanted)


def _in_series(given: Version, series: Version) -> bool:
    count = len(series.release)
    padded = (given.release + (0,) * count)[:count]
    return given.epoch == series.epoch and padded == series.release
