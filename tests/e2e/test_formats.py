"""What goes in and what comes out: forms, types, methods, names, and the same numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import dumped
from tests.support.s3 import Bucket, tar_of
from tests.support.server import until

pytestmark = pytest.mark.e2e
ROWS, LABELS = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def people() -> tuple[Pipeline, pd.DataFrame]:
    """A pipeline that needs its column names, and its data."""
    frame = pd.DataFrame(
        {
            "age": [20.0, 35.0, 50.0, 65.0] * 10,
            "city": ["Tokyo", "New York", "Berlin", "Tokyo"] * 10,
            "visits": [1, 5, 2, 9] * 10,
        }
    )
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["age", "visits"]), ("words", OneHotEncoder(), ["city"])]
    )
    model = Pipeline([("columns", columns), ("model", LogisticRegression())])
    return model.fit(frame, [0, 1, 1, 0] * 10), frame


FOREST = RandomForestClassifier(20, random_state=0).fit(ROWS, NAMES[LABELS])
LINEAR = LinearRegression().fit(ROWS[:, :3], ROWS[:, 3])
PEOPLE, FRAME = people()
OTHERS = {
    "logistic.joblib": LogisticRegression(max_iter=500).fit(ROWS, LABELS),
    "scaler.joblib": StandardScaler().fit(ROWS),
    "density.joblib": KernelDensity().fit(ROWS),
}


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("formats")
    onnx = to_onnx(
        OTHERS["logistic.joblib"], ROWS[:1].astype(np.float32), options={"zipmap": False}
    )
    with world(s3_server, bucket, folder) as made:
        made.put("forest.tar.gz", tar_of({"model.joblib": dumped(FOREST)}))
        made.put("linear.pkl", dumped(LINEAR))
        for name, model in OTHERS.items():
            made.put(name, dumped(model))
        made.put("people.joblib", dumped(PEOPLE))
        made.put("iris.onnx", onnx.SerializeToString())
        datasets = files("onnxruntime") / "datasets"
        made.put("mul.onnx", (datasets / "mul_1.onnx").read_bytes())
        yield made


@pytest.mark.supports(framework="scikit-learn", input="dense numbers", format="application/json")
def test_the_three_forms_of_json(made: World) -> None:
    """Each form is answered in its own; a flat array of as many numbers as features is one row."""
    row, expected = ROWS[0].tolist(), [str(FOREST.predict(ROWS[:1])[0])]
    target = "forest.tar.gz"
    assert made.ask(target, {"instances": [row]}).json() == {"predictions": expected}
    assert made.ask(target, [row]).json() == expected
    assert made.ask(target, row).json() == expected
    assert made.ask(target, {"inputs": [row]}).json() == {"outputs": {"predict": expected}}


@pytest.mark.supports(framework="scikit-learn", input="dense numbers", format="text/csv")
def test_csv_in_and_out(made: World) -> None:
    """One line a row, whatever the line ends; Accept decides what comes back."""
    body = b"5.1, 3.5,1.4,0.2\r\n6.7,3.0,5.2,2.3"
    answer = made.server.invoke("forest.tar.gz", body, content_type="text/csv", Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.body == b"setosa\nvirginica\n"
    accept = "text/csv;q=0.1, application/json;q=0.9"
    answer = made.server.invoke(
        "forest.tar.gz", body, content_type="text/csv; charset=utf-8", Accept=accept
    )
    assert answer.json() == {"predictions": ["setosa", "virginica"]}
    latin = made.server.invoke(
        "people.joblib",
        "age,city,visits\n20,Tokyo,1\n".encode("utf-16"),
        content_type="text/csv; charset=utf-16; header=present",
    )
    assert latin.status == 200, latin.body


@pytest.mark.supports(framework="scikit-learn", input="named columns", format="application/json")
def test_rows_by_column_name(made: World) -> None:
    """In any order; a missing or unknown column is named with its row."""
    rows = [{"visits": 1, "city": "Tokyo", "age": 20.0}, {"age": 35, "city": "Berlin", "visits": 2}]
    expected = PEOPLE.predict(pd.DataFrame(rows)[list(FRAME.columns)]).tolist()
    assert made.ask("people.joblib", {"instances": rows}).json() == {"predictions": expected}
    arrays = [[row["age"], row["city"], row["visits"]] for row in rows]
    assert made.ask("people.joblib", arrays).json() == expected
    answer = made.ask("people.joblib", [rows[0], {"age": 1, "visits": 2}])
    assert answer.status == 400
    assert "row 1" in answer.message
    assert "city" in answer.message
    answer = made.ask("people.joblib", [{**rows[0], "town": "x"}])
    assert answer.status == 400
    assert "town" in answer.message


@pytest.mark.supports(framework="scikit-learn", input="named columns", format="text/csv")
def test_csv_headers(made: World) -> None:
    """A first row that equals the columns is a header, unasked; a declared one may reorder them."""
    plain = b"age,city,visits\n20,Tokyo,1\n35,Berlin,2\n"
    swapped = b"city,visits,age\nTokyo,1,20\nBerlin,2,35\n"
    for body, kind in ((plain, "text/csv"), (swapped, "text/csv; header=present")):
        answer = made.server.invoke("people.joblib", body, content_type=kind)
        expected = PEOPLE.predict(FRAME.iloc[:0].reindex(range(2)).assign(
            age=[20.0, 35.0], city=["Tokyo", "Berlin"], visits=[1, 2]
        ))  # fmt: skip
        assert answer.json() == {"predictions": expected.tolist()}


def test_methods(made: World) -> None:
    """The custom attributes choose the method; one that the model hasn't is a 400 with a list."""
    rows = ROWS[:3].tolist()
    answer = made.server.invoke(
        "forest.tar.gz",
        rows,
        X_Amzn_SageMaker_Custom_Attributes="trace=1,method=predict_proba",
    )
    assert answer.json() == FOREST.predict_proba(ROWS[:3]).tolist()
    answer = made.server.invoke(
        "forest.tar.gz", rows, X_Amzn_SageMaker_Custom_Attributes="method=transform"
    )
    assert answer.status == 400
    assert "predict_proba" in answer.message


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("logistic.joblib", "predict"),
        ("logistic.joblib", "predict_proba"),
        ("logistic.joblib", "predict_log_proba"),
        ("logistic.joblib", "decision_function"),
        ("scaler.joblib", "transform"),
        ("density.joblib", "score_samples"),
    ],
)
def test_every_method_answers_as_in_process(made: World, target: str, method: str) -> None:
    """On a request's wish, whatever the model's default is; the other wishes are refused."""
    rows = ROWS[40:110:10]
    answer = made.server.invoke(
        target, rows.tolist(), X_Amzn_SageMaker_Custom_Attributes=f"method={method}"
    )
    expected = getattr(OTHERS[target], method)(rows)
    np.testing.assert_allclose(np.array(answer.json()), expected, rtol=1e-9)
    for wish in ("fit", "__class__", "predict,method=transform"):
        answer = made.server.invoke(
            target, rows.tolist(), X_Amzn_SageMaker_Custom_Attributes=f"method={wish}"
        )
        assert (answer.status, answer.code) == (400, "ValidationError")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/*", "text/csv"),
        ("*/*", "application/json"),
        ("image/png, */*;q=0.1", "application/json"),
        ("application/json;q=0, */*", "text/csv"),
        ("application/json;q=0.8, text/csv;q=0.9", "text/csv"),
        ("text/csv;q=0", ""),
        ("*/*;q=0", ""),
    ],
)
def test_accept_is_weighed(made: World, accept: str, kind: str) -> None:
    """The highest q wins, wildcards cover, and what has q=0 is never sent."""
    answer = made.server.invoke("logistic.joblib", ROWS[:2].tolist(), Accept=accept)
    if not kind:
        assert (answer.status, answer.code) == (406, "NotAcceptable")
        return
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.body == {"text/csv": b"0\n0\n", "application/json": b"[0,0]"}[kind]


