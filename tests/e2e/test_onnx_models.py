"""ONNX models over HTTP answer, bit for bit, what ONNX Runtime answers in process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.onnx_models import (
    DTYPES,
    I64,
    VALUES,
    F,
    S,
    adder,
    expander,
    external,
    identity,
    model,
    node,
    sequence_identity,
    splitter,
    with_default,
    zipmap,
)
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Response

pytestmark = pytest.mark.e2e

JSON, CSV, NPZ, LINES = (
    "application/json",
    "text/csv",
    "application/x-npz",
    "application/jsonlines",
)
COLUMNS = model(
    [node("Cast", "age", "f", to=F), node("Add", "f size", "y"), node("Identity", "who", "w")],
    [("age", I64, ["N", 1]), ("size", F, ["N", 1]), ("who", S, ["N", 1])],
    [("y", F, ["N", 1]), ("w", S, ["N", 1])],
)
WEIGHTS = np.arange(4, dtype=np.float32).tobytes()
PLACE = {"location": "weights/w.bin"}
MODELS = {
    **{f"{dtype}.onnx": identity(number, ["N", 1]) for dtype, number in DTYPES.items()},
    **{f"{dtype}-list.onnx": sequence_identity(number) for dtype, number in DTYPES.items()},
    "one.onnx": identity(F, [1, 2]),
    "scalar.onnx": identity(F, []),
    "adder.onnx": adder(),
    "columns.onnx": COLUMNS,
    "default.onnx": with_default(8),
    "texts-map.onnx": zipmap(["no", "yes", "é"]),
    "numbers-map.onnx": zipmap([10, 2]),
    "splitter.onnx": splitter(),
    "expander.onnx": expander(),
    "external.tar.gz": tar_of({"model.onnx": external(PLACE), "weights/w.bin": WEIGHTS}),
    "outside.tar.gz": tar_of({"model.onnx": external({"location": "/etc/passwd"})}),
    "cuda.tar.gz": tar_of(
        {
            "manifest.json": b'{"options": {"providers": ["CUDAExecutionProvider"]}}',
            "model.onnx": identity(F, ["N"]),
        }
    ),
    "option.tar.gz": tar_of(
        {"manifest.json": b'{"options": {"fast": true}}', "model.onnx": identity(F, ["N"])}
    ),
    "custom.onnx": model(
        [node("Frob", "x", "y", domain="my.own")],
        [("x", F, ["N"])],
        [("y", F, ["N"])],
        domains={"my.own": 1},
    ),
}


def proves(dtype: str, media: str) -> Any:
    kind = "texts" if dtype == "str" else "dense numbers"
    return pytest.mark.supports(framework="ONNX", input=kind, format=media)


def every_type(media: str) -> list[Any]:
    return [pytest.param(dtype, marks=proves(dtype, media)) for dtype in DTYPES]


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world(s3_server, bucket, tmp_path_factory.mktemp("onnx")) as made:
        for name, content in MODELS.items():
            made.put(name, content)
        yield made


def kind_of(dtype: str) -> np.dtype[Any]:
    return np.dtype(object if dtype == "str" else dtype)


def column(dtype: str) -> Any:
    """The values of a type that are lost first, a row each."""
    return np.array(VALUES[dtype], dtype=kind_of(dtype))[:, np.newaxis]


def in_process(name: str, **feeds: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(MODELS[name], providers=["CPUExecutionProvider"])
    answers: list[Any] = session.run(None, feeds)
    return answers


def assert_same(found: Any, expected: Any) -> None:
    """In type, shape and every bit."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", every_type(JSON))
def test_every_type_over_json(made: World, dtype: str) -> None:
    """In every form: integers beyond 2**53, NaN and infinities are exact."""
    values = column(dtype)
    (expected,) = in_process(f"{dtype}.onnx", x=values)
    for form, answered in (("instances", "predictions"), ("inputs", "outputs")):
        sent = {"x": values.tolist()} if form == "inputs" else values.tolist()
        answer = made.ask(f"{dtype}.onnx", {form: sent}).json()[answered]
        found = answer["y"] if form == "inputs" else answer
        assert_same(np.array(found, dtype=kind_of(dtype)), expected)


