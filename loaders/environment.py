"""Whether a model may be loaded by the libraries that are installed here, or where else.

A pickle, or a skops file, holds the insides of a library's objects, which change between its
releases: loaded by another release it fails, now or at the first predict, or worse answers
differently. This decides, before a load, from the versions that the artifact was saved by: here,
here with a warning, in another environment, or not at all. Pure but for what is installed; loads
nothing, starts nothing.
"""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from loaders.base import Environment, LoadError

_LOG: Final = logging.getLogger("mms.loaders")
_NUMBERS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}")
_MINORS: Final = frozenset({"scikit-learn"})
"""What breaks its own pickles from one minor version to the next; others do so at a major one."""
_NOUNS: Final = {"python": "Python"}
OBJECTS: Final = frozenset({"sklearn", "skops"})
"""Formats that hold objects as they were in memory."""


class OtherEnvironment(Exception):
    """The model is to be loaded in the environment of that ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Verdict:
    """Where to load: ``environment`` is a name, or ``None`` for here; or not, if ``refused``."""

    environment: str | None = None
    refused: bool = False
    mismatched: tuple[str, ...] = ()  # the distributions that don't fit here


def demand_fit(
    needs: Mapping[str, str], policy: str, environments: Iterable[Environment] = ()
) -> None:
    """Return where the model may be loaded here; raises OtherEnvironment, LoadError.

    A mismatch that the policy lets pass is one line in the log.
    """
    here = {name: installed(name) for name in needs}
    verdict = decide(needs, here, policy, environments)
    if verdict.environment is not None:
        raise OtherEnvironment(verdict.environment)
    if verdict.refused:
        raise LoadError(
            refusal(needs, here, verdict.mismatched, policy),
            needs=_wanted_list(needs, verdict.mismatched, policy),
        )
    if verdict.mismatched:
        fields = {"saved_by": _list(needs, verdict.mismatched)}
        fields["installed"] = _list(here, verdict.mismatched)
        _LOG.warning("model saved by other versions than are installed", extra=fields)


def decide(
    needs: Mapping[str, str],
    here: Mapping[str, str | None],
    policy: str,
    environments: Iterable[Environment] = (),
) -> Verdict:
    """What ``policy`` (``exact``, ``compatible``, ``warn``, ``off``) makes of it."""
    if policy == "off":
        return Verdict()
    mismatched = _mismatched(needs, here, policy)
    if not mismatched:
        return Verdict()
    fitting = [e for e in environments if not _mismatched(needs, e.versions, policy)]
    if fitting:
        best = max(fitting, key=lambda environment: _rank(needs, environment))
        return Verdict(environment=best.name, mismatched=mismatched)
    return Verdict(refused=policy != "warn", mismatched=mismatched)


def relevant(versions: Mapping[str, str], kind: str) -> dict[str, str]:
    """Those of an artifact's versions that a model of this format depends on.

    All of them for objects as they were in memory. A format of its own is read by whatever release
    of its framework can read it, wherever the model was trained.
    """
    return dict(versions) if kind in OBJECTS else {}


@cache
def installed(name: str) -> str | None:
    """The version of a distribution here; ``None`` where there is none."""
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):  # ValueError: a name that can't be one
        return None


def refusal(
    needs: Mapping[str, str],
    here: Mapping[str, str | None],
    mismatched: tuple[str, ...],
    policy: str,
) -> str:
    """Why a model is not loaded: what it was saved by, what is here, and the ways out."""
    wanted = _wanted_list(needs, mismatched, policy)
    only = here.get(mismatched[0]) if len(mismatched) == 1 else None
    has = _list(here, mismatched) if only is None else _printable(only)
    return (
        f"the model was saved by {_list(needs, mismatched)}, this server has {has}: load it in an "
        f"environment with {wanted} (MMS_ENVS), re-save it, or set MMS_ENV_MATCH=warn"
    )


def _mismatched(
    needs: Mapping[str, str], have: Mapping[str, str | None], policy: str
) -> tuple[str, ...]:
    return tuple(n for n in sorted(needs) if not _fits(n, needs[n], have.get(n), policy))


def _fits(name: str, need: str, have: str | None, policy: str) -> bool:
    if have is None:
        return False
    if need == have:
        return True
    if policy == "exact":
        return name == "python" and have.startswith(f"{need}.")
    count = 2 if name in _MINORS else 1
    return bool(_numbers(need)) and _numbers(need)[:count] == _numbers(have)[:count]


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version: ``1.2.2rc1`` is (1, 2, 2), what is no version is ()."""
    found = _NUMBERS.match(text.strip())
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _rank(needs: Mapping[str, str], environment: Environment) -> tuple[int, tuple[int, ...]]:
    """The most versions that are equal, then the newest: fixes come with the later patches."""
    equal = sum(environment.versions.get(name) == need for name, need in needs.items())
    newest: tuple[int, ...] = ()
    for name in sorted(needs, key=lambda n: (n != "scikit-learn", n)):
        newest += _numbers(environment.versions.get(name, ""))
    return equal, newest


def _list(versions: Mapping[str, str | None], names: tuple[str, ...]) -> str:
    return " and ".join(_one(name, versions.get(name)) for name in names)


def _one(name: str, text: str | None) -> str:
    return f"no {_noun(name)}" if text is None else f"{_noun(name)} {_printable(text)}"


def _wanted_list(needs: Mapping[str, str], mismatched: tuple[str, ...], policy: str) -> str:
    return " and ".join(f"{_noun(n)} {_wanted(n, needs[n], policy)}" for n in mismatched)


def _wanted(name: str, text: str, policy: str) -> str:
    numbers = _numbers(text)[: 2 if name in _MINORS else 1]
    return _printable(text) if policy == "exact" or not numbers else ".".join(map(str, numbers))


def _noun(name: str) -> str:
    return _NOUNS.get(name, _printable(name))


def _printable(text: str) -> str:
    return text[:40] if text.isprintable() else ascii(text[:40])