def test_a_csv_header_is_never_a_row_and_a_row_never_a_header(made: World) -> None:
    """One answer a row: names are skipped, a declared header too, a mistyped number isn't."""

    def ask(body: bytes, kind: str = "text/csv") -> Any:
        return made.server.invoke("logistic.joblib", body, content_type=kind).json()

    rows = b"5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n"
    both, second = {"predictions": [0, 2]}, {"predictions": [2]}
    assert ask(rows) == ask(rows, "text/csv; header=absent") == both
    assert ask(b"a,b,c,d\n" + rows) == ask(b"a,b,c,d\n" + rows, "text/csv;header=present") == both
    assert ask(rows, "text/csv; header=present") == second
    assert "row 0, column 1" in ask(rows.replace(b"3.5", b"3.5.", 1))["Message"]


def proba(made: World, target: str, rows: Any) -> Any:
    return made.server.invoke(
        target, rows, X_Amzn_SageMaker_Custom_Attributes="method=predict_proba"
    ).json()


def joined(made: World) -> float:
    """How many requests so far were put to another one's batch; of one page, that both agree."""
    page = text_string_to_metric_families(made.server.get("/metrics").body.decode())
    values = {sample.name: sample.value for family in page for sample in family.samples}
    return values["mms_batch_requests_sum"] - values["mms_batch_requests_count"]


