"""scikit-learn models answer as they do in a notebook, to every form of request."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    MultiLabelBinarizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from loaders.base import InputError, LoadError, Payload, TensorSpec, concatenate
from loaders.sklearn import answers
from loaders.sklearn.answers import outputs_of
from tests.loaders.support import answer, csv, rows, served

X, Y = load_iris(return_X_y=True)
FRAME, _ = load_iris(return_X_y=True, as_frame=True)
CARS = pd.DataFrame({
    "doors": [2, 4, 4, 2, 3, 5],
    "price": [1.5, 2.5, 3.0, 4.0, 2.0, 1.0],
    "make": ["a", "b", "a", "c", "b", "c"],
})  # fmt: skip
SOLD = [0, 1, 0, 1, 1, 0]


def _cars(**encoder: Any) -> Any:
    columns = ColumnTransformer(
        [
            ("n", StandardScaler(), ["doors", "price"]),
            ("w", OneHotEncoder(**encoder), ["make"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(CARS, SOLD)


def test_the_answers_are_the_models_own(tmp_path: Path) -> None:
    """Every method, bit for bit, for a model of unnamed columns."""
    own = LogisticRegression(max_iter=500).fit(X, Y)
    model = served(own, tmp_path)
    assert model.methods == (
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    )
    for method in model.methods:
        assert answer(model, rows(*X[:9].tolist()), method) == getattr(own, method)(X[:9]).tolist()
    assert model.signature.inputs == (TensorSpec(name="", dtype="float64", shape=(None, 4)),)
    assert model.batchable


def test_named_columns_arrive_by_name(tmp_path: Path) -> None:
    """Rows as arrays, as objects in any order, as CSV, and by input: one answer."""
    own = LogisticRegression(max_iter=500).fit(FRAME, Y)
    model = served(own, tmp_path)
    row, names = X[60].tolist(), list(FRAME.columns)
    by_name = dict(reversed(list(zip(names, row, strict=True))))
    expected = own.predict_proba(FRAME.iloc[60:61]).tolist()
    for payload in (
        rows(row),
        rows(by_name),
        Payload(form="rows", rows=row, flat=True),
        csv(",".join(map(str, row))),
        csv(",".join(reversed(names)), ",".join(map(str, reversed(row)))),
        Payload(form="inputs", tensors={n: [v] for n, v in by_name.items()}),
        Payload(form="inputs", tensors={"": [row]}),
    ):
        assert answer(model, payload, "predict_proba") == expected


def test_mixed_columns_become_a_frame_of_their_kinds(tmp_path: Path) -> None:
    """Whole numbers, fractions and words reach the transformers they were fitted for."""
    own = _cars()
    model = served(own, tmp_path)
    payload = rows(*CARS.to_dict("records"))
    assert answer(model, payload, "predict_proba") == own.predict_proba(CARS).tolist()
    batch = model.prepare(payload)
    assert [a.dtype.kind for a in batch.arrays.values()] == ["i", "f", "O"]
    assert [i.dtype for i in model.signature.inputs] == ["float64", "float64", "any"]


def test_batches_of_requests_answer_as_the_requests(tmp_path: Path) -> None:
    """Rows of several requests, put together, answer in their order."""
    own = _cars()
    model = served(own, tmp_path)
    assert model.batchable
    records = CARS.to_dict("records")
    both = [model.prepare(rows(*records[:2])), model.prepare(rows(*records[2:5]))]
    assert both[0].key == both[1].key
    joined = model.run("predict_proba", concatenate(both)).arrays["predict_proba"]
    assert np.allclose(joined, own.predict_proba(CARS[:5]), rtol=1e-12)
    assert model.prepare(rows({**records[0], "doors": 2.0})).key != both[0].key


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (rows([2, 1.5, "zz"]), r"row 0, column 'make' \(2\): 'zz'.*unknown categor"),
        (rows(["x", 1.5, "a"]), r"row 0, column 'doors' \(0\): 'x' isn't a number"),
        (rows([2, 1.5, "a"], [2, None, "a"]), r"row 1, column 'price' \(1\): NaN, which this"),
        (csv("2,,a"), r"row 0, column 'price' \(1\): NaN, which this"),
        (rows([float("inf"), 1.5, "a"]), r"row 0, column 'doors' \(0\): inf, which this"),
        (rows([2, 1.5, None]), r"row 0, column 'make' \(2\): NaN, which this model doesn't take"),
    ],
)
def test_values_the_model_refuses_are_named(payload: Payload, message: str, tmp_path: Path) -> None:
    """What scikit-learn says from deep inside becomes the client's row and column."""
    model = served(_cars(), tmp_path)
    with pytest.raises(InputError, match=message):
        model.run("predict", model.prepare(payload))


