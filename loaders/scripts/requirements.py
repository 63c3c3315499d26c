"""``code/requirements.txt``: what a script needs, held against what is installed here.

Nothing is ever installed. What is unmet is named with what is here instead; lines that say where
to get something from, and not what, can't be checked and are named apart. Reads metadata only, so
it may run on artifacts that nobody trusts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

from loaders.base import LoadError

NAME: Final = "requirements.txt"
_MAX_BYTES: Final = 1 << 20  # of all files together
_MAX_LINES: Final = 2_000  # the same
_MAX_CHARACTERS: Final = 1 << 17  # the same, without comments and hashes
_MAX_LINE: Final = 2_000
_SHOWN: Final = 100
_LISTED: Final = 10

# Other builds of one library, and the name under which many ask for scikit-learn.
_SAME: Final = {
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost-cpu",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino"),
    "onnxruntime-gpu": ("onnxruntime",),
    "opencv-python": ("opencv-python-headless",),
    "psycopg2": ("psycopg2-binary",),
    "tensorflow": ("tensorflow-cpu",),
}
_INDEX_OPTIONS: Final = (  # where pip would look, which nobody does here
    "-i", "--index-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--pre",
    "--prefer-binary", "--only-binary", "--no-binary", "--trusted-host", "--require-hashes",
)  # fmt: skip


class Checked(NamedTuple):
    unmet: list[str]
    unchecked: list[str]


def unmet(code: Path) -> list[str]:
    """What the ``requirements.txt`` of a code folder asks for and isn't here, one text each."""
    return check(code).unmet


def check(code: Path) -> Checked:
    """Look at a code folder's requirements; without a file nothing is asked for."""
    found = Checked([], [])
    for line in _all_lines(code):
        try:
            problem = _problem(line)
        except (ValueError, RecursionError):
            found.unchecked.append(ascii(_shown(line))[1:-1])
            continue
        if problem:
            found.unmet.append(problem)
    return found


def listed(unmet: Sequence[str]) -> str:
    """The beginning of a message: as many as one reads."""
    more = f"; and {len(unmet) - _LISTED} more" if len(unmet) > _LISTED else ""
    return f"code/{NAME} needs {'; '.join(unmet[:_LISTED])}{more}"


# --- Files ---


def _all_lines(code: Path) -> Iterator[str]:
    """Those that ask for a package, of every file once; LoadError where there is no end of them."""
    files = [code / NAME] if (code / NAME).is_file() else []
    seen: set[Path] = set()
    room, count, size = _MAX_BYTES, 0, 0
    while files:
        path = files.pop()
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        with path.open("rb") as file:
            data = file.read(room + 1)
        lines = _lines(data)
        room, count, size = room - len(data), count + len(lines), size + sum(map(len, lines))
        if room < 0 or count > _MAX_LINES or size > _MAX_CHARACTERS:
            raise LoadError(f"code/{NAME} is too long to be one")
        for line in filter(None, lines):
            other = _included(line, path, code)
            if other is not None:
                files.append(other)
            elif line.split(None, 1)[0].partition("=")[0] not in _INDEX_OPTIONS:
                yield line


def _lines(data: bytes) -> list[str]:
    """Without comments, hashes and line breaks."""
    text = data.decode("utf-8-sig", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    return [_stripped(line) for line in text.splitlines()]


def _stripped(line: str) -> str:
    line = line.strip()
    if line.startswith("#"):
        return ""
    return line.partition(" #")[0].partition("\t#")[0].partition(" --")[0].strip()


def _included(line: str, path: Path, code: Path) -> Path | None:
    """The file of the same folder that a line asks for."""
    words = line.split(None, 1)
    if words[0] not in {"-r", "--requirement"} or len(words) < 2:
        return None
    try:
        other = (path.parent / words[1]).resolve()
        return other if other.is_relative_to(code.resolve()) and other.is_file() else None
    except (OSError, RuntimeError, ValueError):  # no name for a file, or a circle of links
        return None


# --- Lines ---


def _problem(line: str) -> str:
    """What is wrong with what is here, "" if nothing is; ValueError where a line can't be read."""
    # Few artifacts ask for anything: the others' start needn't wait for it.
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if len(line) > _MAX_LINE:
        raise ValueError("too long to be one")
    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return ""
    name = canonicalize_name(wanted.name)
    here = [v for n in (name, *_SAME.get(name, ())) if (v := _installed(n)) is not None]
    asked = _shown(f"{wanted.name}{wanted.specifier}")
    if not here:
        return f"{asked}, which isn't installed here"
    if not wanted.specifier or any(wanted.specifier.contains(v, prereleases=True) for v in here):
        return ""  # what is installed may well be a pre-release
    return f"{asked}, and {here[0]} is installed here"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
