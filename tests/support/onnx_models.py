"""Small ONNX models, made of a few nodes; each is the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

F: Final = TensorProto.FLOAT
I64: Final = TensorProto.INT64
S: Final = TensorProto.STRING
Shape = list[int | str | None] | None
Io = tuple[str, int, Shape]

DTYPES: Final = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "bool": TensorProto.BOOL,
    "str": TensorProto.STRING,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
}
"""All tensor types that can be sent, by the name that signatures have for them."""

INF, NAN = float("inf"), float("nan")
VALUES: Final[dict[str, list[Any]]] = {
    "float32": [0.1, -1.5, INF, NAN, 3.4028234663852886e38, 1e-45],
    "float64": [0.1, -1.5, -INF, NAN, 1.7976931348623157e308, 5e-324],
    "float16": [0.1, -1.5, INF, NAN, 65504.0, 6e-8],
    "bool": [True, False],
    "str": ["a", "é 漢 😀", "", 'quo"te, and comma'],
    **{
        name: [int(np.iinfo(name).min), int(np.iinfo(name).max), 1]
        for name in DTYPES
        if "int" in name
    },
}
"""The values of each type that are lost first."""


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def constant(name: str, value: Any, dtype: Any = None) -> Any:
    return numpy_helper.from_array(np.array(value, dtype=dtype), name)


def _info(part: Any) -> Any:
    return helper.make_tensor_value_info(*part) if isinstance(part, tuple) else part


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    tensors: Sequence[Any] = (),
    *,
    opset: int = 17,
    ir: int = 9,
    domains: dict[str, int] | None = None,
) -> bytes:
    """A model of nodes; inputs and outputs are (name, type, shape) or ready-made infos."""
    graph = helper.make_graph(
        list(nodes), "g", [*map(_info, inputs)], [*map(_info, outputs)], list(tensors)
    )
    opsets = {"": opset, **(domains or {})}
    made: bytes = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*pair) for pair in opsets.items()],
        ir_version=ir,
    ).SerializeToString()
    return made


def identity(dtype: int = F, shape: Shape = None) -> bytes:
    """What comes in as ``x`` goes out as ``y``."""
    return model([node("Identity", "x", "y")], [("x", dtype, shape)], [("y", dtype, shape)])


def adder(dtype: int = F) -> bytes:
    """The rows of ``a`` and ``b`` added, two columns each."""
    shape: Shape = ["N", 2]
    return model(
        [node("Add", "a b", "sum")],
        [("a", dtype, shape), ("b", dtype, shape)],
        [("sum", dtype, shape)],
    )


def zipmap(labels: list[Any]) -> bytes:
    """Rows of ``x`` as maps of ``labels``, beside the number of the largest cell."""
    kind = "strings" if isinstance(labels[0], str) else "int64s"
    key = S if kind == "strings" else I64
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(key, helper.make_tensor_type_proto(F, []))
    )
    attributes = {f"classlabels_{kind}": labels}
    return model(
        [
            node("ArgMax", "x", "label", axis=1, keepdims=0),
            node("ZipMap", "x", "p", domain="ai.onnx.ml", **attributes),
        ],
        [("x", F, ["N", len(labels)])],
        [("label", I64, ["N"]), helper.make_value_info("p", maps)],
        domains={"ai.onnx.ml": 2},
    )


def sequence_info(name: str, dtype: int) -> Any:
    return helper.make_tensor_sequence_value_info(name, dtype, None)


def sequence_identity(dtype: int = F) -> bytes:
    """A list of tensors ``s`` as it is, and how many there are."""
    return model(
        [node("Identity", "s", "y"), node("SequenceLength", "s", "n")],
        [sequence_info("s", dtype)],
        [sequence_info("y", dtype), ("n", I64, [])],
    )


def splitter() -> bytes:
    """The rows of ``x`` as a list of one tensor each."""
    return model(
        [node("SplitToSequence", "x", "y", axis=0, keepdims=0)],
        [("x", F, ["N", 2])],
        [sequence_info("y", F)],
    )


def with_default(ir: int) -> bytes:
    """Rows times ``w``, which is 1, 2 unless it is given; by a file before IR 4 it is always."""
    return model(
        [node("Mul", "x w", "y")],
        [("x", F, ["N", 2]), ("w", F, [2])],
        [("y", F, ["N", 2])],
        [constant("w", [1, 2], np.float32)],
        opset=8,
        ir=ir,
    )


def external(entries: dict[str, str], dims: list[int] | None = None) -> bytes:
    """Rows of ``x`` plus weights ``w`` that lie in another file."""
    tensor = TensorProto(
        name="w", data_type=F, dims=dims or [4], data_location=TensorProto.EXTERNAL
    )
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    shape: Shape = ["N", *(dims or [4])]
    return model([node("Add", "x w", "y")], [("x", F, shape)], [("y", F, shape)], [tensor])


def sparse(size: int) -> bytes:
    """One weight of ``size``, the others being nought."""
    weights = SparseTensorProto(
        values=helper.make_tensor("w", F, [1], [1.0]),
        indices=helper.make_tensor("at", I64, [1], [0]),
        dims=[size],
    )
    return model(
        [node("Constant", "", "w", sparse_value=weights), node("Concat", "x w", "y", axis=0)],
        [("x", F, ["N"])],
        [("y", F, None)],
    )


def nested(depth: int) -> bytes:
    """Ifs in Ifs; made as bytes, since no library writes as many."""

    def field(number: int, body: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(body)) + body

    branch = field(2, b"g") + field(12, field(1, b"o"))
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, branch) + b"\xa0\x01\x05"
        inner = field(1, b"c") + field(2, b"o") + field(4, b"If") + field(5, attribute)
        branch = field(1, inner) + field(2, b"g")
    opset = field(8, b"\x10\x11")
    return b"\x08\x09" + opset + field(7, branch)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def expander() -> bytes:
    """One value blown up to as many as ``n`` says: what it allocates is the caller's choice."""
    return model(
        [node("Expand", "x n", "e"), node("ReduceMax", "e", "y", keepdims=0)],
        [("x", F, [1]), ("n", I64, [1])],
        [("y", F, [])],
    )


def endless() -> bytes:
    """A loop that never ends."""
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Add", "v v", "w")],
        "body",
        [_info(("i", I64, [])), _info(("go", TensorProto.BOOL, [])), _info(("v", F, None))],
        [_info(("on", TensorProto.BOOL, [])), _info(("w", F, None))],
    )
    return model(
        [node("Loop", "most true x", "y", body=body)],
        [("x", F, ["N"])],
        [("y", F, ["N"])],
        [constant("most", 2**62), constant("true", True)],
    )
