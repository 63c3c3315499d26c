"""What a scan's worker makes of a model's answer to made-up values."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from mms.worker.scanning import load_model
from tests.support.odd_models import Quotes, WantsFour


def found(folder: Path, model: Any, **code: str) -> dict[str, Any]:
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    for name, text in code.items():
        (folder / "code").mkdir(exist_ok=True)
        (folder / "code" / f"{name}.py").write_text(text)
    return load_model(folder, {"trusted": True, "measure": True}).signature


def test_a_guess_that_fails_is_no_failure_of_the_model(tmp_path: Path) -> None:
    """How many columns it takes isn't told, so what it says to one is shown and not held to it."""
    verdict = found(tmp_path, WantsFour())
    assert verdict["status"] == "serves"
    assert "feature 1" in verdict["probe"]


def test_a_model_that_fails_on_what_it_asks_for_fails(tmp_path: Path) -> None:
    """It says that it has two columns, and was sent two."""
    verdict = found(tmp_path, Quotes())
    assert verdict["status"] == "fails"
    assert "no good: [[0, 0]]" in verdict["message"]


@pytest.mark.parametrize("code", ["", "def input_fn(data, content_type): return [[1, 2, 3, 4]]"])
def test_a_script_is_asked_with_a_bare_array(code: str, tmp_path: Path) -> None:
    """Which is what AWS's own ``input_fn`` reads, where a script has none."""
    write = f"def predict_fn(rows, model): return 7\n{code}\n"
    assert found(tmp_path, WantsFour(), inference=write)["probe"] == "ok"


def _identity(path: Path, shape: list[int]) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "says"),
    [([1, 4], "ok"), ([1, 50, 50_000], "not tried"), ([50_000, 50_000, 50_000], "not tried")],
)
def test_a_probe_is_made_up_only_within_bounds(shape: list[int], says: str, tmp_path: Path) -> None:
    """A few bytes of a model would ask for any number of values."""
    _identity(tmp_path / "model.onnx", shape)
    finding = load_model(tmp_path, {"measure": True})
    assert finding.signature["status"] == "serves"
    assert str(finding.signature["probe"]).startswith(says)