def test_the_same_numbers_alone_and_in_a_batch(made: World) -> None:
    """Trees are equal bit for bit however requests are put together, linear models to 1e-9."""
    before = joined(made)
    alone = [FOREST.predict_proba(ROWS[i : i + 1]).tolist() for i in range(0, 150, 3)]
    with ThreadPoolExecutor(25) as pool:
        rows = [ROWS[i : i + 1].tolist() for i in range(0, 150, 3)]
        assert list(pool.map(lambda r: proba(made, "forest.tar.gz", r), rows)) == alone
        answers = pool.map(lambda r: made.ask("linear.pkl", [r[0][:3]]).json()[0], rows)
        np.testing.assert_allclose(list(answers), LINEAR.predict(ROWS[::3, :3]), rtol=1e-9)
    until(lambda: joined(made) > before, "some of them were put together")


def test_onnx_models(made: World) -> None:
    """Several outputs come by name; a float32 answer is the float64 of the same value."""
    rows = ROWS[[0, 60, 140]]
    answer = made.ask("iris.onnx", {"instances": rows.tolist()}).json()["predictions"]
    assert [row["label"] for row in answer] == [0, 1, 2]
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-5 for row in answer)
    model = OTHERS["logistic.joblib"]
    np.testing.assert_allclose(
        [row["probabilities"] for row in answer], model.predict_proba(rows), atol=1e-5
    )
    named = made.ask("iris.onnx", {"inputs": {"X": rows.tolist()}}).json()["outputs"]
    assert named["label"] == [0, 1, 2]
    assert np.shape(named["probabilities"]) == (3, 3)
    values = [[1.5, 2.0], [3.0, 4.0], [5.0, 6.0]]
    answer = made.ask("mul.onnx", {"inputs": {"X": values}}).json()
    assert answer == {"outputs": {"Y": [[1.5, 4.0], [9.0, 16.0], [25.0, 36.0]]}}
    answer = made.ask("mul.onnx", {"inputs": {"X": [[1, 2]]}})
    assert answer.status == 400
    answer = made.ask("mul.onnx", {"inputs": {"Z": values}})
    assert answer.status == 400
    assert "X" in answer.message


def test_a_model_saved_by_pandas_columns_answers_as_in_process(made: World) -> None:
    """The whole frame over HTTP equals the whole frame in-process."""
    out = io.StringIO()
    FRAME.to_csv(out, index=False)
    answer = made.server.invoke(
        "people.joblib",
        out.getvalue().encode(),
        content_type="text/csv",
        X_Amzn_SageMaker_Custom_Attributes="method=predict_proba",
    )
    found = np.array(answer.json()["predictions"])
    np.testing.assert_allclose(found, PEOPLE.predict_proba(FRAME), rtol=1e-9)
