"""The five models, what is asked of them, and what they have to answer: by the model in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.bench.servers.model import load_file

ROWS = (1, 100)
_SEED = 20
_CITIES = ("Albany", "Boston", "Chicago", "Denver", "El Paso")
_PLANS = ("free", "basic", "team")


@dataclass(frozen=True, slots=True)
class Question:
    """A body of so many rows, and the predictions that it has to be answered with."""

    rows: int
    instances: list[Any]
    predictions: list[Any]

    @property
    def body(self) -> bytes:
        return json.dumps({"instances": self.instances}).encode()

    @property
    def answer_size(self) -> int:
        answer = json.dumps({"predictions": self.predictions}, separators=(",", ":"))
        return len(answer)


@dataclass(frozen=True, slots=True)
class Workload:
    """A model in a file of its own; ``columns`` says that its rows are objects."""

    name: str
    title: str
    path: Path
    columns: bool
    questions: tuple[Question, ...]

    def question(self, rows: int) -> Question:
        return next(one for one in self.questions if one.rows == rows)


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    title: str
    file: str
    write: Callable[[Path], list[Any]]  # the model's file; rows to ask for
    columns: bool = False


def _numbers(n: int, width: int) -> Any:
    return np.random.default_rng(_SEED).normal(size=(n, width)).round(3)


def _write_sklearn(path: Path) -> list[Any]:
    from sklearn.linear_model import LogisticRegression  # slow to import

    return _fit(path, LogisticRegression())


def _write_forest(path: Path) -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier  # slow to import

    return _fit(path, RandomForestClassifier(n_estimators=200, random_state=_SEED))


def _fit(path: Path, model: Any) -> list[Any]:
    import joblib

    x = _numbers(1000, 4)
    joblib.dump(model.fit(x, x @ [1, -1, 0.5, 0] > 0.2 * x[:, 3] ** 2), path)
    return list(x[:100].tolist())


def _write_tiny_onnx(path: Path) -> list[Any]:
    return _write_layers(path, (4, 1), "Sigmoid")


def _write_mlp(path: Path) -> list[Any]:
    return _write_layers(path, (128, 512, 512, 10), "Softmax")


def _write_layers(path: Path, sizes: tuple[int, ...], last: str) -> list[Any]:
    """Dense layers with ReLU between them; weights are random, and always the same."""
    import onnx
    from onnx import helper, numpy_helper

    random = np.random.default_rng(_SEED)
    nodes, weights, given = [], [], "x"
    pairs = list(pairwise(sizes))
    for i, (wide, narrow) in enumerate(pairs, 1):
        values = (random.normal(size=(wide, narrow)) / wide**0.5).astype(np.float32)
        weights += [
            numpy_helper.from_array(values, f"w{i}"),
            numpy_helper.from_array(np.zeros(narrow, dtype=np.float32), f"b{i}"),
        ]
        activation, out = (last, "y") if i == len(pairs) else ("Relu", f"h{i}")
        nodes += [
            helper.make_node("Gemm", [given, f"w{i}", f"b{i}"], [f"g{i}"]),
            helper.make_node(activation, [f"g{i}"], [out]),
        ]
        given = out
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", sizes[0]])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", sizes[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return list(_numbers(100, sizes[0]).tolist())


def _write_pipeline(path: Path) -> list[Any]:
    """Scaled numbers and one-hot texts, chosen by column name."""
    import joblib
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(_SEED)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, 1000),
            "income": random.normal(50_000, 15_000, 1000).round(2),
            "tenure": random.exponential(3, 1000).round(3),
            "city": random.choice(_CITIES, 1000),
            "plan": random.choice(_PLANS, 1000),
        }
    )
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income", "tenure"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        ]
    )
    model = Pipeline([("columns", columns), ("model", LogisticRegression())])
    joblib.dump(model.fit(frame, frame["income"] > 1000 * frame["age"]), path)
    return list(frame.head(100).to_dict("records"))


RECIPES = (
    Recipe("sklearn", "tiny scikit-learn", "tiny.joblib", _write_sklearn),
    Recipe("forest", "forest of 200 trees", "forest.joblib", _write_forest),
    Recipe("onnx", "tiny ONNX", "tiny.onnx", _write_tiny_onnx),
    Recipe("mlp", "MLP ONNX 128→512→512→10", "mlp.onnx", _write_mlp),
    Recipe("pipeline", "Pipeline by column name", "pipeline.joblib", _write_pipeline, columns=True),
)
TITLES = {recipe.name: recipe.title for recipe in RECIPES}


def make(recipe: Recipe, folder: Path) -> Workload:
    """Train or build the model, write it into the folder, and ask it what it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / recipe.file
    instances = recipe.write(path)
    convert, predict = load_file(str(path), columns=recipe.columns)
    asked = []
    for rows in ROWS:
        given = instances[:rows]
        asked.append(Question(rows, given, predict(convert(given)).tolist()))
    return Workload(recipe.name, recipe.title, path, recipe.columns, tuple(asked))
