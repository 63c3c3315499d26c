"""A model from a file, and rows in, answers out: what every hand-written server has in it.

Three lines of environment say what to serve, since some peers import their server by name in
processes of their own: ``BENCH_MODEL`` (a path), ``BENCH_COLUMNS`` (rows are objects), and
``BENCH_PORT``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

Rows = list[Any]
Predict = Callable[[Any], Any]


def port() -> int:
    return int(os.environ["BENCH_PORT"])


def load() -> tuple[Callable[[Rows], Any], Predict]:
    """The model that the environment names."""
    return load_file(os.environ["BENCH_MODEL"], columns=bool(os.environ.get("BENCH_COLUMNS")))


def load_file(path: str, *, columns: bool) -> tuple[Callable[[Rows], Any], Predict]:
    """How rows of JSON become the model's input, and the model."""
    if path.endswith(".onnx"):
        return _as_float32, _onnx(path)
    import joblib  # the ONNX servers have no need of it

    predict = joblib.load(path).predict
    return (_as_frame if columns else np.asarray), predict


def _as_float32(rows: Rows) -> Any:
    return np.asarray(rows, dtype=np.float32)


def _as_frame(rows: Rows) -> Any:
    import pandas as pd  # only for models with named columns

    return pd.DataFrame(rows)


def _onnx(path: str) -> Predict:
    import onnxruntime  # only for models of its kind

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda given: session.run(None, {name: given})[0]
