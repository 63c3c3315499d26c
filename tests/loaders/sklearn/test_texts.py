"""Texts that a model of text tensors gets."""

from __future__ import annotations

import pytest

from loaders.base import InputError, TensorSpec
from loaders.rows.tensors import tensor

SPEC = TensorSpec(name="x", dtype="str", shape=(None, 2))


def test_half_a_surrogate_pair_is_the_callers_fault() -> None:
    """ONNX Runtime takes UTF-8, which has no such thing: 400, not 500."""
    with pytest.raises(InputError, match="row 0, column 1: the text holds half"):
        tensor([["é", "\ud800"]], SPEC)


def test_any_other_text_passes() -> None:
    """A whole pair is one character."""
    assert tensor([["\U0001f600", "é"]], SPEC).tolist() == [["\U0001f600", "é"]]