def test_nan_is_refused_by_the_model_only(tmp_path: Path) -> None:
    """A model that takes NaN gets it; another's refusal names the cell."""
    payload = rows([5.1, 3.5, 1.4, 0.2], [5.1, None, 1.4, 0.2])
    taker = served(HistGradientBoostingClassifier(max_iter=3).fit(X, Y), tmp_path)
    assert len(answer(taker, payload)) == 2
    imputed = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)).fit(X, Y)
    assert len(answer(served(imputed, tmp_path), payload)) == 2
    refuser = served(LogisticRegression(max_iter=500).fit(X, Y), tmp_path)
    with pytest.raises(InputError, match="row 1, column 1: NaN, which this model doesn't take"):
        answer(refuser, payload)


class Buggy(LinearRegression):  # type: ignore[misc]  # scikit-learn is untyped
    """A user's model with a bug of its own."""

    def predict(self, rows: Any) -> Any:
        raise ValueError(f"my own bug after {len(rows)} rows")


def test_a_models_own_bug_isnt_the_clients_fault(tmp_path: Path) -> None:
    """A ValueError of user code stays one."""
    model = served(Buggy().fit(X, Y), tmp_path, trusted=True)
    assert not model.batchable
    with pytest.raises(ValueError, match="my own bug"):
        answer(model, rows(X[0].tolist()))


@pytest.mark.parametrize(
    ("own", "first"),
    [
        (PCA(2), "transform"),
        (KMeans(2, n_init=1), "predict"),
        (GaussianMixture(2), "predict"),
        (LinearSVC(), "predict"),
        (StandardScaler(), "transform"),
    ],
)
def test_the_methods_are_those_the_model_has(own: Any, first: str, tmp_path: Path) -> None:
    """``predict`` first, ``transform`` first without it; what isn't available isn't offered."""
    model = served(own.fit(X, Y), tmp_path)
    assert model.methods[0] == first
    for method in model.methods:
        assert answer(model, rows(*X[:3].tolist()), method) == getattr(own, method)(X[:3]).tolist()
    assert ("predict_proba" in model.methods) == hasattr(own, "predict_proba")


def test_the_manifest_may_choose_the_method(tmp_path: Path) -> None:
    """A default that exists comes first; one that doesn't is a load error."""
    own = LogisticRegression(max_iter=500).fit(X, Y)
    assert served(own, tmp_path, method="predict_proba").methods[0] == "predict_proba"
    with pytest.raises(LoadError, match="has no method 'transform'"):
        served(own, tmp_path, method="transform")


def test_a_model_that_can_only_fit_isnt_served(tmp_path: Path) -> None:
    """DBSCAN can't answer for new rows."""
    with pytest.raises(LoadError, match="has no predict or transform"):
        served(DBSCAN().fit(X), tmp_path)


TEXTS = ["good movie", "bad film", "good film", "bad movie"]
GOOD = [1, 0, 1, 0]


@pytest.mark.parametrize("vectorizer", [TfidfVectorizer(), HashingVectorizer(n_features=16)])
def test_texts_reach_a_vectorizer_as_texts(vectorizer: Any, tmp_path: Path) -> None:
    """One column of strings, however it is wrapped."""
    own = make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, [1, 0, 1, 0])
    model = served(own, tmp_path)
    assert model.signature.inputs[0].dtype == "str"
    expected = own.predict_proba(TEXTS[:2]).tolist()
    for payload in (
        rows(*TEXTS[:2]),
        rows(*[[t] for t in TEXTS[:2]]),
        rows(*[{"text": t} for t in TEXTS[:2]]),
        Payload(form="rows", rows=TEXTS[:2], flat=True),
        Payload(form="inputs", tensors={"text": TEXTS[:2]}),
        csv(*TEXTS[:2]),
    ):
        assert answer(model, payload, "predict_proba") == expected
    for wrong in (rows(1), rows(["a", "b"]), rows(None), rows("a", {"x": 1})):
        with pytest.raises(InputError, match=r"row \d: .* where one text is needed"):
            model.prepare(wrong)
    for wrong in (rows(), Payload(form="inputs", tensors={"a": 1}), Payload(form="inputs")):
        with pytest.raises(InputError):
            model.prepare(wrong)


