"""Scripts that take their tools from SageMaker's toolkits run without them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loaders.scripts import toolkit
from loaders.scripts.errors import ScriptError, Unreadable, Unwritable
from tests.loaders.scripts.artifacts import ask, loaded, script

CSV = "text/csv"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith(("sagemaker_", "mms_code_")):
            del sys.modules[name]


def test_the_scikit_learn_pipeline_example(tmp_path: Path) -> None:
    """AWS's own featurizer: imports for training too, and a response object."""
    body = (
        "import json\n"
        "from sagemaker_containers.beta.framework import (\n"
        "    content_types, encoders, env, modules, transformer, worker)\n"
        "def input_fn(data, kind): return encoders.decode(data, kind)\n"
        "def predict_fn(data, model): return data * 2\n"
        "def output_fn(prediction, accept):\n"
        " if accept == 'application/json':\n"
        "  rows = [{'features': row} for row in prediction.tolist()]\n"
        "  return worker.Response(json.dumps({'instances': rows}), accept, mimetype=accept)\n"
        " return worker.Response(encoders.encode(prediction, accept), accept, mimetype=accept)\n"
    )
    model = loaded(tmp_path, script(body))
    assert ask(model, "1,2\n3,4", CSV) == {
        "instances": [{"features": [2, 4]}, {"features": [6, 8]}]
    }
    assert ask(model, "[[1.5]]", accept=CSV) == (b"3.0\n", CSV)
    with pytest.raises(Unreadable, match="image/png"):
        ask(model, b"", "image/png")
    with pytest.raises(Unwritable, match="image/png"):
        ask(model, "[[1]]", accept="image/png")


def test_the_inference_toolkits_names(tmp_path: Path) -> None:
    body = (
        "import sagemaker_inference.errors\n"
        "from sagemaker_inference import content_types, decoder, encoder\n"
        "from sagemaker_inference.default_inference_handler import DefaultInferenceHandler\n"
        "class Own(DefaultInferenceHandler): pass\n"
        "def transform_fn(model, data, kind, accept):\n"
        " if kind not in content_types.UTF8_TYPES:\n"
        "  raise sagemaker_inference.errors.GenericInferenceToolkitError(400, 'texts only')\n"
        " return Own().default_output_fn(decoder.decode(data, kind), accept)\n"
    )
    model = loaded(tmp_path, script(body))
    assert ask(model, "[1, 2]") == [1, 2]
    with pytest.raises(Exception, match="texts only") as caught:
        ask(model, b"x", "image/png")
    assert vars(caught.value)["status_code"] == 400


def test_a_response_with_a_status_is_an_error(tmp_path: Path) -> None:
    body = (
        "from sagemaker_containers.beta.framework import worker\n"
        "def predict_fn(data, model): return data\n"
        "def output_fn(p, accept): return worker.Response('too many', accept, status=413)"
    )
    with pytest.raises(ScriptError, match="too many"):
        ask(loaded(tmp_path, script(body)))


def test_an_installed_toolkit_is_left_alone(tmp_path: Path) -> None:
    """Even one of the model's own: it brought it along."""
    body = (
        "import sagemaker_inference\ndef predict_fn(data, model): return sagemaker_inference.NAME"
    )
    files = script(body, sagemaker_inference="NAME = 'own'")
    assert ask(loaded(tmp_path, files)) == "own"
    assert "sagemaker_inference.decoder" not in sys.modules


def test_who_comes_second_finds_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that import a toolkit for the first time: neither sees half of it."""
    half, second_is_done = threading.Event(), threading.Event()
    add = toolkit._add

    def slow(name: str, members: dict[str, Any]) -> None:
        add(name, members)
        if not half.is_set():
            half.set()
            second_is_done.wait(0.1)

    monkeypatch.setattr(toolkit, "_add", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(toolkit.provide, "sagemaker_inference")
        half.wait()
        toolkit.provide("sagemaker_inference")
        second_is_done.set()
        assert "sagemaker_inference.default_inference_handler" in sys.modules
        first.result()
