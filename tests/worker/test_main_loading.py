"""What a failed load says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms.errors import InsufficientStorage, ModelLoadError
from mms.worker.loading import describe

PATH = Path("/cache/objects/ab12")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelLoadError("no model inside"), ("ModelLoadError", "no model inside")),
        (InsufficientStorage("too big"), ("InsufficientStorage", "too big")),
        (MemoryError(), ("InsufficientStorage", "out of memory while loading the model")),
        (
            ImportError("No module named 'xgboost'"),
            ("ModelLoadError", "ImportError: No module named 'xgboost'"),
        ),
        (KeyError(), ("ModelLoadError", "KeyError")),
        (ValueError("first\nsecond"), ("ModelLoadError", "ValueError: first")),
        (
            OSError(f"no such file: {PATH}/model.onnx"),
            ("ModelLoadError", "OSError: no such file: model.onnx"),
        ),
        (
            OSError(f"not a folder: {PATH}"),
            ("ModelLoadError", "OSError: not a folder: the artifact"),
        ),
    ],
)
def test_one_line_with_its_kind_and_no_path(error: Exception, expected: tuple[str, str]) -> None:
    """Nothing of this machine, no traceback, and the code that the API knows."""
    assert describe(error, PATH) == expected
