"""``code/requirements.txt``: what a script needs, held against what is installed here.

Nothing is ever installed. What is unmet is named with what is here instead; lines that say where
to get something from, and not what, can't be checked and are named apart. Reads metadata only, so
it may run on artifacts that nobody trusts.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

from loaders.base import LoadError
from loaders.scripts.pep440 import meets
from loaders.scripts.pep508 import Requirement, normal_name, parse_requirement

NAME: Final = "requirements.txt"
_MAX_BYTES: Final = 1 << 20
_MAX_LINES: Final = 2_000
_MAX_NESTED: Final = 5  # files that ask for files
_SHOWN: Final = 100

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
    if (code / NAME).is_file():
        _check_file(code, code / NAME, found, _MAX_NESTED)
    return found


def _check_file(code: Path, path: Path, found: Checked, nested: int) -> None:
    for line in _lines(path):
        words = line.split(None, 1)
        option = words[0].partition("=")[0]
        if option in {"-r", "--requirement"} and nested and len(words) == 2:
            other = (path.parent / words[1].strip()).resolve()
            if other.is_relative_to(code.resolve()) and other.is_file():
                _check_file(code, other, found, nested - 1)
                continue
        if option not in _INDEX_OPTIONS:
            _check_line(line, found)


def _lines(path: Path) -> list[str]:
    """Without comments, hashes and line breaks; raises LoadError where there is no end of them."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    text = data.decode("utf-8-sig", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    lines = [_stripped(line) for line in text.splitlines()]
    if len(data) > _MAX_BYTES or len(lines) > _MAX_LINES:
        raise LoadError(f"code/{NAME} is too long to be one")
    return [line for line in lines if line]


def _stripped(line: str) -> str:
    line = line.strip()
    if line.startswith("#"):
        return ""
    return line.partition(" #")[0].partition("\t#")[0].partition(" --")[0].strip()


def _check_line(line: str, found: Checked) -> None:
    shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
    try:
        wanted = parse_requirement(line)
    except ValueError:
        found.unchecked.append(ascii(shown)[1:-1])
        return
    problem = _problem(wanted) if wanted.is_meant else ""
    if problem:
        found.unmet.append(problem)


def _problem(wanted: Requirement) -> str:
    """What is wrong with what is here; "" if nothing is."""
    asked = wanted.name + wanted.versions.replace(" ", "")
    name = normal_name(wanted.name)
    here = [v for n in (name, *_SAME.get(name, ())) if (v := _installed(n)) is not None]
    if not here:
        return f"{asked}, which isn't installed here"
    try:
        if any(meets(installed, wanted.versions) for installed in here):
            return ""
    except ValueError:  # what is installed has a version that is none
        pass
    return f"{asked}, and {here[0]} is installed here"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