def test_objects_reach_a_dict_vectorizer_as_objects(tmp_path: Path) -> None:
    """Free keys: unknown ones are the vectorizer's business."""
    own = make_pipeline(DictVectorizer(), LogisticRegression())
    own.fit([{"a": 1, "b": "x"}, {"a": 2}], [0, 1])
    model = served(own, tmp_path)
    assert answer(model, rows({"a": 2, "zz": 1})) == [1]
    with pytest.raises(InputError, match="row 0: 3 where an object"):
        model.prepare(rows(3))


def test_sparse_answers_are_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense arrays up to a bound; beyond it the client is told, and the worker lives."""
    own = TfidfVectorizer().fit(TEXTS)
    model = served(own, tmp_path)
    assert answer(model, rows(*TEXTS)) == own.transform(TEXTS).toarray().tolist()
    monkeypatch.setattr(answers, "MAX_DENSE_BYTES", 10)
    with pytest.raises(InputError, match="send fewer rows at once"):
        answer(model, rows(*TEXTS))


def test_several_targets_are_several_outputs(tmp_path: Path) -> None:
    """``predict_proba`` of a multi-output classifier has one array a target."""
    own = MultiOutputClassifier(LogisticRegression(max_iter=500)).fit(X, np.c_[Y, Y > 0])
    model = served(own, tmp_path)
    outputs = model.run("predict_proba", model.prepare(rows(X[0].tolist())))
    assert not outputs.single
    assert [a.shape for a in outputs.arrays.values()] == [(1, 3), (1, 2)]


def test_models_predict_in_one_thread(tmp_path: Path) -> None:
    """The workers are the parallelism: nested estimators' ``n_jobs`` is taken away."""
    own = make_pipeline(StandardScaler(), CalibratedClassifierCV(RandomForestClassifier(5), cv=2))
    own.fit(X, Y)
    own[1].n_jobs = 4
    for calibrated in own[1].calibrated_classifiers_:
        calibrated.estimator.n_jobs = -1
    model: Any = served(own, tmp_path)
    inner = model._calls["predict"].__self__.steps[1][1]
    assert inner.n_jobs is None
    assert {c.estimator.n_jobs for c in inner.calibrated_classifiers_} == {None}
    assert answer(model, rows(*X[:5].tolist())) == own.predict(X[:5]).tolist()


