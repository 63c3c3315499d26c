"""Environments of other versions: the old scikit-learn that ``make tests`` builds, and fakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mms.fleet.environment import SETTINGS
from tests.support.server import ROOT

OLD = Path(sys.prefix, "envs", "scikit-learn-1.2")
OLD_VERSION = "1.2.2"

needs_old = pytest.mark.skipif(
    sys.version_info >= (3, 12) and not OLD.exists(),
    reason="no Python 3.11 here, with which its wheels end",
)


def fit_old_models(folder: Path) -> dict[str, Any]:
    """Have the old scikit-learn save its models in ``folder``; what it answered itself."""
    script = ROOT / "tests" / "support" / "fit_old_models.py"
    folder.mkdir(parents=True)
    python = OLD / "bin" / "python"
    assert python.exists(), "there is no environment with an old scikit-learn: run make tests once"
    environ = {**os.environ, **SETTINGS}
    environ.pop("PYTHONPATH", None)
    subprocess.run([python, script, folder], check=True, env=environ, cwd=folder)
    return dict(json.loads((folder / "answers.json").read_text()))


def fake_environment(folder: Path, *, script: str = "exit 1", **versions: str) -> Path:
    """What looks like an environment with these versions; its python is a shell script."""
    library = folder / "lib" / "python3.11" / "site-packages"
    library.mkdir(parents=True)
    for name, version in {"numpy": "1.26.4", **versions}.items():
        (library / f"{name}-{version}.dist-info").mkdir()
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (folder / "pyvenv.cfg").write_text("version = 3.11.7\n")
    return folder