@pytest.mark.parametrize("dtype", every_type(CSV))
def test_every_type_over_csv(made: World, dtype: str) -> None:
    """Both ways; what the answer says of true and false can be sent again."""
    values = column(dtype)
    (expected,) = in_process(f"{dtype}.onnx", x=values)
    lines = values.ravel().tolist()
    if dtype == "str":
        lines = ['"' + text.replace('"', '""') + '"' for text in lines]
    body = "".join(f"{line}\n" for line in lines).encode()
    for _ in range(2):  # the second time what came back
        answer = made.server.invoke(
            f"{dtype}.onnx", body, content_type="text/csv; header=absent", Accept=CSV
        )
        assert answer.status == 200, answer.body
        body = answer.body
    assert_same(cells(body.decode(), dtype), expected)


def cells(text: str, dtype: str) -> Any:
    """A CSV answer of one column as an array."""
    found = [row[0] for row in csv.reader(io.StringIO(text))]
    if dtype == "bool":
        return np.array([[cell == "True"] for cell in found])
    read = str if dtype == "str" else float if "float" in dtype else int
    return np.array([[read(cell)] for cell in found], dtype=kind_of(dtype))


@pytest.mark.parametrize("dtype", every_type(NPZ))
def test_every_type_over_npz(made: World, dtype: str) -> None:
    """An array by the input's name in, one by the output's out."""
    values = column(dtype)
    (expected,) = in_process(f"{dtype}.onnx", x=values)
    out = io.BytesIO()
    np.savez(out, x=values.astype(str) if dtype == "str" else values)
    answer = made.server.invoke(f"{dtype}.onnx", out.getvalue(), content_type=NPZ, Accept=NPZ)
    assert answer.status == 200, answer.body
    with np.load(io.BytesIO(answer.body)) as arrays:
        assert_same(arrays["y"].astype(kind_of(dtype)), expected)


@pytest.mark.parametrize("dtype", every_type(LINES))
def test_every_type_over_json_lines(made: World, dtype: str) -> None:
    """A value a line, both ways."""
    values = column(dtype)
    (expected,) = in_process(f"{dtype}.onnx", x=values)
    body = "".join(json.dumps(value) + "\n" for value in values.tolist()).encode()
    answer = made.server.invoke(f"{dtype}.onnx", body, content_type=LINES, Accept=LINES)
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert_same(np.array(found, dtype=kind_of(dtype)), expected)


@pytest.mark.supports(framework="ONNX", input="lists of tensors", format=JSON)
@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_of_tensors(made: World, dtype: str) -> None:
    """Of every type, each tensor of a shape of its own, in and out."""
    parts = [column(dtype), column(dtype)[:1].ravel()]
    expected, count = in_process(f"{dtype}-list.onnx", s=parts)
    sent = {"inputs": {"s": [part.tolist() for part in parts]}}
    answer = made.ask(f"{dtype}-list.onnx", sent).json()["outputs"]
    for found, part in zip(answer["y"], expected, strict=True):
        assert_same(np.array(found, dtype=kind_of(dtype)), part)
    assert answer["n"] == count == 2
    rows = made.ask(f"{dtype}-list.onnx", [[1]])
    assert (rows.status, rows.code) == (400, "ValidationError")
    assert '{"inputs"' in rows.message


def test_a_list_of_tensors_is_the_answer_to_a_whole_request(made: World) -> None:
    """To rows too, which it may be more or less than."""
    answer = made.ask("splitter.onnx", {"instances": [[1, 2], [3, 4]]})
    assert answer.json() == {"predictions": [[1, 2], [3, 4]]}
    answer = made.server.invoke("splitter.onnx", [[1, 2]], Accept=NPZ)
    assert (answer.status, answer.code) == (406, "NotAcceptable")


def test_a_classifiers_probabilities_say_their_labels(made: World) -> None:
    """Objects by label in JSON; elsewhere columns in the order of the labels."""
    rows = [[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]]
    first = {"label": 1, "p": {"no": 0.25, "yes": 0.5, "é": 0.25}}
    second = {"label": 0, "p": {"no": 1, "yes": 0, "é": 0}}
    answer = made.ask("texts-map.onnx", {"instances": rows}).json()
    assert answer == {"predictions": [first, second]}
    answer = made.ask("texts-map.onnx", {"inputs": {"x": rows}}).json()
    assert answer == {"outputs": {"label": [1, 0], "p": [first["p"], second["p"]]}}
    answer = made.server.invoke("texts-map.onnx", rows, Accept=CSV)
    assert answer.body == b"1,0.25,0.5,0.25\n0,1.0,0.0,0.0\n"
    answer = made.server.invoke("texts-map.onnx", rows, Accept=NPZ)
    with np.load(io.BytesIO(answer.body)) as arrays:
        assert arrays["p"].tolist() == rows
    answer = made.ask("numbers-map.onnx", [[0.25, 0.75]]).json()
    assert answer == [{"label": 1, "p": {"2": 0.75, "10": 0.25}}]


