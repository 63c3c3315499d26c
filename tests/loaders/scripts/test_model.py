"""Which functions of a script are called with what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from loaders.base import InputError
from loaders.scripts.errors import Unreadable, Unwritable
from loaders.scripts.model import ScriptModel
from tests.loaders.scripts.artifacts import CSV, ECHO, JSON, MODEL_FN, ask, dumped, loaded, script


def test_a_model_fn_is_all_a_script_needs(tmp_path: Path) -> None:
    """AWS's own example: the model answers as in this process, in float32 as there."""
    rows, labels = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    served = loaded(tmp_path, {"code/inference.py": MODEL_FN, "model.joblib": dumped(model)})
    assert (served.format, served.batchable) == ("script", False)
    expected = model.predict(rows.astype(np.float32)).tolist()
    assert ask(served, json.dumps(rows.tolist())) == expected


def test_four_functions_are_called_in_order_with_what_they_take(tmp_path: Path) -> None:
    body = (
        "import os\n"
        "def model_fn(model_dir): return os.path.basename(model_dir)\n"
        "def input_fn(data, content_type): return [data, content_type]\n"
        "def predict_fn(data, model): return [*data, model]\n"
        "def output_fn(prediction, accept): return '|'.join([*prediction, accept]), 'text/x'\n"
    )
    model = loaded(tmp_path / "m", {"code/inference.py": body})
    answer = model.answer_raw("body", CSV, "image/png", {})
    assert answer == (b"body|text/csv|m|image/png", "text/x")


def test_transform_fn_does_it_all(tmp_path: Path) -> None:
    body = "def transform_fn(model, data, kind, accept): return f'{model} {data} {kind}', accept"
    model = loaded(tmp_path, script(body))
    assert model.answer_raw("x", CSV, "a/b", {}) == (b"None x text/csv", "a/b")


def test_the_context_is_passed_to_functions_that_take_one_more(tmp_path: Path) -> None:
    """By the number of arguments, as in the toolkits; a default value doesn't keep it away."""
    body = (
        "def model_fn(model_dir, context):\n"
        " assert context.model_dir == model_dir == context.system_properties['model_dir']\n"
        " assert context.system_properties['gpu_id'] is None\n"
        " return context.custom_attributes\n"
        "def input_fn(data, content_type, context=None):\n"
        " assert context.get_request_header(0, 'content-TYPE') == 'text/csv; charset=x'\n"
        " assert context.request_processor[0].get_request_properties()['Accept'] == '*/*'\n"
        " return context.custom_attributes\n"
        "def predict_fn(data, model, *others): return [data, model, len(others)]\n"
        "def output_fn(prediction, accept, ctx):\n"
        " ctx.set_response_content_type(0, 'application/x-own')\n"
        " return repr(prediction)"
    )
    model = loaded(tmp_path, {"code/inference.py": body})
    headers = {
        "Content-Type": "text/csv; charset=x",
        "Accept": "*/*",
        "X-Amzn-SageMaker-Custom-Attributes": "a=1",
    }
    answer = model.answer_raw("", CSV, JSON, headers)
    assert answer == (b"['a=1', '', 0]", "application/x-own")


def test_the_toolkits_hooks_around_model_fn_are_called(tmp_path: Path) -> None:
    body = (
        "seen = []\n"
        "def pre_model_fn(d): seen.append('pre')\n"
        "def model_fn(d): seen.append('model')\n"
        "def model_warmup_fn(d, model): seen.append('warm')\n"
        "def predict_fn(data, model): return seen\n"
    )
    assert ask(loaded(tmp_path, {"code/inference.py": body})) == ["pre", "model", "warm"]


def test_a_scripts_own_error_of_that_name_counts_too(tmp_path: Path) -> None:
    """The toolkits' UnsupportedFormatError needs no toolkit."""
    body = (
        "class UnsupportedFormatError(Exception): pass\n"
        "def input_fn(data, kind):\n if kind != 'text/csv': raise UnsupportedFormatError(kind)\n"
        "def predict_fn(data, model): return 1\n"
        "def output_fn(data, accept): raise UnsupportedFormatError(accept)"
    )
    model = loaded(tmp_path, script(body))
    with pytest.raises(Unreadable):
        ask(model)
    with pytest.raises(Unwritable):
        ask(model, kind=CSV)


def test_it_is_no_table_model(tmp_path: Path) -> None:
    """Rows don't reach it but through its script."""
    model = loaded(tmp_path, script(ECHO))
    assert isinstance(model, ScriptModel)
    with pytest.raises(InputError, match="its own script"):
        model.prepare(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="its own script"):
        model.run("predict", None)  # type: ignore[arg-type]
