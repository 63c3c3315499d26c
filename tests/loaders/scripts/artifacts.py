"""Artifacts with scripts, and asking them, as the tests of handlers have it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib

from loaders.base import LoadOptions
from loaders.load import load_model
from loaders.scripts.model import ScriptModel

JSON = "application/json"
CSV = "text/csv"
ECHO = "def predict_fn(data, model): return data\n"
MODEL_FN = (
    "import joblib, os\n"
    "def model_fn(model_dir): return joblib.load(os.path.join(model_dir, 'model.joblib'))\n"
)


def artifact(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """The files below ``folder``, by their paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def loaded(folder: Path, files: Mapping[str, Any], **options: Any) -> ScriptModel:
    """The model of an artifact with these files, in a trusted prefix."""
    artifact(folder, files)
    model = load_model(folder, LoadOptions(trusted=True, **options))
    assert isinstance(model, ScriptModel)
    return model


def script(body: str, **others: str) -> dict[str, str]:
    """Files of an artifact whose ``inference.py`` has a ``model_fn`` and this; others by stem."""
    files = {f"code/{name}.py": text for name, text in others.items()}
    return {"code/inference.py": f"def model_fn(d): return None\n{body}", **files}


def ask(model: ScriptModel, body: bytes | str = "[1]", kind: str = JSON, accept: str = JSON) -> Any:
    """The answer to one request, read if it is JSON."""
    answer, content_type = model.answer_raw(body, kind, accept, {})
    return json.loads(answer) if content_type == JSON else (answer, content_type)


def dumped(model: Any) -> bytes:
    """A model as joblib saves it."""
    out = io.BytesIO()
    joblib.dump(model, out)
    return out.getvalue()
