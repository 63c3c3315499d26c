"""What scikit-learn's models take and answer beyond numbers: labels, texts, targets, frames."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import __version__
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import dumped
from tests.support.s3 import Bucket

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::UserWarning")]


def proves(kind: str, media: str = "application/json") -> pytest.MarkDecorator:
    return pytest.mark.supports(framework="scikit-learn", input=kind, format=media)


ROWS, SPECIES = load_iris(return_X_y=True)
SOME = ROWS[[0, 60, 140]]
TEXTS = ["a good movie", "a bad film", "good, good film", 'the "bad" movie']
GOOD = [True, False, True, False]
LABELS: dict[str, Any] = {
    "str": np.array(["se, tosa", "ü", "c"])[SPECIES],
    "object": np.array(["a", "b", "c"], dtype=object)[SPECIES],
    "bool": SPECIES > 0,
    "int": SPECIES * 2**40,
    "float": SPECIES * 2.0,
}
FRAME = pd.DataFrame({"words": TEXTS, "stars": [5, 1, 4, 2]})
CARS = pd.DataFrame(
    {"price": [1.5, 2.5, 3.0, 4.0], "make": ["a", "b", "a", "c"], "doors": [2, 4, 4, 2]}
)


def _classifier(labels: Any) -> Any:
    return RandomForestClassifier(5, random_state=0).fit(ROWS, labels)


def _text_beside_numbers() -> Any:
    columns = [("t", TfidfVectorizer(), "words"), ("n", StandardScaler(), ["stars"])]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(FRAME, GOOD)


def _framed() -> Any:
    columns = [("n", StandardScaler(), ["price"]), ("w", OrdinalEncoder(dtype=np.int64), ["make"])]
    return (
        ColumnTransformer(columns, remainder="passthrough", verbose_feature_names_out=False)
        .set_output(transform="pandas")
        .fit(CARS)
    )


TWO = np.c_[LABELS["object"], np.where(SPECIES > 0, "x", "y")]
MODELS: dict[str, Any] = {
    **{f"labels-{name}": _classifier(labels) for name, labels in LABELS.items()},
    "texts": make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, GOOD),
    "vectors": TfidfVectorizer().fit(TEXTS),
    "words": make_pipeline(OneHotEncoder(), LogisticRegression()).fit(CARS[["make"]], GOOD),
    "mixed": _text_beside_numbers(),
    "frame": _framed(),
    "targets": LinearRegression().fit(ROWS[:, :2], ROWS[:, 2:]),
    "classes": MultiOutputClassifier(LogisticRegression(max_iter=500)).fit(ROWS, TWO),
    "forest": RandomForestClassifier(5, random_state=0).fit(ROWS, TWO),
    "chain": ClassifierChain(LogisticRegression(max_iter=500)).fit(ROWS, SPECIES[:, None] > [0, 1]),
}


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world(s3_server, bucket, tmp_path_factory.mktemp("estimators2")) as made:
        for name, model in MODELS.items():
            made.put(f"{name}.joblib", dumped(model))
        yield made


def _ask(made: World, name: str, rows: Any, method: str = "predict") -> Any:
    answer = made.server.invoke(
        f"{name}.joblib", rows, X_Amzn_SageMaker_Custom_Attributes=f"method={method}"
    )
    assert answer.status == 200, answer.body
    return answer.json()


def _csv(made: World, name: str, body: str, accept: str = "text/csv") -> str:
    answer = made.server.invoke(
        f"{name}.joblib", body.encode(), content_type="text/csv", Accept=accept
    )
    assert answer.status == 200, answer.body
    return answer.body.decode()


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_of_their_own_type(made: World, kind: str) -> None:
    """Strings, true and false, whole numbers and others, in JSON and in CSV."""
    model = MODELS[f"labels-{kind}"]
    expected = model.predict(SOME).tolist()
    found = _ask(made, f"labels-{kind}", SOME.tolist())
    assert found == expected
    assert {type(label) for label in found} == {type(label) for label in expected}
    lines = "".join(",".join(map(str, row)) + "\n" for row in SOME.tolist())
    cells = [f'"{label}"' if "," in str(label) else str(label) for label in expected]
    assert _csv(made, f"labels-{kind}", lines) == "".join(f"{cell}\n" for cell in cells)


@proves("texts")
def test_bare_texts(made: World) -> None:
    """A text is a row, bare, in an array, under any name, or one of the inputs."""
    expected = MODELS["texts"].predict(TEXTS).tolist()
    for body in (
        TEXTS,
        [[text] for text in TEXTS],
        [{"text": text} for text in TEXTS],
    ):
        assert _ask(made, "texts", body) == expected
        assert _ask(made, "texts", {"instances": body}) == {"predictions": expected}
    assert _ask(made, "texts", {"inputs": {"x": TEXTS}}) == {"outputs": {"predict": expected}}
    dense = MODELS["vectors"].transform(TEXTS).toarray().tolist()
    assert _ask(made, "vectors", TEXTS, "transform") == dense
    refused = made.ask("texts.joblib", ["fine", 3])
    assert (refused.status, refused.message) == (400, "row 1: 3 where one text is needed")


@proves("texts", "text/csv")
def test_texts_in_csv(made: World) -> None:
    """Quoted where they hold separators or quotes."""
    body = "".join('"' + text.replace('"', '""') + '"\n' for text in TEXTS)
    expected = "".join(f"{label}\n" for label in MODELS["texts"].predict(TEXTS).tolist())
    assert _csv(made, "texts", body) == expected


@proves("categories")
@proves("text columns")
def test_columns_of_words_and_texts(made: World) -> None:
    """Named columns keep their kinds: categories for an encoder, texts for a vectorizer."""
    rows = CARS[["make"]].to_dict("records")
    assert _ask(made, "words", rows) == MODELS["words"].predict(CARS[["make"]]).tolist()
    expected = MODELS["mixed"].predict_proba(FRAME).tolist()
    for body in (FRAME.to_dict("records"), FRAME.to_numpy().tolist()):
        assert _ask(made, "mixed", body, "predict_proba") == expected
    columns = {"inputs": FRAME.to_dict("list")}
    answer = _ask(made, "mixed", columns, "predict_proba")
    assert answer == {"outputs": {"predict_proba": expected}}


@proves("categories", "text/csv")
@proves("text columns", "text/csv")
def test_columns_of_words_and_texts_in_csv(made: World) -> None:
    """With a header or without."""
    expected = "".join(f"{label}\n" for label in MODELS["mixed"].predict(FRAME).tolist())
    for header in (True, False):
        assert _csv(made, "mixed", FRAME.to_csv(index=False, header=header)) == expected
    words = "".join(f"{label}\n" for label in MODELS["words"].predict(CARS[["make"]]).tolist())
    assert _csv(made, "words", "a\nb\na\nc\n") == words


def test_several_targets(made: World) -> None:
    """A row of targets a row; where each has an array of its own, an object by name a row."""
    assert _ask(made, "targets", SOME[:, :2].tolist()) == pytest.approx(
        MODELS["targets"].predict(SOME[:, :2])
    )
    for name in ("classes", "forest"):
        assert _ask(made, name, SOME.tolist()) == MODELS[name].predict(SOME).tolist()
        first, second = (part.tolist() for part in MODELS[name].predict_proba(SOME))
        by_row = [{"output_0": a, "output_1": b} for a, b in zip(first, second, strict=True)]
        assert _ask(made, name, SOME.tolist(), "predict_proba") == by_row
        whole = _ask(made, name, {"inputs": {"x": SOME.tolist()}}, "predict_proba")
        assert whole == {"outputs": {"output_0": first, "output_1": second}}
    for method in ("predict", "predict_proba", "decision_function"):
        expected = getattr(MODELS["chain"], method)(SOME).tolist()
        assert _ask(made, "chain", SOME.tolist(), method) == expected


def test_a_frame_is_answered_by_column(made: World) -> None:
    """``set_output(transform="pandas")``: an object a row; columns for inputs and in CSV."""
    expected = MODELS["frame"].transform(CARS)
    body = CARS.to_dict("records")
    found = _ask(made, "frame", {"instances": body}, "transform")["predictions"]
    assert found == expected.to_dict("records")
    assert [type(value) for value in found[0].values()] == [float, int, int]
    columns = _ask(made, "frame", {"inputs": CARS.to_dict("list")}, "transform")
    assert columns == {"outputs": expected.to_dict("list")}
    text = _csv(made, "frame", CARS.to_csv(index=False))
    assert text == expected.to_csv(index=False, header=False)


@pytest.mark.parametrize("name", ["", "x", "input_1", "float_input", "arr_0"])
def test_one_table_may_have_any_name(made: World, name: str) -> None:
    """A model of unnamed columns has nothing to hold the name against; two names are refused."""
    body = {"inputs": {name: SOME[:, :2].tolist()}}
    found = _ask(made, "targets", body)["outputs"]["predict"]
    assert found == MODELS["targets"].predict(SOME[:, :2]).tolist()
    two = made.ask("targets.joblib", {"inputs": {name: [[1, 2]], "other": [[1, 2]]}})
    assert (two.status, two.message) == (400, "'inputs' must hold one table, got 2 names")


def test_what_is_no_model_of_this_version_is_explained(made: World) -> None:
    """A dict around a model is a 422, what fails at predict a 500: both say what to do about."""
    made.put("dict.pkl", pickle.dumps({"model": MODELS["targets"], "features": ["a", "b"]}))
    refused = made.ask("dict.pkl", [[1, 2]])
    assert (refused.status, refused.code) == (422, "ModelLoadError")
    assert "a dict with 'model', 'features', not a model: save 'model' by" in refused.message
    lacking = SimpleImputer().fit(ROWS)
    del lacking._fill_dtype
    other = __version__[:-1] + ("0" if __version__[-1] != "0" else "1")
    made.put("old.pkl", pickle.dumps(lacking).replace(__version__.encode(), other.encode()))
    failed = made.ask("old.pkl", json.dumps(SOME.tolist()).encode())
    assert (failed.status, failed.code) == (500, "ModelError")
    assert f"_fill_dtype'; scikit-learn {other} made the model, {__version__}" in failed.message
