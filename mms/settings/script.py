"""SageMaker's own two settings about scripts: which one, and where one for all models is.

``SAGEMAKER_PROGRAM`` is a file in ``code/``. ``SAGEMAKER_SUBMIT_DIRECTORY`` is a folder of this
machine; unset, or at the model's own ``code/`` where SageMaker's SDK puts it, a multi-model
container looks where AWS's look. A folder that could never be used stops the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mms.settings.errors import SettingError

PROGRAM = "SAGEMAKER_PROGRAM"
SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"
_DEFAULT = "inference.py"
_PROGRAM = re.compile(r"(?:[^\W\d]\w*/)*[^\W\d]\w*\.py")


def program(environ: Mapping[str, str]) -> str:
    """The script's path inside ``code/``; as in the toolkits, ".py" may be left out."""
    given = environ.get(PROGRAM, "")
    text = given.strip().removeprefix("./") or _DEFAULT
    text = text if text.endswith(".py") else f"{text}.py"
    if not _PROGRAM.fullmatch(text):
        raise SettingError(PROGRAM, given, "must be a Python file in code/, such as inference.py")
    return text


def shared_code(
    environ: Mapping[str, str], mode: str, base: Path, script: str, *, trust: str
) -> Path | None:
    """The folder with a script for all models, if there is one."""
    text = environ.get(SUBMIT_DIRECTORY, "").strip()
    if "://" in text:
        raise SettingError(
            SUBMIT_DIRECTORY,
            text,
            "only a folder of this machine can be used, nothing is fetched: put code/ into the "
            "models' archives, or name a folder",
        )
    if text in {"", str(base / "model" / "code")}:
        folder, is_asked = base / "models" / "code", False
        if mode != "multi":  # a single model's code/ is its own; other prefixes have no such place
            return None
    else:
        folder, is_asked = Path(text), True
        if not folder.is_absolute() or not text.isprintable():
            raise SettingError(SUBMIT_DIRECTORY, text, "must be an absolute path")
    if (folder / script).is_file():
        return _trusted(folder, text or str(folder), trust)
    if is_asked:
        what = f"has no {script}: set {PROGRAM}" if folder.is_dir() else "there is no such folder"
        raise SettingError(SUBMIT_DIRECTORY, text, what)
    return None


def _trusted(folder: Path, text: str, trust: str) -> Path:
    if trust != "all":
        raise SettingError(
            SUBMIT_DIRECTORY,
            text,
            "its script runs only where the models are trusted: set MMS_TRUST=all",
        )
    return folder
