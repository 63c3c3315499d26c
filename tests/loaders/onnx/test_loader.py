"""ONNX models answer as ONNX Runtime does, and refuse what they can't take by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from loaders.base import Form, InputError, LoadOptions, Payload, concatenate
from loaders.onnx.loader import OnnxLoader, OnnxModel
from loaders.sniff import HEAD_BYTES
from tests.loaders.support import csv, rows
from tests.support.onnx_models import (
    I64,
    F,
    S,
    Shape,
    adder,
    constant,
    identity,
    node,
    sequence_identity,
    with_default,
)
from tests.support.onnx_models import model as model_of

X, Y = load_iris(return_X_y=True)
BUNDLED = Path(onnxruntime.__file__).parent / "datasets"


def _load(path: Path, content: bytes) -> OnnxModel:
    (path / "m.onnx").write_bytes(content)
    return OnnxLoader().load(path / "m.onnx", LoadOptions())


def _iris(path: Path, zipmap: bool) -> OnnxModel:
    from skl2onnx import to_onnx

    own = LogisticRegression(max_iter=500).fit(X, Y)
    sample = X[:1].astype(np.float32)
    onnx = to_onnx(own, sample, options={"zipmap": zipmap}, target_opset=17)
    return _load(path, onnx.SerializeToString())


def _only(arrays: dict[str, Any]) -> Any:
    (array,) = arrays.values()
    return array.tolist()


def _run(model: OnnxModel, payload: Payload) -> dict[str, Any]:
    outputs = model.run("predict", model.prepare(payload))
    assert outputs.single == (len(outputs.arrays) == 1)
    return outputs.arrays


@pytest.mark.filterwarnings("ignore")  # skl2onnx's own
@pytest.mark.parametrize("zipmap", [False, True])
def test_a_classifier_of_scikit_learn_keeps_label_and_probabilities(
    zipmap: bool, tmp_path: Path
) -> None:
    """All outputs by name; maps of probabilities are a table whose columns are labelled."""
    own = LogisticRegression(max_iter=500).fit(X, Y)
    model = _iris(tmp_path, zipmap)
    outputs = model.run("predict", model.prepare(rows(*X[::20].tolist())))
    assert list(outputs.labels.values()) == ([(0, 1, 2)] if zipmap else [])
    label, probability = outputs.arrays.values()
    assert label.tolist() == own.predict(X[::20]).tolist()
    assert np.allclose(probability, own.predict_proba(X[::20]), atol=1e-6)
    assert model.batchable
    assert [i.shape for i in model.signature.inputs] == [(None, 4)]


@pytest.mark.filterwarnings("ignore")
def test_every_form_comes_to_the_same(tmp_path: Path) -> None:
    """Rows, a flat row, CSV with and without a header, and by input."""
    model = _iris(tmp_path, zipmap=False)
    row = [5, 3.5, 1.5, 0.25]
    text = ",".join(map(str, row))
    answers = [
        _run(model, payload)
        for payload in (
            rows(row),
            rows({"X": row}),
            Payload(form="rows", rows=row, flat=True),
            csv(text),
            csv("a,b,c,d", text),
            csv("a,b,c,d", text, header=True),
            Payload(form="inputs", tensors={"X": [row]}),
            Payload(form="inputs", tensors={"": [row]}),
        )
    ]
    for other in answers[1:]:
        assert all(np.array_equal(other[name], value) for name, value in answers[0].items())


@pytest.mark.parametrize("name", ["mul_1", "sigmoid", "logreg_iris"])
def test_the_bundled_models_of_fixed_shapes_run(name: str, tmp_path: Path) -> None:
    """A fixed first axis takes exactly so many rows, and is never batched."""
    model = _load(tmp_path, (BUNDLED / f"{name}.onnx").read_bytes())
    (spec,) = model.signature.inputs
    values = np.ones([n or 1 for n in spec.shape]).tolist()
    assert _run(model, rows(*values))
    assert not model.batchable
    with pytest.raises(InputError, match=f"2 rows, but the model takes exactly {len(values)} rows"):
        model.prepare(rows(*values[:2]))


def test_several_inputs_are_rows_by_name(tmp_path: Path) -> None:
    """Or whole tensors by name; missing and unknown names are said."""
    model = _load(tmp_path, adder())
    assert model.batchable
    payload = rows({"a": [1, 2], "b": [3, 4]}, {"a": [0, 0], "b": [1, 1]})
    assert _only(_run(model, payload)) == [[4, 6], [1, 1]]
    tensors = {"b": [[3, 4]], "a": [[1, 2]]}
    assert _only(_run(model, Payload(form="inputs", tensors=tensors))) == [[4, 6]]
    for payload, message in (
        (rows({"a": [1, 2]}), "row 0: input 'b' is missing"),
        (rows({"a": [1, 2], "b": [1, 2], "c": 1}), "row 0: the model has no input 'c'"),
        (rows([1, 2]), "row 0 must be an object of the model's inputs: 'a', 'b'"),
        (rows({"a": [1, 2], "b": [1, 2]}, 3), "row 1: 3 where an object"),
        (rows({"a": [1, 2], "b": [1, "x"]}), r"input 'b': row 0, column \d: '.' isn't a number"),
        (Payload(form="inputs", tensors={"a": [[1, 2]]}), "input 'b' is missing"),
        (csv("1,2"), "send JSON"),
        (rows(), "no rows"),
    ):
        with pytest.raises(InputError, match=message):
            model.prepare(payload)


def test_inputs_of_one_column_each_are_a_table(tmp_path: Path) -> None:
    """What skl2onnx makes of a DataFrame: one input a column, of its kind."""
    shape: Shape = ["N", 1]
    content = model_of(
        [
            node("Cast", "age", "f", to=F),
            node("Add", "f size", "y"),
            node("Identity", "who", "w"),
        ],
        [("age", I64, shape), ("size", F, shape), ("who", S, shape)],
        [("y", F, shape), ("w", S, shape)],
    )
    model = _load(tmp_path, content)
    for payload in (
        rows([3, 0.5, "ann"]),
        rows({"who": "ann", "age": 3, "size": 0.5}),
        rows({"who": ["ann"], "age": [3], "size": [0.5]}),
        csv("3,0.5,ann"),
        csv("who,size,age", "ann,0.5,3"),
        Payload(form="inputs", tensors={"who": [["ann"]], "age": [[3]], "size": [[0.5]]}),
    ):
        answer = _run(model, payload)
        assert answer["y"].tolist() == [[3.5]]
        assert answer["w"].tolist() == [["ann"]]
    for payload, message in (
        (rows([3.5, 0.5, "ann"]), r"input 'age': row 0, column 0: 3\.5 isn't a whole number"),
        (rows([3, 0.5]), "row 0 has 2 values, but the model has 3 inputs"),
        (csv("3,x,ann"), "row 0, column 1: 'x' isn't a number"),
        (csv("3,1"), "row 0 has 2 values, but the model has 3 columns"),
    ):
        with pytest.raises(InputError, match=message):
            model.prepare(payload)


def test_inputs_without_rows_come_by_name_only(tmp_path: Path) -> None:
    """A scalar beside rows can't be split into rows, so the model isn't batched."""
    content = model_of(
        [node("Mul", "x rate", "y")],
        [("x", F, ["N", 2]), ("rate", F, [])],
        [("y", F, ["N", 2])],
    )
    model = _load(tmp_path, content)
    assert not model.batchable
    payload = Payload(form="inputs", tensors={"x": [[1, 2]], "rate": 3})
    assert _only(_run(model, payload)) == [[3, 6]]
    with pytest.raises(InputError, match=r"inputs without rows: send \{\"inputs\""):
        model.prepare(rows({"x": [1, 2], "rate": 3}))


def test_requests_in_a_batch_answer_as_alone(tmp_path: Path) -> None:
    """Rows of several requests, put together, answer in their order."""
    model = _load(tmp_path, adder())
    one = model.prepare(rows({"a": [1, 2], "b": [3, 4]}))
    two = model.prepare(rows({"a": [0, 0], "b": [1, 1]}, {"a": [5, 5], "b": [1, 1]}))
    assert one.key == two.key
    outputs = model.run("predict", concatenate([one, two]))
    assert outputs.batched
    assert next(iter(outputs.arrays.values())).tolist() == [[4, 6], [1, 1], [6, 6]]


def test_values_that_the_graph_refuses_are_the_clients_fault(tmp_path: Path) -> None:
    """An index out of range in a Gather is said in one line, without source paths."""
    content = model_of(
        [node("Gather", "table i", "y")],
        [("i", I64, ["N"])],
        [("y", F, ["N"])],
        [constant("table", [0, 1, 2], np.float32)],
    )
    model = _load(tmp_path, content)
    assert model.batchable
    assert _only(_run(model, Payload(form="rows", rows=[0, 2], flat=True))) == [0, 2]
    assert _only(_run(model, csv("2", "1"))) == [2, 1]
    with pytest.raises(InputError, match="out of data bounds") as caught:
        _run(model, rows(99))
    assert "onnxruntime_src" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_models_are_known_by_their_content(tmp_path: Path) -> None:
    """Under any name; and nothing else is one for being called ``.onnx``."""
    _load(tmp_path, adder())
    head = (tmp_path / "m.onnx").read_bytes()[:HEAD_BYTES]
    loader = OnnxLoader()
    for name in ("m.onnx", "model", "m.bin"):
        assert loader.recognises(tmp_path / name, head)
    for other in (
        b"",
        b"<html>....",
        b'{"a": 1, "b": 2}',
        b"\x80\x04\x95abcdefg",
        b"PK\x03\x04....",
    ):
        assert not loader.recognises(tmp_path / "m.onnx", other)


NAMES = ["a", "b", "", "s", "w", "x"]
_CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1", max_size=2)
_ANY = st.recursive(
    _CELL,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
_FORMS: list[Form] = ["instances", "inputs", "rows"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[OnnxModel]:
    """Models of one and two inputs, of floats, whole numbers, lists and defaults."""
    folder = tmp_path_factory.mktemp("models")
    made = [identity(F, ["N", 2]), identity(F, ["N"]), adder(), adder(I64)]
    return [_load(folder, content) for content in [*made, sequence_identity(), with_default(8)]]


@given(
    form=st.sampled_from(_FORMS),
    values=st.lists(_ANY, max_size=3),
    tensors=st.dictionaries(st.sampled_from(NAMES), _ANY, max_size=3),
    flat=st.booleans(),
)
def test_any_payload_is_an_answer_or_an_input_error(
    models: list[OnnxModel],
    form: Form,
    values: list[Any],
    tensors: dict[str, Any],
    flat: bool,
) -> None:
    """Whatever JSON can hold never crashes a worker."""
    payload = Payload(form=form, rows=values, tensors=tensors, flat=flat)
    for model in models:
        try:
            batch = model.prepare(payload)
            assert batch.rows > 0
            model.run("predict", batch)
        except InputError:
            continue


@pytest.mark.filterwarnings("ignore")
def test_a_forest_answers_bit_for_bit_in_a_batch(tmp_path: Path) -> None:
    """Trees don't care about their neighbours."""
    from skl2onnx import to_onnx

    own = RandomForestClassifier(10, random_state=0).fit(X, Y)
    onnx = to_onnx(own, X[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    model = _load(tmp_path, onnx.SerializeToString())
    together = _run(model, rows(*X[::10].tolist()))
    for i, row in enumerate(X[::10].tolist()):
        for name, values in _run(model, rows(row)).items():
            assert np.array_equal(values[0], together[name][i])
