"""The virtual environments of ``MMS_ENVS``: which there are, and what is installed in each.

Read from their folders alone: nothing in them is run before a model needs it. One that can't be
used is left out, with a line in the log. One that somebody else could write to stops the start,
since that would be code of theirs in our workers.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms.settings import StartError

_log = logging.getLogger("mms.fleet")

OLDEST: Final = (3, 9)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_CONFIGURED: Final = re.compile(r"^version(?:_info)?\s*=\s*(3\.\d+(?:\.\d+)?)", re.MULTILINE)
_LIBRARY: Final = re.compile(r"python(3\.\d{1,2})")
_INSTALLED: Final = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-/]+)\.dist-info")
_SEPARATORS: Final = re.compile(r"[-_.]+")
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class EnvironmentsError(Exception):
    """``MMS_ENVS`` can't be used: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One environment."""

    name: str
    python: Path
    versions: dict[str, str]  # by distribution name, ``python`` among them


class _Unusable(Exception):
    """Why an environment is left out."""


def find_interpreters(folder: Path | None) -> dict[str, Interpreter]:
    """Those of a setting, which may not be set; raises StartError."""
    if folder is None:
        return {}
    try:
        return scan(folder)
    except EnvironmentsError as error:
        raise StartError(str(error)) from None


def scan(folder: Path) -> dict[str, Interpreter]:
    """The usable environments of a folder, by name; raises EnvironmentsError."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError as error:
        raise EnvironmentsError(
            f"MMS_ENVS={folder}: {error.strerror}: set it to a folder of virtual environments, "
            "or leave it out"
        ) from None
    _demand_private(folder)
    found = {}
    for name in names:
        try:
            found[name] = _look_at(folder / name)
        except (_Unusable, OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            _log.warning("environment left out", extra={"environment": name, "error": why})
        else:
            _log.info("environment found", extra={"environment": name, **_shown(found[name])})
    return found


def _look_at(folder: Path) -> Interpreter:
    if not _NAME.fullmatch(folder.name):
        raise _Unusable("its name may have letters, digits, '.', '_' and '-' only")
    python = folder / "bin" / "python"
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise _Unusable("it has no bin/python that can be run")
    libraries = sorted(folder.glob("lib/python3.*/site-packages"))
    if len(libraries) != 1:
        raise _Unusable(f"it has {len(libraries) or 'no'} folders lib/python3.*/site-packages")
    [library] = libraries
    for private in (folder, python.parent, python.resolve(), library, *_run_at_start(library)):
        _demand_private(private)
    versions = {"python": _python_version(folder, library), **dict(_installed(library))}
    if tuple(map(int, versions["python"].split(".")[:2])) < OLDEST:
        raise _Unusable(f"its Python is {versions['python']}, and 3.9 is the oldest that will do")
    if "numpy" not in versions:
        raise _Unusable("NumPy isn't installed in it")
    return Interpreter(folder.name, python, versions)


def _run_at_start(library: Path) -> Iterator[Path]:
    """The folders on the way to an environment's library, and what Python runs by itself."""
    folder = library.parent.parent.parent
    yield from (library.parent.parent, library.parent)
    started = (folder / "pyvenv.cfg", library / "sitecustomize.py", library / "usercustomize.py")
    yield from (file for file in (*started, *library.glob("*.pth")) if file.exists())


def _demand_private(path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        raise EnvironmentsError(
            f"MMS_ENVS: {path} can be written by others than its owner, and what is in it runs "
            f"here: chmod go-w {path}"
        )


def _python_version(folder: Path, library: Path) -> str:
    """As its pyvenv.cfg has it; Conda has none, but the library's folder tells enough."""
    config = folder / "pyvenv.cfg"
    found = _CONFIGURED.search(config.read_text(encoding="utf-8")) if config.is_file() else None
    found = found or _LIBRARY.fullmatch(library.parent.name)
    if found is None:
        raise _Unusable("it doesn't tell the version of its Python")
    return found[1]


def _installed(library: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(library.iterdir()):
        found = _INSTALLED.fullmatch(entry.name)
        if found is not None:
            yield _SEPARATORS.sub("-", found["name"]).lower(), found["version"]


def _shown(interpreter: Interpreter) -> dict[str, str]:
    shown = {"python": "python", "numpy": "numpy", "scikit-learn": "scikit_learn"}
    has = interpreter.versions
    return {field: has[name] for name, field in shown.items() if name in has}