def test_a_frame_is_an_output_a_column(tmp_path: Path) -> None:
    """``set_output(transform="pandas")``: each column under its name and of its own type."""
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["price"]), ("w", OrdinalEncoder(dtype=np.int64), ["make"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    own = columns.fit(CARS)
    model = served(own, tmp_path)
    outputs = model.run("transform", model.prepare(rows(*CARS.to_dict("records"))))
    expected = own.transform(CARS)
    assert not outputs.single
    assert list(outputs.arrays) == ["price", "make", "doors"]
    for name, array in outputs.arrays.items():
        assert array.dtype == expected[name].dtype
        assert array.tolist() == expected[name].tolist()


def test_what_numpy_cannot_hold_of_a_frame_is_an_object() -> None:
    """A gap among whole numbers is null; categories are their values; equal names are an array."""
    frame = pd.DataFrame({
        "whole": pd.array([1, None], dtype="Int64"),
        "full": pd.array([1, 2], dtype="Int64"),
        "kind": pd.Categorical(["a", "b"]),
        3: [True, False],
    })  # fmt: skip
    found = outputs_of("transform", frame, 2).arrays
    assert [found[n].tolist() for n in ("whole", "full", "kind", "3")] == [
        [1, None], [1, 2], ["a", "b"], [True, False],
    ]  # fmt: skip
    assert [found[n].dtype.kind for n in ("whole", "full", "kind", "3")] == ["O", "i", "O", "b"]
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert outputs_of("transform", twice, 1).arrays["transform"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "given", [["a", "b"], [1, 2], [np.int64(1), np.int64(2)], [[1, 2], [3, 4]]]
)
def test_a_plain_list_is_an_answer_a_row(given: list[Any]) -> None:
    """Only a list of arrays has one a target: two labels for two rows aren't two outputs."""
    found = outputs_of("predict", given, 2)
    assert (list(found.arrays), found.single, found.batched) == (["predict"], True, True)
    assert found.arrays["predict"].tolist() == given
    several = outputs_of("predict_proba", [np.ones((2, 2)), np.ones((2, 3))], 2)
    assert (list(several.arrays), several.single) == (["output_0", "output_1"], False)


def test_frames_of_a_library_that_is_not_here_are_refused(tmp_path: Path) -> None:
    """A model that answers in polars can't without it: said at load, not at every request."""
    own = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    own[0]._sklearn_output_config = {"transform": "polars"}
    with pytest.raises(LoadError, match=r"set_output\(transform='polars'\)"):
        served(own, tmp_path)


@pytest.mark.parametrize(
    "around",
    [
        OneVsRestClassifier,
        partial(CalibratedClassifierCV, cv=2),
        lambda base: VotingClassifier([("a", base)]),
        lambda base: StackingClassifier([("a", base)], cv=2),
        lambda base: GridSearchCV(base, {"logisticregression__C": [1.0]}, cv=2),
        partial(FixedThresholdClassifier, threshold=0.4),
        lambda base: make_pipeline(FunctionTransformer(), base),
        lambda base: FixedThresholdClassifier(FrozenEstimator(base.fit(TEXTS, GOOD))),
    ],
)
def test_texts_reach_a_vectorizer_through_whatever_is_around_it(
    around: Any, tmp_path: Path
) -> None:
    """Searches, ensembles and wrappers hand a text on, so a bare text is a row to them."""
    own = around(make_pipeline(TfidfVectorizer(), LogisticRegression())).fit(TEXTS * 3, GOOD * 3)
    model = served(own, tmp_path)
    payload = Payload(form="rows", rows=TEXTS[:2], flat=True)
    assert answer(model, payload, "predict") == own.predict(TEXTS[:2]).tolist()


def test_a_column_of_texts_beside_numbers(tmp_path: Path) -> None:
    """A ColumnTransformer gives a vectorizer its one column, by name or by number."""
    frame = pd.DataFrame({"words": TEXTS, "stars": [5, 1, 4, 2]})
    for data, where in ((frame, ("words", "stars")), (frame.to_numpy(), (0, 1))):
        columns = ColumnTransformer(
            [("t", TfidfVectorizer(), where[0]), ("n", StandardScaler(), [where[1]])]
        )
        own = make_pipeline(columns, LogisticRegression()).fit(data, GOOD)
        model = served(own, tmp_path)
        values = frame.to_numpy().tolist()
        expected = own.predict_proba(data).tolist()
        assert answer(model, rows(*values), "predict_proba") == expected
        assert answer(model, csv(*(f"{t},{n}" for t, n in values)), "predict_proba") == expected
        with pytest.raises(InputError, match=r"row 0, column.*'x' isn't a number"):
            model.prepare(rows(["good", "x"]))


_LISTS: list[list[str]] = [["a"], ["a", "b"], []]


@pytest.mark.parametrize(
    ("own", "payload", "data"),
    [
        (LabelEncoder().fit(["b", "1"]), rows("1", ["b"], {"label": "b"}), ["1", "b", "b"]),
        (LabelEncoder().fit(["b", "1"]), csv("1", "b", "b"), ["1", "b", "b"]),
        (LabelEncoder().fit([1, 7]), rows(1, 7, 7), [1, 7, 7]),
        (LabelEncoder().fit([1, 7]), csv("1", "7", "7"), [1, 7, 7]),
        (LabelEncoder().fit([1.5, 7]), Payload(form="inputs", tensors={"x": [1.5, 7]}), [1.5, 7]),
        (LabelEncoder().fit([False, True]), rows(False, True), [False, True]),
        (LabelBinarizer().fit([1, 7]), rows(1, 7, 7), [1, 7, 7]),
        (MultiLabelBinarizer().fit([["a", "b"]]), rows(*_LISTS), _LISTS),
        (MultiLabelBinarizer().fit([["a", "b"]]), csv("a,", "a,b", ","), _LISTS),
        (FeatureHasher(4, input_type="string"), rows(*_LISTS), _LISTS),
    ],
)
def test_encoders_of_labels_take_labels(
    own: Any, payload: Payload, data: Any, tmp_path: Path
) -> None:
    """One label a row, or an array of them for what takes several, whatever their number."""
    expected = own.transform(data)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    model = served(own, tmp_path)
    assert answer(model, payload) == expected.tolist()
    for wrong in (rows({}), rows({"a": 1, "b": 2}), rows(1, [1, [2]])):
        with pytest.raises(InputError):
            answer(model, wrong)


def test_functions_of_numpy_batch_and_others_dont(tmp_path: Path) -> None:
    """log1p goes cell by cell; a cumulative sum down the rows doesn't."""
    positive = np.abs(X)
    logs = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(positive, Y)
    assert served(logs, tmp_path).batchable
    sums = make_pipeline(FunctionTransformer(np.cumsum, kw_args={"axis": 0}), LinearRegression())
    model = served(sums.fit(positive, Y), tmp_path, trusted=True)
    assert not model.batchable
    assert served(sums, tmp_path, trusted=True, batchable=True).batchable
    assert not served(logs, tmp_path, batchable=False).batchable
