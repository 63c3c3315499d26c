"""The models that are served: each made from a seed, none trained for longer than seconds.

A tiny model's answer tells which one it is. Everything takes rows of four numbers.
"""

from __future__ import annotations

import copy
import functools
import io
import tarfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor

from loadtests.bench.many.sizes import SEED

ROW = [[5.1, 3.5, 1.4, 0.2]]
FOREST_ROWS = 5000


def dumped(model: object) -> bytes:
    out = io.BytesIO()
    joblib.dump(model, out)
    return out.getvalue()


@functools.cache
def _logistic() -> Any:
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(200, 4))
    return LogisticRegression().fit(rows, (rows.sum(axis=1) > 0).astype(int))


def tiny(number: int) -> Any:
    """A logistic regression whose labels are its own."""
    model = copy.deepcopy(_logistic())
    model.classes_ = np.array([2 * number, 2 * number + 1])
    return model


def tiny_label(number: int) -> list[int]:
    """What ``tiny(number)`` says to ``ROW``."""
    return [int(tiny(number).predict(np.array(ROW))[0])]


def tiny_onnx(number: int) -> bytes:
    """The sum of a row's numbers, and the model's own."""
    return _onnx([np.ones((4, 1), np.float32)], np.array([number], np.float32))


def tiny_onnx_answer(number: int) -> list[list[float]]:
    return [[float(sum(ROW[0]) + number)]]


def big_onnx(megabytes: float) -> bytes:
    """Two layers and between them one of so many megabytes."""
    width = max(4, int((megabytes * 1e6 / 4) ** 0.5))
    weights = [_weights(*shape).astype(np.float32) for shape in _shapes(width)]
    return _onnx(weights, np.array([1], np.float32))


def _onnx(weights: list[Any], bias: Any) -> bytes:
    tensors = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(weights)]
    nodes = [
        helper.make_node("MatMul", [f"h{i}" if i else "rows", f"w{i}"], [f"h{i + 1}"])
        for i in range(len(weights))
    ]
    nodes.append(helper.make_node("Add", [f"h{len(weights)}", "bias"], ["answer"]))
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 4])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 1])
    tensors.append(numpy_helper.from_array(bias, "bias"))
    graph = helper.make_graph(nodes, "g", [rows], [answer], tensors)
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return made


def mlp(megabytes: float) -> Any:
    """A network with a hidden layer of so many megabytes of random weights."""
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(20, 4))
    model = MLPRegressor(hidden_layer_sizes=(4, 4), max_iter=2000, tol=1.0, random_state=SEED)
    model.fit(rows, rows.sum(axis=1))
    width = max(4, int((megabytes * 1e6 / 8) ** 0.5))
    model.hidden_layer_sizes = (width, width)
    model.coefs_ = [_weights(*shape) for shape in _shapes(width)]
    model.intercepts_ = [np.zeros(width), np.zeros(width), np.ones(1)]
    return model


def _shapes(width: int) -> list[tuple[int, int]]:
    return [(4, width), (width, width), (width, 1)]


def _weights(rows: int, columns: int) -> Any:
    rng = np.random.default_rng(SEED + rows)
    return rng.normal(scale=rows**-0.5, size=(rows, columns))


def forest(megabytes: float) -> Any:
    """A forest that takes about so many megabytes as a file."""
    trees = max(1, round(megabytes * 1e6 / len(dumped(_forest(1, FOREST_ROWS)))))
    return _forest(trees, FOREST_ROWS)


def slow_forest(trees: int) -> Any:
    """Many shallow trees: slow for its size."""
    return _forest(trees, 300, max_depth=4)


def _forest(trees: int, samples: int, **options: Any) -> Any:
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(samples, 4))
    model = RandomForestRegressor(trees, random_state=SEED, n_jobs=-1, **options)
    model.fit(rows, rows.sum(axis=1) + rng.normal(size=samples))
    return model.set_params(n_jobs=None)  # the default is what is served


def answer_of(model: Any) -> list[Any]:
    """What a scikit-learn model says to ``ROW``, as JSON has it."""
    answer: list[Any] = model.predict(np.array(ROW)).tolist()
    return answer


def archive(path: Path, name: str, data: bytes) -> Path:
    """A tar at this path, compressed if it is named so."""
    options: dict[str, Any] = {"mode": "w"}
    if path.suffix == ".gz":
        options = {"mode": "w:gz", "compresslevel": 1}  # random weights hardly compress
    with tarfile.open(path, **options) as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path
