"""The demo's folder: trained models that are kept until a library or the catalogue changes.

Owns the stamp that says what the models were made with, and the process that makes them. A folder
is complete or absent: training writes beside it and a rename puts it in place.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mms.demo.problem import DemoError
from mms.demo.sample import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARIES = (
    "scikit-learn",
    "numpy",
    "pandas",
    "joblib",
    "skl2onnx",
    "onnx",
    "onnxruntime",
    "magika",
)
_SOURCES = ("asking", "data", "filetype", "models", "pack", "sample", "train")
_STAMP = "stamp.json"


def stamp() -> dict[str, str]:
    """What the models depend on; equal stamps, equal models."""
    try:
        made_with = {name: metadata.version(name) for name in _LIBRARIES}
    except metadata.PackageNotFoundError as error:
        raise DemoError(
            f"the package {error.name} is missing: run make demo, or pip install '.[demo]'"
        ) from None
    catalogue = hashlib.sha256()
    for name in _SOURCES:
        catalogue.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return {
        **made_with,
        "python": platform.python_version(),
        "catalogue": catalogue.hexdigest(),
    }


def is_ready(folder: Path, wanted: dict[str, str]) -> bool:
    """Whether the folder holds all models as this stamp says."""
    try:
        found = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == wanted) and all(
        (folder / sample.target).is_file() for sample in read_samples(folder)
    )


class Training:
    """The process that makes the models; leaving the context ends it, finished or not."""

    def __init__(self, folder: Path, wanted: dict[str, str]) -> None:
        self._folder = folder
        self._stamp = wanted
        self._fresh = folder.with_name(folder.name + ".new")
        self._log = folder.with_name("training.log")

    def __enter__(self) -> Self:
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._fresh.mkdir(parents=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mms.demo.train", str(self._fresh)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def progress(self) -> Iterator[str]:
        """A line for each model as it is made; at the end the folder is in place."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            yield f"{news['done']} of {news['total']} models ready: {news['target']}"
        if self._process.wait() != 0:
            raise DemoError(f"training failed: {last_line(self._log)} (all of it: {self._log})")
        (self._fresh / _STAMP).write_text(json.dumps(self._stamp, indent=1), encoding="utf-8")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._fresh.rename(self._folder)


def last_line(log: Path) -> str:
    """What a process said last: for errors that is the one line that matters."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
