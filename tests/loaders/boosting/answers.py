"""What a model of boosted trees answers, held against its framework's own answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from loaders.base import Payload
from loaders.boosting.trees import BoostingModel


def answer_of(model: BoostingModel, payload: Payload, method: str = "predict") -> Any:
    """The one array of the answer, whose first axis is the rows."""
    outputs = model.run(method, model.prepare(payload))
    assert outputs.single
    assert outputs.batched
    return outputs.arrays[method]


def assert_same(got: Any, expected: Any) -> None:
    """Equal to the last bit, dtype and shape too."""
    expected = np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if expected.dtype.hasobject:
        assert got.tolist() == expected.tolist()
    else:
        assert got.tobytes() == expected.tobytes()
