"""Values survive: through every pair of body formats, a model gives back what it was given."""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.preprocessing import FunctionTransformer

from loaders.base import LoadOptions, Model
from loaders.onnx.loader import OnnxLoader
from mms.media.headers import spec_for
from mms.worker.batching import run_batch
from mms.worker.replies import Reply
from tests.loaders.support import served
from tests.support.bodies import CSV, FORMATS, NPY, NPZ, Table, array_of, body_of, table_of

PAIRS = list(itertools.product(FORMATS, FORMATS))
ONNX_TYPES = {
    "int64": TensorProto.INT64,
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "str": TensorProto.STRING,
}


@functools.cache
def scikit_learn() -> Model:
    """Gives back the table that it gets."""
    with TemporaryDirectory() as folder:
        return served(FunctionTransformer().fit(np.zeros((2, 2))), Path(folder))


@functools.cache
def onnx(dtype: str) -> Model:
    """The same, for one type."""
    kind = ONNX_TYPES[dtype]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", kind, [None, 2])],
        [helper.make_tensor_value_info("y", kind, [None, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return OnnxLoader().load(path, LoadOptions())


def ask(model: Model, table: Table, dtype: str, source: str, target: str) -> Reply:
    content_type = source + ("; header=absent" if source == CSV else "")
    spec = spec_for(content_type.encode(), target.encode(), None, "")
    (reply,) = run_batch(model, [(spec, body_of(table, dtype, source))], max_rows=1024).replies
    return reply


def assert_survives(model: Model, table: Table, dtype: str) -> None:
    """Bit for bit; a NaN is a NaN."""
    for source, target in PAIRS:
        reply = ask(model, table, dtype, source, target)
        assert reply.code == "", (source, target, reply)
        got, sent = table_of(reply.body, dtype, target), array_of(table, dtype)
        assert got.shape == sent.shape, (source, target)
        if dtype == "str":
            assert got.tolist() == table, (source, target)
        else:
            same = (got == sent) & (np.signbit(got) == np.signbit(sent))
            assert (same | (np.isnan(got) & np.isnan(sent))).all(), (source, target, got)


def tables(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[Table]:
    return st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=4)


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None)


WHOLE = [[2**63 - 1, -(2**63)], [2**53 + 1, -(2**53) - 1], [0, 1]]
TINY = 5e-324
BROKEN = [
    [math.nan, -0.0],
    [math.inf, -math.inf],
    [TINY, -TINY],
    [float(2**53), 1e308],
    [0.1, 1 / 3],
]


@given(tables(st.integers(-(2**63), 2**63 - 1)))
@example(WHOLE)
@examples(50)
def test_whole_numbers_survive(table: Table) -> None:
    """Of 64 bits, where a double would lose some."""
    assert_survives(scikit_learn(), table, "int64")
    assert_survives(onnx("int64"), table, "int64")


@given(tables(st.floats()))
@example(BROKEN)
@examples(50)
def test_doubles_survive(table: Table) -> None:
    """NaN, infinities, negative zero and subnormal numbers too."""
    assert_survives(scikit_learn(), table, "float64")
    assert_survives(onnx("float64"), table, "float64")


@given(tables(st.floats(width=32)))
@example([[math.nan, -0.0], [math.inf, 1e-45]])
@examples(50)
def test_single_floats_survive(table: Table) -> None:
    assert_survives(onnx("float32"), table, "float32")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WORDS = [
    ["", "a"],
    ["\U0001d4b3 \U0010ffff", "é"],
    ['"', "a,b\r\nc\n"],
    ["1.0", "NaN"],
    [" x ", "\ufeff\u2028"],
]


@given(tables(TEXT))
@example(WORDS)
@examples(50)
def test_text_survives(table: Table) -> None:
    """Empty, quoted, of several lines, beyond the basic plane, or like a number."""
    assert_survives(onnx("str"), table, "str")


@given(tables(TEXT))
@examples(50)
def test_text_survives_a_model_that_takes_anything(table: Table) -> None:
    """But for what CSV has no way to say: that a cell is text, or empty and not missing."""
    assume(all(cell.strip() and not _is_number(cell) for row in table for cell in row))
    assert_survives(scikit_learn(), table, "str")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint64", "bool"])
@pytest.mark.parametrize("source", [NPY, NPZ])
def test_types_survive_where_they_are_said(dtype: str, source: str) -> None:
    """An array comes to scikit-learn, and goes, as the type that it is."""
    top = {"uint64": 2**64 - 1, "int8": -128}.get(dtype, 1)
    table = [[top, 0], [1, 1]]
    for target in (NPY, NPZ):
        reply = ask(scikit_learn(), table, dtype, source, target)
        assert table_of(reply.body, dtype, target).tolist() == table


@pytest.mark.parametrize("target", [NPY, NPZ])
def test_text_that_an_array_cannot_hold_is_refused(target: str) -> None:
    """A NUL at the end is lost in a fixed width; other formats say it."""
    reply = ask(onnx("str"), [["a\0", "b"]], "str", FORMATS[0], target)
    assert (reply.code, b"NUL" in reply.body) == ("NotAcceptable", True)
    reply = ask(onnx("str"), [["a\0", "b"]], "str", CSV, CSV)
    assert (reply.code, b"NUL" in reply.body) == ("ValidationError", True)
