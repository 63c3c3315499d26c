"""Every format of a body in, every format out, over HTTP; gzip; and bodies that mean harm."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from mms.demo.s3server import S3Server
from tests.e2e.test_formats import FRAME, PEOPLE
from tests.e2e.world import World, world
from tests.support.bodies import (
    CSV,
    FORMATS,
    JSON,
    JSON_LINES,
    NPY,
    NPZ,
    body_of,
    npy_of,
    npz_of,
    table_of,
)
from tests.support.models import dumped
from tests.support.s3 import Bucket
from tests.support.server import Response

pytestmark = pytest.mark.e2e
MAX_BODY = 1 << 20
ROWS, LABELS = load_iris(return_X_y=True)
IRIS = LogisticRegression(max_iter=500).fit(ROWS, LABELS)
COUNTS = sparse.csr_matrix(np.random.default_rng(0).poisson(0.3, (30, 50)).astype(np.float64))
WORDS = LogisticRegression().fit(COUNTS, np.arange(30) % 2)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
    )
    opset = helper.make_opsetid("", 17)
    model: bytes = helper.make_model(made, opset_imports=[opset], ir_version=9).SerializeToString()
    return model


def identity(kind: int) -> bytes:
    """Gives back the rows of two that it gets."""
    shape = [None, 2]
    return graph(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)]
    )


def several() -> bytes:
    """Of inputs of four types, one without rows; of two outputs."""
    return graph(
        [
            helper.make_node("Mul", ["a", "scale"], ["scaled"]),
            helper.make_node("Identity", ["text"], ["words"]),
            helper.make_node("Cast", ["flag"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Add", ["whole", "n"], ["sum"]),
        ],
        [
            ("a", TensorProto.DOUBLE, [None, 2]),
            ("n", TensorProto.INT64, [None]),
            ("flag", TensorProto.BOOL, [None]),
            ("text", TensorProto.STRING, [None]),
            ("scale", TensorProto.DOUBLE, []),
        ],
        [
            ("scaled", TensorProto.DOUBLE, [None, 2]),
            ("words", TensorProto.STRING, [None]),
            ("sum", TensorProto.INT64, [None]),
        ],
    )


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("body-formats")
    with world(s3_server, bucket, folder, MMS_MAX_BODY=str(MAX_BODY)) as made:
        made.put("same.joblib", dumped(FunctionTransformer().fit(np.zeros((2, 2)))))
        made.put("iris.joblib", dumped(IRIS))
        made.put("words.joblib", dumped(WORDS))
        made.put("people.joblib", dumped(PEOPLE))
        made.put("double.onnx", identity(TensorProto.DOUBLE))
        made.put("int64.onnx", identity(TensorProto.INT64))
        made.put("text.onnx", identity(TensorProto.STRING))
        made.put("several.onnx", several())
        yield made


def ask(
    made: World, target: str, body: bytes, source: str, accept: str = JSON, coding: str = "identity"
) -> Response:
    return made.server.invoke(
        target, body, content_type=source, Accept=accept, Content_Encoding=coding
    )


CASES = [
    ("scikit-learn", "same.joblib", "float64", [[0.1, -0.0], [float("inf"), 5e-324]]),
    ("scikit-learn", "same.joblib", "int64", [[2**63 - 1, 2**53 + 1], [-(2**63), 0]]),
    ("ONNX", "double.onnx", "float64", [[0.1, -0.0], [float("inf"), 5e-324]]),
    ("ONNX", "int64.onnx", "int64", [[2**63 - 1, 2**53 + 1], [-(2**63), 0]]),
    ("ONNX", "text.onnx", "str", [["", "\U0001f600"], ["1.0", 'a "b",\nc']]),
]


@pytest.mark.parametrize(
    ("source", "framework", "target", "dtype", "table"),
    [
        pytest.param(
            source,
            *case,
            id=f"{source}-{case[1]}-{case[2]}",
            marks=pytest.mark.supports(
                framework=case[0],
                input="texts" if case[2] == "str" else "dense numbers",
                format=source,
            ),
        )
        for source in FORMATS
        for case in CASES
    ],
)
def test_every_format_is_read_and_answered_in_every_format(
    made: World, source: str, framework: str, target: str, dtype: str, table: list[list[Any]]
) -> None:
    """The same values, bit for bit, under the type that was asked for."""
    del framework
    body = body_of(table, dtype, source)
    kind = f"{source}; header=absent" if source == CSV else source
    for accept in FORMATS:
        answer = ask(made, target, body, kind, accept)
        assert answer.status == 200, (accept, answer.body)
        assert answer.headers["content-type"].partition(";")[0] == accept
        got = table_of(answer.body, dtype, accept)
        assert repr(got.tolist()) == repr(table), accept


@pytest.mark.parametrize("name", ["application/x-ndjson", "application/jsonl", JSON_LINES])
def test_json_lines_has_many_names(made: World, name: str) -> None:
    """Each is read, and answered under the name that was asked for."""
    body = b'{"features": [5.1, 3.5, 1.4, 0.2]}\n\n{"features": [6.7, 3.0, 5.2, 2.3]}\n'
    answer = ask(made, "iris.joblib", body, name, name)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, name, b"0\n2\n")
    answer = ask(made, "iris.joblib", b"[1,2,3,4]\n[1,2", name)
    assert (answer.status, "line 2" in answer.message) == (400, True)


def test_a_flat_array_of_as_many_numbers_as_features_is_one_row(made: World) -> None:
    for body, kind in ((npy_of(ROWS[0]), NPY), (npz_of(ROWS[0]), NPZ)):
        assert ask(made, "iris.joblib", body, kind).json() == {"outputs": {"predict": [0]}}
    for target, row in (("double.onnx", [0.5, 1.5]), ("same.joblib", [0.5, 1.5])):
        answer = ask(made, target, npy_of(np.array(row)), NPY, NPY)
        assert table_of(answer.body, "float64", NPY).tolist() == [row]
        listed = ask(made, target, json.dumps({"inputs": row}).encode(), JSON, JSON_LINES)
        assert listed.body == b"[0.5,1.5]\n"


@pytest.mark.supports(framework="scikit-learn", input="named columns", format=JSON_LINES)
@pytest.mark.supports(framework="scikit-learn", input="named columns", format=NPZ)
def test_columns_come_by_name(made: World) -> None:
    """As arrays of several types, as objects a line, or as lists by name."""
    columns: dict[str, Any] = {str(name): FRAME[name].tolist() for name in FRAME}
    lines = "".join(json.dumps(row) + "\n" for row in FRAME.to_dict("records"))
    for body, kind in (
        (npz_of(**columns), NPZ),
        (lines.encode(), JSON_LINES),
        (json.dumps({"inputs": columns}).encode(), JSON),
    ):
        answer = ask(made, "people.joblib", body, kind, NPY)
        assert answer.status == 200, answer.body
        assert table_of(answer.body, "int64", NPY).tolist() == PEOPLE.predict(FRAME).tolist()
    answer = ask(made, "people.joblib", npz_of(**columns | {"age": ["x"] * 40}), NPZ)
    assert (answer.status, "column 'age'" in answer.message) == (400, True)
    answer = ask(made, "people.joblib", npz_of(age=columns["age"]), NPZ)
    assert (answer.status, "'city' is missing" in answer.message) == (400, True)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.supports(framework="scikit-learn", input="sparse matrices", format=NPZ)
def test_a_sparse_matrix_is_answered_as_in_process(made: World, kind: str) -> None:
    out = io.BytesIO()
    sparse.save_npz(out, COUNTS.asformat(kind))
    answer = ask(made, "words.joblib", out.getvalue(), NPZ, NPY)
    assert answer.status == 200, answer.body
    assert table_of(answer.body, "int64", NPY).tolist() == WORDS.predict(COUNTS).tolist()
    answer = ask(made, "double.onnx", out.getvalue(), NPZ)
    assert (answer.status, "no sparse matrix" in answer.message) == (400, True)
    sparse.save_npz(wrong := io.BytesIO(), COUNTS[:, :3].asformat(kind))
    answer = ask(made, "words.joblib", wrong.getvalue(), NPZ)
    assert (answer.status, "50 columns" in answer.message) == (400, True)


INPUTS: dict[str, Any] = {
    "a": [[0.5, -1.0], [float("inf"), 2.0]],
    "n": [2**63 - 2, -5],
    "flag": [True, False],
    "text": ["", "\U0001f600"],
    "scale": 2.0,
}
OUTPUTS: dict[str, Any] = {
    "scaled": [[1.0, -2.0], [float("inf"), 4.0]],
    "words": ["", "\U0001f600"],
    "sum": [2**63 - 1, -5],
}


@pytest.mark.parametrize("source", [
    pytest.param(kind, marks=pytest.mark.supports(
        framework="ONNX", input="several inputs", format=kind))
    for kind in (JSON, NPZ)
])  # fmt: skip
def test_several_tensors_of_all_types_come_and_go_by_name(made: World, source: str) -> None:
    """One without axes too; in formats that have no names, it is said which has."""
    arrays = {name: np.array(value) for name, value in INPUTS.items()}
    asked = {"inputs": INPUTS, "signature_name": "serving_default"}
    body = json.dumps(asked).encode() if source == JSON else npz_of(**arrays)
    assert ask(made, "several.onnx", body, source).json() == {"outputs": OUTPUTS}
    answer = ask(made, "several.onnx", body, source, NPZ)
    with np.load(io.BytesIO(answer.body), allow_pickle=False) as file:
        assert {name: file[name].tolist() for name in file} == OUTPUTS
    lines = ask(made, "several.onnx", body, source, JSON_LINES).body.splitlines()
    assert [json.loads(line) for line in lines] == [
        {name: values[row] for name, values in OUTPUTS.items()} for row in range(2)
    ]
    refused = ask(made, "several.onnx", body, source, NPY)
    assert (refused.status, "application/x-npz" in refused.message) == (406, True)


ROUTES = ["/invocations", "/models/{}/invoke", "/endpoints/any/invocations"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "identity"])
def test_bodies_may_come_compressed(made: World, route: str, coding: str) -> None:
    """On every route, in every format, of several members."""
    assert made.ask("iris.joblib", [[1, 2, 3, 4]]).status == 200  # a name is known once it is here
    for source in FORMATS:
        body = body_of(ROWS[[0, 140]].tolist(), "float64", source)
        sent = body if coding == "identity" else gzip.compress(body[:40]) + gzip.compress(body[40:])
        answer = made.server.request(
            "POST",
            route.format("iris.joblib"),
            sent,
            {
                "Content-Type": source,
                "Content-Encoding": coding,
                "Accept": JSON_LINES,
                "X-Amzn-SageMaker-Target-Model": "iris.joblib",
            },
        )
        assert (answer.status, answer.body) == (200, b"0\n2\n"), (source, answer.body)


BOMB = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
GOOD = npz_of(ROWS[:1])


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("arr_0.npy", b"\0" * 50_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "coding", "body", "status", "says"),
    [
        (JSON, "gzip", BOMB, 413, "MMS_MAX_BODY"),
        (JSON, "gzip", BOMB[:5000], 413, "MMS_MAX_BODY"),
        (JSON, "gzip", gzip.compress(b"[[1,2,3,4]]")[:-3], 400, "cut short"),
        (JSON, "gzip", gzip.compress(b"[[1,2,3,4]]") + b"xyz", 400, "no gzip"),
        (JSON, "gzip", b"[[1,2,3,4]]", 400, "damaged"),
        (JSON, "gzip", b"", 400, "empty"),
        (JSON, "br", b"[[1,2,3,4]]", 415, "gzip"),
        (JSON, "gzip, gzip", gzip.compress(gzip.compress(b"[]")), 415, "gzip"),
        (JSON_LINES, "", b"[1,2,3,4]\n" + b"[" * 100_000, 400, "line 2"),
        (NPY, "", b"[[1,2,3,4]]", 400, "numpy.save"),
        (NPY, "", npy_of(ROWS)[:-1], 400, "bytes of values"),
        (NPY, "", npy_of(ROWS).replace(b"(150, 4)", b"(9**9**9,"), 400, "can't be read"),
        (NPY, "", npy_of(ROWS).replace(b"(150, 4)", b"(" + b"9" * 7 + b")"), 400, "belong to"),
        (NPY, "", npy_of(ROWS).replace(b"'<f8'", b"'|O' "), 400, "never read"),
        (NPZ, "", GOOD[:-1], 400, "npz"),
        (NPZ, "", GOOD + GOOD, 400, "npz"),
        (NPZ, "", zip_bomb(), 413, "MMS_MAX_BODY"),
        (NPZ, "gzip", gzip.compress(GOOD)[:-9], 400, "cut short"),
        (NPZ, "", npz_of(format=b"csr", shape=[1, 4], data=[1.0], indices=[9], indptr=[0, 1]),
         400, "outside of its shape"),
        (NPZ, "", npz_of(format=b"csr", shape=[1, 4], data=[1.0], indices=[1], indptr=[0, 9]),
         400, "points outside"),
    ],
    ids=map(str, itertools.count()),  # the bodies aren't the same in every process
)  # fmt: skip
def test_a_hostile_body_is_refused_and_harms_nobody(
    made: World, kind: str, coding: str, body: bytes, status: int, says: str
) -> None:
    """By name and at once; the worker serves on."""
    answer = ask(made, "iris.joblib", body, kind, coding=coding)
    assert (answer.status, says in answer.message) == (status, True), answer.body
    assert made.ask("iris.joblib", ROWS[:1].tolist()).json() == [0]
    assert made.losses() == []
