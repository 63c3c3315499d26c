"""Arrays and sparse matrices come to a scikit-learn model as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from loaders.base import Batch, InputError, Model, Payload, concatenate
from tests.loaders.support import answer, served

RNG = np.random.default_rng(0)
COUNTS = sparse.csr_matrix(RNG.poisson(0.5, (40, 12)).astype(np.float64))
LABELS = RNG.integers(0, 3, 40)
FRAME = pd.DataFrame({"age": [1.5, 2.5, 3.5], "size": [3, 2, 1], "kind": ["a", "b", "a"]})


def array(values: Any, dtype: Any = None) -> Payload:
    return Payload(form="inputs", tensors={"": np.array(values, dtype=dtype)})


def cells(matrix: Any) -> Payload:
    return Payload(form="inputs", sparse=matrix)


def identity(tmp_path: Path, columns: int) -> Model:
    return served(FunctionTransformer().fit(np.zeros((2, columns))), tmp_path)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_an_array_keeps_its_type(dtype: str, tmp_path: Path) -> None:
    """Rows of it as they are; a flat one is one row, or a column of rows of one."""
    model = identity(tmp_path, 3)
    batch = model.prepare(array([[1, 0, 1], [0, 0, 1]], dtype))
    assert batch.rows == 2
    assert batch.arrays[""].dtype == dtype
    assert model.prepare(array([1, 0, 1], dtype)).arrays[""].tolist() == [[1, 0, 1]]
    assert model.prepare(array(["a", "b", "c"])).arrays[""].tolist() == [["a", "b", "c"]]
    model = identity(tmp_path, 1)
    assert model.prepare(array([1, 0, 1], dtype)).arrays[""].tolist() == [[1], [0], [1]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1.0, 2.0]], "row 0 has 2 values, but the model has 3 columns"),
        ([1.0, 2.0], "row 0 has 2 values, but the model has 3 columns"),
        (np.zeros((2, 3, 1)), r"the shape \[2, 3, 1\] where rows are needed"),
        (3.5, r"the shape \[\] where rows are needed"),
        ([["a", "b", "c"]], "row 0, column 0: 'a' isn't a number"),
    ],
)
def test_an_array_that_is_no_table_of_the_model_is_refused(
    values: Any, said: str, tmp_path: Path
) -> None:
    model = served(LinearRegression().fit(np.eye(3), [1, 2, 3]), tmp_path)
    with pytest.raises(InputError, match=said):
        model.prepare(array(values))


def test_arrays_are_columns_by_name(tmp_path: Path) -> None:
    """All kinds, in any order; tables of one column too."""
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["age", "size"]), ("w", OneHotEncoder(), ["kind"])]
    )
    model = served(make_pipeline(columns, LinearRegression()).fit(FRAME, [1, 2, 3]), tmp_path)
    own = model.run("predict", model.prepare(Payload(form="inputs", tensors={
        name: np.array(FRAME[name].tolist()) for name in ("kind", "size", "age")
    })))  # fmt: skip
    lists = {name: FRAME[name].tolist() for name in ("age", "size", "kind")}
    by_lists = Payload(form="inputs", tensors=lists)
    assert answer(model, by_lists) == own.arrays["predict"].tolist()
    model = served(LinearRegression().fit(FRAME[["age", "size"]], [1, 2, 3]), tmp_path)
    wide = {"size": np.array([[3], [2]]), "age": np.array([1.5, 2.5])}
    assert model.prepare(Payload(form="inputs", tensors=wide)).arrays[""].tolist() == [
        [1.5, 3], [2.5, 2],
    ]  # fmt: skip
    for bad, said in (
        (np.array([1.5]), r"column 'size' \(1\) has 2 values, but column 'age' \(0\) has 1"),
        (np.zeros((2, 2)), r"column 'age' \(0\) has the shape \[2, 2\]"),
    ):
        with pytest.raises(InputError, match=said):
            model.prepare(Payload(form="inputs", tensors=wide | {"age": bad}))


def test_unsigned_columns_keep_what_no_int64_holds(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1, 2]}, dtype="uint64")
    model = served(FunctionTransformer().fit(frame), tmp_path)
    top = np.array([2**64 - 1], dtype="uint64")
    batch = model.prepare(Payload(form="inputs", tensors={"a": top, "b": top}))
    assert batch.arrays[""].tolist() == [[2**64 - 1, 2**64 - 1]]


@pytest.mark.parametrize(
    ("own", "method"),
    [
        (LogisticRegression(), "predict_proba"),
        (MultinomialNB(), "predict_proba"),
        (RandomForestClassifier(5, random_state=0), "predict_proba"),
        (TruncatedSVD(2, random_state=0), "transform"),
        (make_pipeline(StandardScaler(with_mean=False), LogisticRegression()), "predict_proba"),
    ],
)
def test_a_sparse_matrix_answers_as_in_process(own: Any, method: str, tmp_path: Path) -> None:
    """As CSR; requests of equal types and widths run together."""
    own.fit(COUNTS, LABELS)
    model = served(own, tmp_path)
    first, second = (model.prepare(cells(COUNTS[rows])) for rows in (slice(5), slice(5, 9)))
    assert first.key == second.key
    whole = concatenate([first, second])
    assert whole.rows == 9
    assert isinstance(whole.arrays[""], sparse.csr_matrix)
    got = model.run(method, whole).arrays[method]
    np.testing.assert_allclose(got, getattr(own, method)(COUNTS[:9]), rtol=1e-12)


def test_sparse_and_dense_rows_never_run_together() -> None:
    """Nor sparse ones of different types."""
    dense = np.eye(2)
    keys = [
        Batch(rows=2, arrays={"": table}).key
        for table in (dense, sparse.csr_matrix(dense), sparse.csr_matrix(dense.astype("f4")))
    ]
    assert len(set(keys)) == 3


def refused(model: Model, matrix: Any) -> str:
    with pytest.raises(InputError) as caught:
        model.run("predict", model.prepare(cells(matrix)))
    return str(caught.value)


def test_what_a_model_has_against_a_sparse_matrix_is_the_clients_fault(tmp_path: Path) -> None:
    """Its width, its being sparse, or a value, which is named."""
    model = served(LogisticRegression().fit(COUNTS, LABELS), tmp_path)
    assert refused(model, COUNTS[:, :3]) == "row 0 has 3 values, but the model has 12 columns"
    holed = COUNTS[:4].toarray()
    holed[2, 7] = np.nan
    holed = sparse.csr_matrix(holed)
    assert refused(model, holed) == "row 2, column 7: NaN, which this model doesn't take"
    boosting = HistGradientBoostingRegressor(max_iter=2).fit(COUNTS.toarray(), LABELS)
    assert "parse" in refused(served(boosting, tmp_path), COUNTS)
    scaler = make_pipeline(StandardScaler(), LinearRegression()).fit(COUNTS.toarray(), LABELS)
    assert "sparse" in refused(served(scaler, tmp_path), COUNTS)
    named = ColumnTransformer([("n", StandardScaler(), ["age", "size"])]).fit(FRAME)
    model = served(make_pipeline(named, LinearRegression()).fit(FRAME, [1, 2, 3]), tmp_path)
    assert refused(model, sparse.csr_matrix((2, 3)))


def test_only_models_of_tables_take_sparse_matrices(tmp_path: Path) -> None:
    table = served(LogisticRegression().fit(COUNTS, LABELS), tmp_path)
    words = served(CountVectorizer().fit(["a text"]), tmp_path)
    assert (getattr(table, "takes_sparse", None), getattr(words, "takes_sparse", None)) == (
        True, False,
    )  # fmt: skip
