"""Values at the edge of what a model takes: missing and unknown ones, extremes, several inputs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

from mms.demo.s3server import S3Server
from tests.e2e.test_formats import PEOPLE
from tests.e2e.world import World, world
from tests.support.models import dumped
from tests.support.s3 import Bucket

pytestmark = pytest.mark.e2e
DATASETS = files("onnxruntime") / "datasets"


def with_gaps() -> HistGradientBoostingRegressor:
    """A model that takes NaN and answers differently to it."""
    rows = np.random.default_rng(0).normal(size=(200, 2))
    rows[::4, 1] = np.nan
    target = np.where(np.isnan(rows[:, 1]), 100.0, rows[:, 0])
    return HistGradientBoostingRegressor(max_iter=20).fit(rows, target)


def two_inputs() -> bytes:
    """Adds and multiplies two inputs of two columns each."""

    def tensor(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])

    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Mul", ["a", "b"], ["product"]),
    ]
    outputs = [tensor("sum"), tensor("product")]
    graph = helper.make_graph(nodes, "two", [tensor("a"), tensor("b")], outputs)
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def words() -> bytes:
    """Numbers for words."""
    kinds = (TensorProto.STRING, TensorProto.INT64)
    given, found = (
        helper.make_tensor_value_info(name, kind, ["n", 1])
        for name, kind in zip(("word", "number"), kinds, strict=True)
    )
    known: dict[str, Any] = {
        "keys_strings": ["five", "6"],
        "values_int64s": [5, 6],
        "default_int64": -1,
    }
    node = helper.make_node("LabelEncoder", ["word"], ["number"], domain="ai.onnx.ml", **known)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "words", [given], [found])
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


GAPS = with_gaps()


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world(s3_server, bucket, tmp_path_factory.mktemp("values"), MMS_TRUST="all") as made:
        made.put("gaps.joblib", dumped(GAPS))
        made.put("people.joblib", dumped(PEOPLE))
        made.put("same.joblib", dumped(FunctionTransformer().fit(np.zeros((1, 3)))))
        made.put("scaler.joblib", dumped(MaxAbsScaler().fit(np.ones((2, 3)))))
        made.put("two.onnx", two_inputs())
        made.put("words.onnx", words())
        for name in ("sigmoid", "logreg_iris"):
            made.put(f"{name}.onnx", (DATASETS / f"{name}.onnx").read_bytes())
        yield made


def test_a_missing_value_is_one_where_the_model_takes_it(made: World) -> None:
    """NaN, null and an empty cell are the same, and not the same as a number."""
    expected = GAPS.predict([[0.5, np.nan], [0.5, 1.0]]).tolist()
    assert abs(expected[0] - expected[1]) > 10
    for body in (b"[[0.5,NaN],[0.5,1.0]]", b"[[0.5,null],[0.5,1.0]]"):
        assert made.server.invoke("gaps.joblib", body).json() == expected
    for csv in (b"0.5,\n0.5,1.0\n", b"0.5,nan\n0.5,1.0\n"):
        answer = made.server.invoke("gaps.joblib", csv, content_type="text/csv")
        assert answer.json() == {"predictions": expected}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ('{"age": null, "city": "Tokyo", "visits": 1}', "row 1, column 'age'"),
        ('{"age": 1, "city": null, "visits": 1}', "row 1, column 'city'"),
        ('{"age": 1, "city": "Paris", "visits": 1}', "row 1, column 'city' (1): 'Paris'"),
        ('{"age": 1, "city": 5, "visits": 1}', "row 1, column 'city' (1): 5"),
        ('{"age": "x", "city": "Tokyo", "visits": 1}', "row 1, column 'age'"),
        ('{"age": 1, "city": ["Tokyo"], "visits": 1}', "row 1, column 'city'"),
    ],
)
def test_a_value_the_model_refuses_is_named_by_row_and_column(
    made: World, row: str, place: str
) -> None:
    """Also where only the library deep inside notices."""
    body = f'[{{"age": 20, "city": "Tokyo", "visits": 1}}, {row}]'.encode()
    answer = made.server.invoke("people.joblib", body)
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert place in answer.message, answer.message


def test_numbers_come_back_bit_for_bit(made: World) -> None:
    """Through JSON and CSV, the smallest, the largest and the longest of them."""
    numbers = [5e-324, 1.7976931348623157e308, -0.0, 0.1, 1 / 3, 2**53 + 2.0, -1e-300, 1e22, 123.0]
    rows = np.array(numbers).reshape(3, 3)
    answer = made.server.invoke("scaler.joblib", {"instances": rows.tolist()})
    found = np.array(answer.json()["predictions"])
    assert found.tobytes() == rows.tobytes()
    csv = "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()
    answer = made.server.invoke("scaler.joblib", csv, content_type="text/csv", Accept="text/csv")
    lines = [[float(cell) for cell in line.split(b",")] for line in answer.body.splitlines()]
    assert struct.pack("9d", *np.ravel(lines)) == rows.tobytes()


def test_what_is_not_finite_is_written_as_python_writes_it(made: World) -> None:
    """NaN and Infinity, as ``json`` has them."""
    answer = made.server.invoke("same.joblib", b"[[NaN,Infinity,-Infinity]]")
    assert answer.body == b"[[NaN,Infinity,-Infinity]]"


@pytest.mark.supports(framework="ONNX", input="dense numbers", format="application/json")
@pytest.mark.supports(framework="ONNX", input="several inputs", format="application/json")
def test_an_onnx_model_of_several_inputs(made: World) -> None:
    """By name as columns or as rows; what is missing, unknown or of another length is named."""
    a, b = [[1, 2], [3, 4]], [[5, 6], [7, 8]]
    answer = made.ask("two.onnx", {"inputs": {"a": a, "b": b}}).json()["outputs"]
    assert answer == {"sum": [[6, 8], [10, 12]], "product": [[5, 12], [21, 32]]}
    rows = [{"a": x, "b": y} for x, y in zip(a, b, strict=True)]
    assert made.ask("two.onnx", {"instances": rows}).json() == {
        "predictions": [{"sum": [6, 8], "product": [5, 12]}, {"sum": [10, 12], "product": [21, 32]}]
    }
    wrong: list[tuple[Any, str]] = [
        ({"inputs": {"a": a}}, "'b' is missing"),
        ({"inputs": {"a": a, "b": b, "c": a}}, "no input 'c'"),
        ({"inputs": {"a": a, "b": b[:1]}}, "'a' 2, 'b' 1"),
        ({"instances": [rows[0], {"a": [1, 2]}]}, "row 1"),
        ({"inputs": {"a": a, "b": [[5, 6], [7]]}}, "row 1"),
        ({"inputs": {"a": a, "b": [[5, 6], [7, "x"]]}}, "row 1, column 1"),
    ]
    for body, says in wrong:
        refused = made.ask("two.onnx", body)
        assert refused.status == 400
        assert says in refused.message, refused.message


@pytest.mark.supports(framework="ONNX", input="texts", format="application/json")
def test_text_and_numbers_are_two_things(made: World) -> None:
    """A number is never taken for the text that it looks like."""
    assert made.ask("words.onnx", [["five"], ["6"], ["x"]]).json() == [[5], [6], [-1]]
    refused = made.ask("words.onnx", [["five"], [6]])
    assert refused.status == 400
    assert "row 1" in refused.message
    assert "6 isn't text" in refused.message


def test_an_onnx_model_answers_in_a_batch_as_alone(made: World) -> None:
    """Each caller gets its own rows, however they were put together."""

    def ask(n: int) -> Any:
        body = {"inputs": {"a": [[n, 1]] * (n % 3 + 1), "b": [[2, n]] * (n % 3 + 1)}}
        return made.ask("two.onnx", body).json()["outputs"]["product"]

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(1, 97)))
    assert answers == [[[2.0 * n, float(n)]] * (n % 3 + 1) for n in range(1, 97)]


@pytest.mark.parametrize("name", ["sigmoid", "logreg_iris"])
def test_pretrained_onnx_models_answer_as_in_process(made: World, name: str) -> None:
    """Models that others trained and packed, a list of maps by label among their outputs."""
    session = onnxruntime.InferenceSession(str(DATASETS / f"{name}.onnx"))
    (given,) = session.get_inputs()
    shape = [n if isinstance(n, int) else 3 for n in given.shape]
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    body = {"inputs": {given.name: values.tolist()}}
    answer = made.ask(f"{name}.onnx", body).json()["outputs"]
    expected = session.run(None, {given.name: values})
    for output, value in zip(session.get_outputs(), expected, strict=True):
        found = answer[output.name]
        if isinstance(value, list):  # of maps, whose labels JSON has as text
            assert found == [{str(label): p for label, p in row.items()} for row in value]
        else:
            np.testing.assert_array_equal(np.array(found, np.float32), value)
