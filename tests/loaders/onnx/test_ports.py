"""Every type and shape of ONNX goes in and comes out unchanged, or is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from loaders.base import InputError, LoadError, LoadOptions, Outputs, Payload
from loaders.onnx.loader import OnnxLoader, OnnxModel
from tests.loaders.support import csv, rows
from tests.support.onnx_models import (
    DTYPES,
    I64,
    VALUES,
    F,
    Shape,
    identity,
    model,
    node,
    sequence_identity,
    sequence_info,
    splitter,
    with_default,
    zipmap,
)


def _load(path: Path, content: bytes, **options: Any) -> OnnxModel:
    (path / "m.onnx").write_bytes(content)
    return OnnxLoader().load(path / "m.onnx", LoadOptions(**options))


def _by_name(loaded: OnnxModel, **tensors: Any) -> Outputs:
    return loaded.run("predict", loaded.prepare(Payload(form="inputs", tensors=tensors)))


def _same(found: Any, expected: Any) -> bool:
    """Equal in type and bits, so that NaN is NaN and -0.0 isn't 0.0."""
    if found.dtype == object:
        return bool(found.tolist() == expected.tolist())
    return found.dtype == expected.dtype and bool(found.tobytes() == expected.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [["N"], ["N", 1], ["N", 2, None], [None, "M"]])
def test_every_type_goes_through_unchanged(dtype: str, shape: Shape, tmp_path: Path) -> None:
    """Bit for bit, at the ends of its range, NaN and infinities too."""
    assert shape is not None
    loaded = _load(tmp_path, identity(DTYPES[dtype], shape))
    kind = np.dtype(object if dtype == "str" else dtype)
    values = np.resize(np.array(VALUES[dtype], dtype=kind), [3, 1, 1][: len(shape)])
    values = np.repeat(values, 2, axis=1) if len(shape) > 2 else values
    found = _by_name(loaded, x=values.tolist()).arrays["y"]
    assert _same(found, values)
    assert loaded.signature.inputs[0].dtype == dtype


@pytest.mark.parametrize("dtype", ["bool", "uint64"])
def test_csv_of_types_that_other_numbers_arent(dtype: str, tmp_path: Path) -> None:
    """True and false are values, not a header; the largest integers are exact."""
    loaded = _load(tmp_path, identity(DTYPES[dtype], ["N", 1]))
    for lines in (VALUES[dtype], [str(value).lower() for value in VALUES[dtype]]):
        answer = loaded.run("predict", loaded.prepare(csv(*map(str, lines))))
        assert answer.arrays["y"].ravel().tolist() == VALUES[dtype]
    for cell in ("1.5", "2" if dtype == "bool" else str(2**64), "-1"):
        with pytest.raises(InputError, match="row 0, column 0: "):
            loaded.prepare(csv(cell))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_value_is_a_tensor_too(dtype: str, tmp_path: Path) -> None:
    """Without axes in, without axes out; only by name, since there are no rows."""
    loaded = _load(tmp_path, identity(DTYPES[dtype], []))
    value = VALUES[dtype][0]
    found = _by_name(loaded, x=value)
    kind = np.dtype(object if dtype == "str" else dtype)
    assert _same(found.arrays["y"], np.array(value, dtype=kind))
    assert not found.batched
    with pytest.raises(InputError, match=r"inputs without rows: send \{\"inputs\""):
        loaded.prepare(rows(value))


def test_a_tensor_of_any_rank_takes_any(tmp_path: Path) -> None:
    """The runtime says of it what it says of one value."""
    loaded = _load(tmp_path, identity(F, None))
    for value in (1.5, [1.5], [[1.5, 2], [3, 4]]):
        assert _by_name(loaded, x=value).arrays["y"].tolist() == value


