"""What a scan's worker makes of a model's answer to made-up values."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

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
