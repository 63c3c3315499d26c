"""Hostile ONNX models: data from elsewhere, operators of nobody, shapes without end, cut files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hostile.machinery import touching
from tests.hostile.sample import Sample
from tests.loaders.pickles.assemble import done
from tests.support.s3 import tar_of

_FLOAT = TensorProto.FLOAT


def _io(name: str, shape: list[Any], kind: int = _FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list[Any], weights: list[Any] | None = None, **more: Any) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        more.pop("inputs", [_io("x", [None, 4])]),
        more.pop("outputs", [_io("y", [None, 4])]),
        weights or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.evil", 1)]
    made = helper.make_model(graph, opset_imports=opsets, **more)
    made.ir_version = 8
    return made


def external(place: str, *, offset: str = "0", length: str = "16") -> bytes:
    """Adds four weights that are said to be in another file."""
    tensor = TensorProto(name="w", data_type=_FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, item in (("location", place), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=item)
    made: bytes = _model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()
    return made


def _archive(model: bytes, **files: bytes) -> bytes:
    return tar_of({"m/model.onnx": model, **{f"m/{name}": data for name, data in files.items()}})


def _alone(*nodes: Any, weights: list[Any] | None = None, **more: Any) -> bytes:
    made: bytes = _model(list(nodes), weights, **more).SerializeToString()
    return made


def _weight(name: str, array: Any) -> Any:
    return numpy_helper.from_array(np.asarray(array), name)


def _node(kind: str, *inputs: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), ["y"], domain=domain, **attributes)


def _nested_ifs(depth: int) -> bytes:
    inner = helper.make_graph([_node("Identity", "x")], "b", [], [_io("y", [None, 4])])
    for _ in range(depth):
        node = _node("If", "c", then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "b", [], [_io("y", [None, 4])])
    return _alone(
        _node("If", "c", then_branch=inner, else_branch=inner), weights=[_weight("c", True)]
    )


_SHAPED = _weight("s", np.array([1 << 20, 1 << 20, 4], np.int64))
_MODELS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "external data, absolute": (".onnx", lambda c: external(f"{c}/precious")),
    "external data, up": (".tar.gz", lambda c: _archive(external("../../canary/precious"))),
    "external data, up and down": (
        ".tar.gz",
        lambda c: _archive(external("a/../../../canary/precious")),
    ),
    "external data, of zeros": (".onnx", lambda c: external("/dev/zero", length=str(1 << 40))),
    "external data, of noise": (".onnx", lambda c: external("/dev/urandom")),
    "external data, of the process": (".onnx", lambda c: external("/proc/self/environ")),
    "external data, of this terminal": (".onnx", lambda c: external("/dev/stdin")),
    "external data, of nowhere": (".tar.gz", lambda c: _archive(external("nowhere.bin"))),
    "external data, of a url": (".onnx", lambda c: external("http://127.0.0.1:1/x")),
    "external data, of itself": (".tar.gz", lambda c: _archive(external("."))),
    "external data, of an empty name": (".tar.gz", lambda c: _archive(external(""))),
    "external data, too short": (
        ".tar.gz",
        lambda c: _archive(external("w.bin"), **{"w.bin": b"x"}),
    ),
    "external data, far behind": (
        ".tar.gz",
        lambda c: _archive(external("w.bin", offset=str(1 << 60)), **{"w.bin": bytes(16)}),
    ),
    "external data, before its start": (
        ".tar.gz",
        lambda c: _archive(external("w.bin", offset="-16"), **{"w.bin": bytes(16)}),
    ),
    "external data, of no number": (
        ".tar.gz",
        lambda c: _archive(external("w.bin", length="x" * 999), **{"w.bin": bytes(16)}),
    ),
    "an operator of nobody": (".onnx", lambda c: _alone(_node("Run", "x", domain="ai.onnx.evil"))),
    "an operator of Python": (
        ".onnx",
        lambda c: _alone(
            _node("PyOp", "x", domain="ai.onnx.evil", module="os", class_name="system")
        ),
    ),
    "an operator that isn't there": (".onnx", lambda c: _alone(_node("Exec", "x"))),
    "a node without inputs": (".onnx", lambda c: _alone(_node("Add"))),
    "a node of an unknown input": (".onnx", lambda c: _alone(_node("Identity", "z"))),
    "nodes in a circle": (
        ".onnx",
        lambda c: _alone(
            helper.make_node("Add", ["x", "b"], ["a"]),
            helper.make_node("Add", ["x", "a"], ["b"]),
            _node("Identity", "b"),
        ),
    ),
    "a weight of 2**60": (
        ".onnx",
        lambda c: _alone(
            _node("Add", "x", "w"), weights=[TensorProto(name="w", data_type=1, dims=[1 << 60])]
        ),
    ),
    "a weight of negative size": (
        ".onnx",
        lambda c: _alone(
            _node("Add", "x", "w"), weights=[TensorProto(name="w", data_type=1, dims=[-4])]
        ),
    ),
    "a weight of too few bytes": (
        ".onnx",
        lambda c: _alone(
            _node("Add", "x", "w"),
            weights=[TensorProto(name="w", data_type=1, dims=[4], raw_data=b"x")],
        ),
    ),
    "a weight of no type": (
        ".onnx",
        lambda c: _alone(
            _node("Add", "x", "w"),
            weights=[TensorProto(name="w", data_type=99, dims=[4], raw_data=bytes(16))],
        ),
    ),
    "a constant of 2**42": (
        ".onnx",
        lambda c: _alone(_node("ConstantOfShape", "s"), weights=[_SHAPED]),
    ),
    "an input of no type": (
        ".onnx",
        lambda c: _alone(_node("Identity", "x"), inputs=[_io("x", [None, 4], 77)]),
    ),
    "no inputs": (
        ".onnx",
        lambda c: _alone(_node("Identity", "w"), weights=[_weight("w", [1.0])], inputs=[]),
    ),
    "no outputs": (".onnx", lambda c: _alone(_node("Identity", "x"), outputs=[])),
    "no graph": (".onnx", lambda c: onnx.ModelProto(ir_version=8).SerializeToString()),
    "a version of the future": (
        ".onnx",
        lambda c: b"\x08\x7f" + _alone(_node("Identity", "x"))[2:],
    ),
    "deep branches": (".onnx", lambda c: _nested_ifs(12)),
    "cut in the middle": (
        ".onnx",
        lambda c: _alone(_node("Add", "x", "w"), weights=[_weight("w", np.ones(4, np.float32))])[
            :-20
        ],
    ),
    "of fields without end": (
        ".onnx",
        lambda c: b"\x08\x08" + b"\x3a\xff\xff\xff\xff\x0f" + bytes(99),
    ),
    "of nested groups": (".onnx", lambda c: b"\x08\x08" + b"\x3b" * 100_000),
    "a pickle by its name": (".onnx", lambda c: done(touching(c))),
    "an ORT file by its name": (".onnx", lambda c: b"\x18\0\0\0ORTM" + bytes(200)),
}
WORKS: dict[str, frozenset[int]] = {"deep branches": frozenset({200, 422})}


def samples() -> Iterator[Sample]:
    for title, (suffix, make) in _MODELS.items():
        statuses = WORKS.get(title, frozenset({422, 507, 400}))
        yield Sample(f"onnx {title}", make, "", suffix, statuses)
