"""A real ONNX model whose weights lie in a file beside it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ENTRY = "model.onnx"
WEIGHTS = "weights.bin"


def external_onnx(value: float, *, padding: int = 0) -> dict[str, bytes]:
    """Two files by name: a model of four features that answers ``value`` to every row.

    ``padding`` is how many bytes of weights do nothing.
    """
    weights = np.zeros((4, 1 + padding // 16), np.float32)
    bias = np.full(weights.shape[1], value, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["all"]),
            helper.make_node("ReduceMax", ["all"], ["y"], axes=[1], keepdims=1),
        ],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        onnx.save_model(
            model,
            str(path / ENTRY),
            save_as_external_data=True,
            location=WEIGHTS,
            size_threshold=0,
        )
        return {name: (path / name).read_bytes() for name in (ENTRY, WEIGHTS)}


def with_digests(files: dict[str, bytes], **keys: object) -> dict[str, bytes]:
    """The files with a manifest that names each by its SHA-256."""
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    return files | {"manifest.json": json.dumps(keys | {"files": digests}).encode()}