@pytest.mark.supports(framework="ONNX", input="several inputs", format=JSON)
@pytest.mark.supports(framework="ONNX", input="several inputs", format=NPZ)
def test_several_inputs(made: World) -> None:
    """By name in every row, or whole tensors by name."""
    a, b = np.array([[0.1, 2]], np.float32), np.array([[1e30, -2]], np.float32)
    (expected,) = in_process("adder.onnx", a=a, b=b)
    answer = made.ask("adder.onnx", {"inputs": {"b": b.tolist(), "a": a.tolist()}}).json()
    assert_same(np.array(answer["outputs"]["sum"], np.float32), expected)
    answer = made.ask("adder.onnx", [{"a": a[0].tolist(), "b": b[0].tolist()}]).json()
    assert_same(np.array(answer, np.float32), expected)
    out = io.BytesIO()
    np.savez(out, a=a, b=b)
    reply = made.server.invoke("adder.onnx", out.getvalue(), content_type=NPZ)
    assert_same(np.array(reply.json()["outputs"]["sum"], np.float32), expected)


@pytest.mark.supports(framework="ONNX", input="named columns", format=JSON)
@pytest.mark.supports(framework="ONNX", input="named columns", format=CSV)
def test_one_input_a_column(made: World) -> None:
    """What converters make of a frame: rows are lines of a table, whose header may reorder it."""
    expected = [{"y": [3.5], "w": ["ann"]}]
    assert made.ask("columns.onnx", [{"who": "ann", "age": 3, "size": 0.5}]).json() == expected
    assert made.ask("columns.onnx", [[3, 0.5, "ann"]]).json() == expected
    for body in (b"3,0.5,ann\n", b"who,age,size\nann,3,0.5\n"):
        answer = made.server.invoke("columns.onnx", body, content_type=CSV, Accept=CSV)
        assert answer.body == b"3.5,ann\n"


def refused(answer: Response, status: int, *words: str) -> None:
    assert answer.status == status, answer.body
    for word in words:
        assert word in answer.message


def test_shapes_defaults_and_names(made: World) -> None:
    """A fixed number of rows, a value without axes, an input that may be left out."""
    assert made.ask("one.onnx", [[1, 2]]).json() == [[1, 2]]
    refused(made.ask("one.onnx", [[1, 2]] * 2), 400, "2 rows, but the model takes exactly 1 row")
    assert made.ask("scalar.onnx", {"inputs": {"x": 1.5}}).json() == {"outputs": {"y": 1.5}}
    assert made.ask("default.onnx", [[3, 4]]).json() == [[3, 8]]
    own = {"inputs": {"x": [[3, 4]], "w": [10, 20]}}
    assert made.ask("default.onnx", own).json() == {"outputs": {"y": [[30, 80]]}}
    refused(made.ask("one.onnx", {"inputs": {"any": [[1, 2]]}}), 400, "input 'x' is missing")


def test_weights_in_a_file_of_their_own(made: World) -> None:
    """Inside the artifact they are read, from outside never."""
    assert made.ask("external.tar.gz", [[1, 1, 1, 1]]).json() == [[1, 2, 3, 4]]
    answer = made.ask("outside.tar.gz", [[1, 1, 1, 1]])
    refused(answer, 422, "external data is missing, too short, or outside of the artifact")


def test_options_of_the_manifest(made: World) -> None:
    """A provider that isn't here is one line in the log; an unknown option is refused."""
    assert made.ask("cuda.tar.gz", [1, 2]).json() == [1, 2]
    message = "a provider isn't available, the model runs without it"
    (event,) = made.server.events(message)
    assert event["missing"] == "CUDAExecutionProvider"
    refused(made.ask("option.tar.gz", [1]), 422, "'fast'", "graph_optimization_level")
    refused(made.ask("custom.onnx", [1]), 422, "operator Frob of domain my.own")


def test_absurd_memory_is_an_answer_and_the_worker_lives(made: World) -> None:
    """Terabytes asked for by one request cost that request only."""
    before = made.losses()
    for count, status in ((2**40, 507), (2**62, 500)):
        answer = made.ask("expander.onnx", {"inputs": {"x": [1.5], "n": [count]}})
        refused(answer, status)
        answer = made.ask("expander.onnx", {"inputs": {"x": [1.5], "n": [3]}})
        assert answer.json() == {"outputs": {"y": 1.5}}
    assert made.losses() == before
