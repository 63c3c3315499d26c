"""The inputs and outputs of an ONNX model: its type strings, and what an output becomes.

Tensors stay arrays. A list of tensors is an array of arrays, which has no rows. A classifier's list
of maps (scikit-learn's ZipMap), one a row, is a table whose columns have labels. What can't be sent
or answered is a LoadError that names it. Pure; knows no session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loaders.base import Array, LoadError, TensorSpec
from loaders.rows.cells import shown

_TYPES: Final = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bool": "bool",
    "string": "str",
    **{n: n for n in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}
_WAYS_OUT: Final = {
    "bfloat16": "ONNX Runtime's Python interface can't carry it: cast it to float in the graph",
    "optional": "leave the optional out when exporting",
}


@dataclass(frozen=True)
class Output:
    """What an output is declared as; ``kind`` is ``tensor``, ``sequence`` or ``maps``."""

    kind: str
    spec: TensorSpec

    def converted(self, answer: Any) -> tuple[Array, tuple[Any, ...]]:
        """The runtime's answer as an array, and the labels of its columns if they have any."""
        if self.kind == "sequence":
            return sequence(answer), ()
        if self.kind == "maps":
            labels = tuple(answer[0]) if answer else ()
            rows = [[row[label] for label in labels] for row in answer]
            dtype = object if self.spec.dtype == "str" else self.spec.dtype
            return np.array(rows, dtype=dtype).reshape(len(answer), len(labels)), labels
        return answer, ()


def sequence(parts: list[Any]) -> Array:
    """A list of arrays as one array of them; NumPy would stack or broadcast what it can."""
    array = np.empty(len(parts), dtype=object)
    for i, part in enumerate(parts):
        array[i] = part
    return array


def input_spec(part: Any) -> TensorSpec:
    """One input as the runtime tells it; raises LoadError."""
    tensor = _element(part.type)
    if tensor is not None:
        return _tensor(part, tensor)
    element = _element(part.type, r"seq\((.*)\)")
    if element is None:
        raise _unsupported("input", part)
    return TensorSpec(name=part.name, dtype=f"seq({element})", shape=(None,))


def output(part: Any) -> Output:
    """One output as the runtime tells it; raises LoadError."""
    tensor = _element(part.type)
    if tensor is not None:
        return Output("tensor", _tensor(part, tensor))
    element = _element(part.type, r"seq\((.*)\)")
    if element is not None:
        return Output("sequence", TensorSpec(part.name, f"seq({element})", (None,)))
    value = _element(part.type, r"seq\(map\(\w+,(.*)\)\)")
    if value is None:
        raise _unsupported("output", part)
    return Output("maps", TensorSpec(part.name, value, (None, None)))


def _element(kind: str, wrapping: str = "(.*)") -> str | None:
    """The dtype of the tensors in a type string, wrapped so; None if it is another."""
    match = re.fullmatch(wrapping, kind)
    tensor = re.fullmatch(r"tensor\((\w+)\)", match[1]) if match else None
    return _TYPES.get(tensor[1]) if tensor else None


def _tensor(part: Any, dtype: str) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) and n >= 0 else None for n in part.shape)
    return TensorSpec(name=part.name, dtype=dtype, shape=shape)


def _unsupported(side: str, part: Any) -> LoadError:
    way = next((way for word, way in _WAYS_OUT.items() if word in part.type), "")
    return LoadError(
        f"{side} {shown(part.name)} is {part.type}, which isn't supported here"
        + (f": {way}" if way else "")
    )