@pytest.mark.parametrize("count", [1, 2])
def test_a_fixed_number_of_rows_is_said(count: int, tmp_path: Path) -> None:
    """A model exported for one row (or two) takes one row (or two), in every form."""
    loaded = _load(tmp_path, identity(F, [count, 2]))
    exact = [[1.0, 2.0]] * count
    assert loaded.run("predict", loaded.prepare(rows(*exact))).arrays["y"].tolist() == exact
    takes = f"3 rows, but the model takes exactly {count} row"
    for payload in (
        rows(*[[1, 2]] * 3),
        csv("1,2", "1,2", "1,2"),
        Payload(form="inputs", tensors={"x": [[1, 2]] * 3}),
    ):
        with pytest.raises(InputError, match=takes):
            loaded.prepare(payload)
    with pytest.raises(InputError, match="row 0 has 3 values, but the model has 2 columns"):
        loaded.prepare(rows(*[[1, 2, 3]] * count))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_of_tensors_go_through(dtype: str, tmp_path: Path) -> None:
    """Each of a shape of its own, none stacked or stretched; none at all is a list too."""
    loaded = _load(tmp_path, sequence_identity(DTYPES[dtype]))
    assert loaded.signature.inputs[0].dtype == f"seq({dtype})"
    value = VALUES[dtype][1]
    for parts in ([[value], [value, value]], [[[value]], [[value]]], [[[value] * 2], [[value]]]):
        found = _by_name(loaded, s=parts).arrays
        assert [part.tolist() for part in found["y"]] == parts
        kind = np.dtype(object if dtype == "str" else dtype)
        assert {part.dtype for part in found["y"]} == {kind}
        assert found["n"].tolist() == 2
    assert _by_name(loaded, s=[]).arrays["n"].tolist() == 0


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (3, "3 where a list of tensors is needed"),
        ("ab", "'ab' where a list of tensors is needed"),
        ([[1.0], ["x"]], "tensor 1: row 0: 'x' isn't a number"),
        ([[1.0], [[1], 2]], "tensor 1: "),
        ([None], "tensor 0: "),
    ],
)
def test_what_is_no_list_of_tensors_is_said(value: Any, problem: str, tmp_path: Path) -> None:
    """With the tensor's place in the list."""
    loaded = _load(tmp_path, sequence_identity(I64))
    with pytest.raises(InputError, match=problem):
        _by_name(loaded, s=value)
    with pytest.raises(InputError, match=r"inputs without rows: send \{\"inputs\""):
        loaded.prepare(rows([1.0]))


