"""Sparse rows reach every estimator that takes them, and are a clear refusal from the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from loaders.base import InputError, LoadError, LoadOptions, Payload, concatenate
from loaders.sklearn.answers import outputs_of
from loaders.sklearn.estimator import EstimatorModel
from tests.support.estimators import Case, cases

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # scikit-learn's advice on tiny data
    pytest.mark.timeout(300),  # all of scikit-learn, on a machine that may be busy
]


def _model(case: Case) -> EstimatorModel | None:
    if not (isinstance(case.rows, np.ndarray) and case.rows.ndim == 2):
        return None
    try:
        return EstimatorModel(case.estimator, LoadOptions())
    except LoadError:
        return None


def _close(found: Any, expected: Any) -> bool:
    if expected.dtype.kind == "f":
        return np.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
    return np.array_equal(found, expected)


def test_sparse_rows_answer_as_in_process() -> None:
    """Bit for bit alone, within the tolerance together; what takes none says so to the client."""
    seen: Counter[str] = Counter()
    for case in cases():
        model = _model(case)
        matrix = sparse.csr_matrix(case.rows[:3]) if model else None
        for method in model.methods if model else ():
            seen[_outcome(case, model, method, matrix)] += 1
    assert seen["answered"] > 280
    assert seen["refused"] > 90


def _outcome(case: Case, model: Any, method: str, matrix: Any) -> str:
    where = case.name, method
    try:
        found = model.run(method, model.prepare(Payload(form="inputs", sparse=matrix))).arrays
    except InputError:
        with pytest.raises((ValueError, TypeError)):
            getattr(case.estimator, method)(matrix)
        return "refused"
    expected = outputs_of(method, getattr(case.estimator, method)(matrix), 3).arrays
    for name, array in expected.items():
        assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f"), where
    if model.batchable:
        single = [Payload(form="inputs", sparse=matrix[i : i + 1]) for i in range(3)]
        together = model.run(method, concatenate([model.prepare(one) for one in single])).arrays
        assert all(_close(together[name], array) for name, array in expected.items()), where
    return "answered"
