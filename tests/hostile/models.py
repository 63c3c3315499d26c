"""Real models of scikit-learn, saved by joblib, that hold what no served model may hold.

Functions under forbidden names where scikit-learn takes a callable, caches on disk, readers of
files, and objects with code of their own.
"""

from __future__ import annotations

import functools
import io
import operator
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import StackingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import PairwiseKernel
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, RANSACRegressor
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import SVC

from tests.hostile.sample import Sample

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3
TEXTS = ["aa bb", "bb cc", "cc"]


class Cloned(BaseEstimator):  # type: ignore[misc]
    """Has code of its own in every place that scikit-learn calls by itself."""

    n_features_in_ = 4

    def __sklearn_clone__(self) -> Any:
        raise AssertionError

    def __sklearn_tags__(self) -> Any:
        raise AssertionError

    def __setstate__(self, state: Any) -> None:
        raise AssertionError

    def fit(self, rows: Any, labels: Any = None) -> Any:
        return self

    def predict(self, rows: Any) -> Any:
        raise AssertionError


def _set(model: Any, **values: Any) -> Any:
    for key, item in values.items():
        setattr(model, key, item)
    return model


def _linear() -> Any:
    return LogisticRegression().fit(X, Y)


def _after(function: Any, **keywords: Any) -> Any:
    return make_pipeline(FunctionTransformer(function, **keywords), _linear())


def _texts(cls: Any, **values: Any) -> Any:
    return _set(cls().fit(TEXTS), **values)


