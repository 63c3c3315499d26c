"""Rows of an ONNX model run together only where a trial shows that they stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loaders.base import LoadError, LoadOptions, Payload, concatenate
from loaders.onnx import probe as onnx_probe
from loaders.onnx.loader import OnnxLoader, OnnxModel
from tests.loaders.support import rows
from tests.support.onnx_models import (
    DTYPES,
    I64,
    F,
    S,
    Shape,
    constant,
    endless,
    expander,
    identity,
    node,
    sequence_identity,
    splitter,
    with_default,
    zipmap,
)
from tests.support.onnx_models import model as model_of

ROWS: Shape = ["N", 3]
CONSTANTS = [constant("one", [1]), constant("zero", 0), constant("shape", [2, 3])]


def _load(path: Path, content: bytes, *, batchable: bool | None = None) -> OnnxModel:
    (path / "m.onnx").write_bytes(content)
    return OnnxLoader().load(path / "m.onnx", LoadOptions(batchable=batchable))


@pytest.mark.parametrize("dtype", [F, I64])
@pytest.mark.parametrize(
    ("nodes", "output", "expected"),
    [
        ([node("Neg", "x", "y")], ROWS, True),
        ([node("ReduceSum", "x one", "y", keepdims=1)], ["N", 1], True),
        ([node("CumSum", "x zero", "y")], ROWS, False),
        ([node("ReduceMax", "x", "m", axes=[0]), node("Sub", "x m", "y")], ROWS, False),
        ([node("ReduceMax", "x", "y", keepdims=0)], [], False),
        ([node("Transpose", "x", "y")], ["M", "N"], False),
        ([node("Neg", "x", "y")], ["M", 3], False),
        ([node("Reshape", "x shape", "y")], ["N", 3], False),
    ],
)
def test_rows_that_mix_are_never_batched(
    nodes: list[Any], output: Shape, expected: bool, dtype: int, tmp_path: Path
) -> None:
    """A trial at load tells rows that stand alone from rows that don't."""
    content = model_of(nodes, [("x", dtype, ROWS)], [("y", dtype, output)], CONSTANTS)
    assert _load(tmp_path, content).batchable is expected
    assert _load(tmp_path, content, batchable=True).batchable
    assert not _load(tmp_path, content, batchable=False).batchable


def test_a_column_of_whole_numbers_that_mixes_is_seen(tmp_path: Path) -> None:
    """The rows of the trial differ, else one minus the largest of all would look harmless."""
    nodes = [node("ReduceMax", "x", "m", axes=[0]), node("Sub", "x m", "y")]
    content = model_of(nodes, [("x", I64, ["N"])], [("y", I64, ["N"])])
    assert not _load(tmp_path, content).batchable
    texts = [node("Cast", "x", "f", to=F), node("ReduceMax", "f", "m", axes=[0])]
    content = model_of([*texts, node("Sub", "f m", "y")], [("x", S, ["N"])], [("y", F, ["N"])])
    assert not _load(tmp_path, content).batchable


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_can_be_batched(dtype: str, tmp_path: Path) -> None:
    """Nothing about a type keeps its rows from standing alone."""
    assert _load(tmp_path, identity(DTYPES[dtype], ["N", 2])).batchable


def test_labels_are_batched_and_lists_of_tensors_are_not(tmp_path: Path) -> None:
    """A map a row is a row; a list of tensors says nothing of rows, whatever its length."""
    assert _load(tmp_path, zipmap(["no", "yes"])).batchable
    assert not _load(tmp_path, splitter()).batchable
    assert not _load(tmp_path, sequence_identity()).batchable
    lists = _load(tmp_path, splitter())
    assert not lists.run("predict", lists.prepare(rows([1, 2], [3, 4]))).batched


def test_a_request_with_its_own_weights_runs_apart(tmp_path: Path) -> None:
    """What a request sets for all of its rows never reaches another's."""
    model = _load(tmp_path, with_default(8))
    assert model.batchable
    plain = model.prepare(Payload(form="inputs", tensors={"x": [[3, 4]]}))
    own = [
        model.prepare(Payload(form="inputs", tensors={"x": [[3, 4]], "w": [10, 20]}))
        for _ in range(2)
    ]
    assert len({batch.key for batch in (plain, *own)}) == 3
    answers = [model.run("predict", batch).arrays["y"].tolist() for batch in (plain, *own)]
    assert answers == [[[3, 8]], [[30, 80]], [[30, 80]]]


def test_labels_stay_with_the_rows_of_a_batch(tmp_path: Path) -> None:
    """Two requests put together have the labels of either."""
    model = _load(tmp_path, zipmap([7, 3]))
    batch = concatenate([model.prepare(rows([0.25, 0.75])), model.prepare(rows([1, 0]))])
    outputs = model.run("predict", batch)
    assert outputs.batched
    assert outputs.labels == {"p": (3, 7)}
    assert outputs.arrays["p"].tolist() == [[0.75, 0.25], [0, 1]]
    assert outputs.arrays["label"].tolist() == [1, 0]


def test_a_trial_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model loads, as one whose rows aren't known to stand alone."""
    monkeypatch.setattr(onnx_probe, "_SECONDS", 0.2)
    assert not _load(tmp_path, endless()).batchable


def test_what_has_no_rows_is_not_tried(tmp_path: Path) -> None:
    """A fixed first axis is no batch; a manifest that wants one of what has no rows is wrong."""
    assert not _load(tmp_path, expander()).batchable
    assert not _load(tmp_path, identity(F, [2, 2])).batchable
    for content in (identity(F, []), splitter(), sequence_identity()):
        with pytest.raises(LoadError, match="'batchable' is true, but some of the"):
            _load(tmp_path, content, batchable=True)