def test_a_list_of_tensors_comes_out_of_rows(tmp_path: Path) -> None:
    """It is the answer to the whole request."""
    loaded = _load(tmp_path, splitter())
    outputs = loaded.run("predict", loaded.prepare(rows([1, 2], [3, 4])))
    assert [part.tolist() for part in outputs.arrays["y"]] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["yes", "no"], ("no", "yes")), ([5, -1], (-1, 5)), (["é", ""], ("", "é"))],
)
def test_maps_are_tables_with_labels(
    labels: list[Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    """As the runtime orders them; the numbers are the graph's own floats."""
    loaded = _load(tmp_path, zipmap(labels))
    values = np.array([[0.1, 0.9], [np.nan, np.inf]], np.float32)
    outputs = loaded.run("predict", loaded.prepare(rows(*values.tolist())))
    order = [labels.index(label) for label in expected]
    assert outputs.labels == {"p": expected}
    assert outputs.arrays["p"].dtype == np.float32
    assert outputs.arrays["p"].tobytes() == values[:, order].tobytes()
    assert outputs.batched


@pytest.mark.parametrize("ir", [3, 8])
def test_inputs_with_defaults_may_be_left_out(ir: int, tmp_path: Path) -> None:
    """Before IR 4 they are constants; since then a request may give its own, by name."""
    loaded = _load(tmp_path, with_default(ir))
    assert [spec.name for spec in loaded.signature.inputs] == ["x"]
    assert loaded.run("predict", loaded.prepare(rows([3, 4]))).arrays["y"].tolist() == [[3, 8]]
    assert _by_name(loaded, x=[[3, 4]]).arrays["y"].tolist() == [[3, 8]]
    if ir < 4:
        with pytest.raises(InputError, match="the model has no input 'w'"):
            _by_name(loaded, x=[[3, 4]], w=[10, 20])
        return
    assert _by_name(loaded, x=[[3, 4]], w=[10, 20]).arrays["y"].tolist() == [[30, 80]]
    with pytest.raises(InputError, match=r"input 'w': .*'k' isn't a number"):
        _by_name(loaded, x=[[3, 4]], w=[1, "k"])
    with pytest.raises(InputError, match="input 'x' is missing"):
        _by_name(loaded, w=[1, 2])


def test_the_name_of_the_only_input_may_be_left_out_but_not_wrong(tmp_path: Path) -> None:
    """An unknown name is a mistake, even where there is nothing to mistake it for."""
    loaded = _load(tmp_path, identity(F, ["N"]))
    payload = Payload(form="inputs", tensors={"": [1]})
    assert loaded.run("predict", loaded.prepare(payload)).arrays["y"].tolist() == [1]
    with pytest.raises(InputError, match="input 'x' is missing"):
        _by_name(loaded, any=[1])
    with pytest.raises(InputError, match="the model has no input 'any'"):
        _by_name(loaded, x=[1], any=[1])


def _optional(name: str) -> Any:
    tensor = helper.make_tensor_type_proto(F, [2])
    return helper.make_value_info(name, helper.make_optional_type_proto(tensor))


def _map(name: str) -> Any:
    value = helper.make_tensor_type_proto(F, [])
    return helper.make_value_info(name, helper.make_map_type_proto(TensorProto.STRING, value))


VECTOR = node("DictVectorizer", "x", "y", domain="ai.onnx.ml", string_vocabulary=["a"])
REFUSED = {
    "bfloat16 in": (
        model(
            [node("Cast", "x", "y", to=F)], [("x", TensorProto.BFLOAT16, ["N"])], [("y", F, None)]
        ),
        r"input 'x' is tensor\(bfloat16\), .*: cast it to float in the graph",
    ),
    "bfloat16 out": (
        model(
            [node("Cast", "x", "y", to=TensorProto.BFLOAT16)],
            [("x", F, ["N"])],
            [("y", TensorProto.BFLOAT16, ["N"])],
        ),
        r"output 'y' is tensor\(bfloat16\), .*: cast it to float in the graph",
    ),
    "complex64": (identity(TensorProto.COMPLEX64, ["N"]), r"tensor\(complex64\)"),
    "int4": (identity(TensorProto.INT4, ["N"]), "int4|Identity"),
    "optional in": (
        model([node("OptionalGetElement", "x", "y")], [_optional("x")], [("y", F, [2])]),
        r"input 'x' is optional\(tensor\(float\)\), which isn't supported here: leave",
    ),
    "optional out": (
        model([node("Optional", "x", "y")], [("x", F, [2])], [_optional("y")]),
        r"output 'y' is optional\(tensor\(float\)\)",
    ),
    "map in": (
        model([VECTOR], [_map("x")], [("y", F, None)], domains={"ai.onnx.ml": 2}),
        r"input 'x' is map\(string,tensor\(float\)\), which isn't supported",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_types_that_cant_be_sent_are_refused_at_load(name: str, tmp_path: Path) -> None:
    """With the input or output, its type, and what to do where that is known."""
    content, problem = REFUSED[name]
    with pytest.raises(LoadError, match=problem):
        _load(tmp_path, content)


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    """There is nothing to ask it."""
    content = model([node("Constant", "", "y", value_float=1.0)], [], [("y", F, [])])
    with pytest.raises(LoadError, match="no inputs or no outputs"):
        _load(tmp_path, content)
    with pytest.raises(LoadError, match="no method but predict"):
        _load(tmp_path, identity(F, ["N"]), method="transform")


def test_lists_of_bfloat16_are_refused(tmp_path: Path) -> None:
    """Wrapped types are as good as what they hold."""
    info = sequence_info("y", TensorProto.BFLOAT16)
    with pytest.raises(LoadError, match="bfloat16"):
        _load(
            tmp_path,
            model(
                [node("SequenceConstruct", "x", "y")], [("x", TensorProto.BFLOAT16, [1])], [info]
            ),
        )