_MODELS: dict[str, tuple[Callable[[str], Any], str]] = {
    "os.system as a step": (lambda c: _after(os.system), "posix:system"),
    "eval as a step": (lambda c: _after(eval), "builtins:eval"),
    "exec as an inverse": (lambda c: _after(None, inverse_func=exec), "builtins:exec"),
    "subprocess.run as a step": (lambda c: _after(subprocess.run), "subprocess:run"),
    "np.load as a step": (lambda c: _after(np.load), "numpy:load"),
    "np.memmap as a step": (lambda c: _after(np.memmap), "numpy:memmap"),
    "np.fromfile as a step": (lambda c: _after(np.fromfile), "fromfile"),
    "np.savetxt as a step": (
        lambda c: _after(functools.partial(np.savetxt, f"{c}/ran")),
        "numpy:savetxt",
    ),
    "a method that writes": (lambda c: _after(X.tofile), "builtins:getattr"),
    "an unbound method that writes": (lambda c: _after(np.ndarray.tofile), "builtins:getattr"),
    "a method caller": (lambda c: _after(operator.methodcaller("tofile", f"{c}/ran")), "operator"),
    "an attribute getter": (lambda c: _after(operator.attrgetter("base")), "operator"),
    "np.vectorize": (lambda c: _after(np.vectorize(os.system)), "numpy:vectorize"),
    "pandas.eval as a step": (lambda c: _after(pd.eval), "pandas"),
    "pandas.read_pickle as a step": (lambda c: _after(pd.read_pickle), "pandas"),
    "scipy.io.savemat as a step": (
        lambda c: _after(functools.partial(scipy.io.savemat, "x")),
        "sc",
    ),
    "joblib.load as a step": (lambda c: _after(joblib.load), "joblib"),
    "a query of a table": (
        lambda c: _after(pd.DataFrame({"a": [1]}).query, kw_args={"expr": "a"}),
        "builtins:getattr",
    ),
    "a table": (lambda c: _set(_linear(), table=pd.DataFrame({"a": [1]})), "pandas"),
    "out= of a step": (lambda c: _after(np.exp, kw_args={"out": X}), "out="),
    "where= of a step": (lambda c: _after(np.exp, kw_args={"where": False}), "where="),
    "where= of a metric": (
        lambda c: _set(KNeighborsClassifier().fit(X, Y), effective_metric_params_={"where": False}),
        "where=",
    ),
    "memory for an array": (
        lambda c: _after(np.ndarray, kw_args={"dtype": object, "buffer": b"A" * 80}),
        "the class ndarray",
    ),
    "memory for a masked array": (lambda c: _after(np.ma.MaskedArray), "the class MaskedArray"),
    "a sparse matrix of any indices": (
        lambda c: _after(scipy.sparse.csr_matrix, kw_args={"shape": (1, 4)}),
        "the class csr_matrix",
    ),
    "a class in a table's key": (
        lambda c: _set(_linear(), steps={("a", np.ndarray): 1}),
        "the class ndarray",
    ),
    "a cache on disk": (lambda c: Pipeline([("a", _linear())], memory=f"{c}/ran"), "memory="),
    "a cache by joblib": (
        lambda c: Pipeline([("a", _linear())], memory=joblib.Memory(None)),
        "joblib.memory:Memory",
    ),
    "a cached function": (
        lambda c: _after(joblib.Memory(None).cache(os.getcwd)),
        "joblib.memory:NotMemorizedFunc",
    ),
    "a vectorizer of files": (
        lambda c: _texts(CountVectorizer, input="filename"),
        "would read files",
    ),
    "a vectorizer of handles": (
        lambda c: _texts(TfidfVectorizer, input="file"),
        "would read files",
    ),
    "a hashing vectorizer of files": (
        lambda c: _texts(HashingVectorizer, input="filename"),
        "would read files",
    ),
    "an analyzer": (lambda c: _texts(HashingVectorizer, analyzer=os.system), "posix:system"),
    "a tokenizer": (lambda c: _texts(CountVectorizer, tokenizer=eval), "builtins:eval"),
    "a preprocessor": (lambda c: _texts(TfidfVectorizer, preprocessor=os.popen), "os:popen"),
    "a kernel of support vectors": (
        lambda c: _set(SVC().fit(X, Y), kernel=os.system),
        "posix:system",
    ),
    "a kernel of components": (
        lambda c: _set(KernelPCA(2).fit(X), kernel=subprocess.Popen),
        "subprocess:Popen",
    ),
    "a kernel of an approximation": (
        lambda c: _set(Nystroem(n_components=2).fit(X), kernel=exec),
        "builtins:exec",
    ),
    "a kernel of a process": (
        lambda c: _set(GaussianProcessRegressor().fit(X, Y), kernel_=PairwiseKernel(metric=eval)),
        "builtins:eval",
    ),
    "a metric of neighbours": (
        lambda c: _set(KNeighborsClassifier(algorithm="brute").fit(X, Y), metric=os.system),
        "posix:system",
    ),
    "weights of neighbours": (
        lambda c: _set(RadiusNeighborsClassifier().fit(X, Y), weights=os.system),
        "posix:system",
    ),
    "a metric of clusters": (lambda c: _set(DBSCAN().fit(X), metric=eval), "builtins:eval"),
    "memory of clusters": (
        lambda c: _set(AgglomerativeClustering(2).fit(X), memory=f"{c}/ran"),
        "memory=",
    ),
    "a scoring of a search": (
        lambda c: _set(GridSearchCV(_linear(), {"C": [1]}).fit(X, Y), scoring=os.system),
        "posix:system",
    ),
    "a scorer of a search": (
        lambda c: _set(GridSearchCV(_linear(), {"C": [1]}).fit(X, Y), scorer_=eval),
        "builtins:eval",
    ),
    "a score of a selection": (
        lambda c: _set(SelectKBest(k=2).fit(X, Y), score_func=os.popen),
        "os:popen",
    ),
    "a loss of a consensus": (
        lambda c: _set(RANSACRegressor().fit(X, Y), loss=exec),
        "builtins:exec",
    ),
    "a function of a target": (
        lambda c: _set(TransformedTargetRegressor().fit(X, Y), transformer_=os.system),
        "posix:system",
    ),
    "columns by a function": (
        lambda c: ColumnTransformer([("a", OneHotEncoder(), os.listdir)]),
        "posix:listdir",
    ),
    "a step of a union": (
        lambda c: FeatureUnion([("a", FunctionTransformer(os.remove))]),
        "posix:remove",
    ),
    "a member of a stack": (
        lambda c: StackingClassifier([("a", Cloned())]),
        "tests.hostile.models:Cloned",
    ),
    "a member of a stack that writes": (
        lambda c: _set(
            StackingClassifier([("a", _linear())], cv=2).fit(X, Y),
            estimators_=[np.array([b"text"])],
            stack_method_=["tofile"],
        ),
        "calls a method that doesn't predict (stack_method_)",
    ),
    "a link of a chain that writes": (
        lambda c: _set(
            ClassifierChain(_linear()).fit(X, np.c_[Y, Y]),
            estimators_=[np.array([b"text"])] * 2,
            chain_method_="tofile",
        ),
        "calls a method that doesn't predict (chain_method_)",
    ),
    "a threshold of what writes": (
        lambda c: _set(
            FixedThresholdClassifier(_linear()).fit(X, Y > 0),
            estimator_=np.array([b"text"]),
            response_method="tofile",
        ),
        "calls a method that doesn't predict (response_method)",
    ),
    "an estimator of its own code": (lambda c: Cloned(), "tests.hostile.models:Cloned"),
    "an estimator of its own code in a list": (
        lambda c: _set(LinearRegression().fit(X, Y), coef_=[Cloned()]),
        "tests.hostile.models:Cloned",
    ),
    "an array of code": (
        lambda c: _set(_linear(), coef_=np.array([os.system, eval], object)),
        "posix:system",
    ),
    "a nested array of code": (
        lambda c: _set(_linear(), coef_=np.array([[np.array([exec, 1], object), 1]], object)),
        "builtins:exec",
    ),
    "a list of everything": (lambda c: [[[{"a": (os.system,)}]]], "posix:system"),
    "classes that are functions": (lambda c: _set(_linear(), classes_=[os.system]), "posix:system"),
    "a random state of code": (lambda c: _set(_linear(), random_state=eval), "builtins:eval"),
    "a class, not a model": (lambda c: LogisticRegression, "class LogisticRegression"),
    "a model that isn't fitted": (lambda c: LogisticRegression(), "isn't fitted"),
    "an array, not a model": (lambda c: X, "ndarray"),
    "a module": (lambda c: {"a": np.sum, "b": np.lib.format.open_memmap}, "open_memmap"),
}


def _dumped(model: Any, compress: int) -> bytes:
    out = io.BytesIO()
    joblib.dump(model, out, compress=compress)
    return out.getvalue()


def samples() -> Iterator[Sample]:
    for number, (title, (make, says)) in enumerate(_MODELS.items()):
        yield Sample(
            f"model {title}",
            lambda c, make=make, pack=number % 2: _dumped(make(c), pack),  # type: ignore[misc]
            says,
            ".joblib",
        )
