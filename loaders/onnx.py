"""The loader of ONNX models, run by ONNX Runtime on the CPU.

One session a model, one thread a session: the workers are the parallelism. Whether rows of several
requests may run together is tried at load, not believed. External data stays within the folder:
ONNX Runtime itself refuses other paths, and a test holds it to that.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders import sniff
from loaders.base import (
    Array,
    Batch,
    InputError,
    LoadError,
    LoadOptions,
    Outputs,
    Payload,
    Signature,
    TensorSpec,
)
from loaders.cells import shown
from loaders.feeds import Feeds, sample

_TYPES: Final = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bool": "bool",
    "string": "str",
    **{n: n for n in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}
_FIELD_TAGS: Final = frozenset(b"\x08\x12\x1a\x22\x28\x32\x3a\x42")  # ModelProto's fields 1 to 8
_PROBE_VALUES: Final = 1 << 20
_PROBE_FREE: Final = 4  # the size of a free axis that isn't the rows'


class OnnxLoader:
    """Loads ``.onnx``."""

    format = "onnx"

    def recognises(self, path: Path, head: bytes) -> bool:
        if len(head) < 8 or head[0] not in _FIELD_TAGS or sniff.describe(head).startswith("a JSON"):
            return False
        if path.suffix.lower() == ".onnx":
            return True
        # ir_version first, as every writer does, then another field of a model
        return head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in _FIELD_TAGS

    def load(self, path: Path, options: LoadOptions) -> OnnxModel:
        try:
            session = _session(path)
        except MemoryError:
            raise
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError from error
            raise LoadError(_why(error)) from error
        return OnnxModel(session, options)


def _session(path: Path) -> Any:
    import onnxruntime as ort  # imported by the first ONNX model, or by the zygote

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False
    settings.log_severity_level = 4
    # Else a name that ends in .ort makes it a flatbuffer, a format that isn't looked at here.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


class OnnxModel:
    """One session and what it takes and gives."""

    format = "onnx"

    def __init__(self, session: Any, options: LoadOptions) -> None:
        self.methods: tuple[str, ...] = ("predict",)
        if options.method not in {None, "predict"}:
            raise LoadError("an ONNX model has no method but predict")
        self._session = session
        inputs = tuple(_spec(i, "input") for i in session.get_inputs())
        self._maps = {o.name for o in session.get_outputs() if _is_map(o.type)}
        outputs = tuple(_spec(o, "output") for o in session.get_outputs())
        if not inputs or not outputs:
            raise LoadError("the model has no inputs or no outputs, so it can't be asked anything")
        self.signature = Signature(inputs=inputs, outputs=outputs)
        self._feeds = Feeds(inputs)
        self._outputs = [o.name for o in outputs]
        self._is_alone = len(outputs) == 1
        self.batchable = bool(options.batchable)
        if options.batchable is None and _shares_rows(session):
            self.batchable = self._is_row_wise()

    def prepare(self, payload: Payload) -> Batch:
        batch = self._feeds.fit(payload)
        if self.batchable:  # else it may be what the model wants
            _check_rows(batch.arrays)
        return batch

    def run(self, method: str, batch: Batch) -> Outputs:
        del method  # there is one
        try:
            answers = self._session.run(None, batch.arrays)
        except MemoryError:
            raise
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError from error
            if type(error).__name__ == "InvalidArgument":
                raise InputError(_first_line(error)) from error
            raise
        arrays = {
            name: _from_maps(answer) if name in self._maps else answer
            for name, answer in zip(self._outputs, answers)
        }
        is_batched = all(np.ndim(a) > 0 and len(a) == batch.rows for a in arrays.values())
        return Outputs(arrays=arrays, single=self._is_alone, batched=is_batched)

    def _is_row_wise(self) -> bool:
        """Try it: three rows together against each alone."""
        rng = np.random.default_rng(0)
        specs = self._feeds.specs
        size = sum(math.prod(n or _PROBE_FREE for n in spec.shape[1:]) for spec in specs)
        if size > _PROBE_VALUES:
            return False
        arrays = {spec.name: sample(spec, rng, 3, _PROBE_FREE) for spec in specs}
        try:
            together = self._run_rows(arrays, slice(0, 3))
            alone = [self._run_rows(arrays, slice(i, i + 1)) for i in range(3)]
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - values it doesn't like say nothing of its rows
            return False
        return all(
            _agree(values, [one[name] for one in alone]) for name, values in together.items()
        )

    def _run_rows(self, arrays: dict[str, Array], rows: slice) -> dict[str, Any]:
        chosen = {name: array[rows] for name, array in arrays.items()}
        answer: dict[str, Any] = self.run("predict", Batch(rows=0, arrays=chosen)).arrays
        return answer


def _check_rows(arrays: dict[str, Array]) -> None:
    """Raise unless all inputs have as many rows: the runtime would stretch one to the others."""
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{shown(name)} {len(array)}" for name, array in arrays.items())
        raise InputError(f"the inputs have different numbers of rows: {sizes}")


def _agree(together: Any, alone: list[Any]) -> bool:
    if any(np.ndim(a) == 0 or len(a) != 1 for a in alone) or len(together) != len(alone):
        return False
    joined = np.concatenate(alone)
    if joined.shape != together.shape:
        return False
    if together.dtype.kind == "f":
        return bool(np.allclose(together, joined, rtol=1e-4, atol=1e-5, equal_nan=True))
    return bool(np.array_equal(together, joined))


def _shares_rows(session: Any) -> bool:
    """Whether all inputs and outputs that tell have one free first axis in common."""
    names = set()
    for part in (*session.get_inputs(), *session.get_outputs()):
        if _is_map(part.type):
            continue  # a list of one map a row
        if not part.shape or isinstance(part.shape[0], int):
            return False
        names.add(part.shape[0])
    return len(names - {None}) <= 1


def _is_map(kind: str) -> bool:
    return re.fullmatch(r"seq\(map\((int64|string),tensor\((float|double)\)\)\)", kind) is not None


def _spec(part: Any, side: str) -> TensorSpec:
    if side == "output" and _is_map(part.type):
        return TensorSpec(name=part.name, dtype="float32", shape=(None, None))
    match = re.fullmatch(r"tensor\((\w+)\)", part.type)
    dtype = _TYPES.get(match[1]) if match else None
    if dtype is None:
        raise LoadError(f"{side} '{part.name}' is {part.type}, which isn't supported here")
    shape = tuple(n if isinstance(n, int) and n >= 0 else None for n in part.shape)
    return TensorSpec(name=part.name, dtype=dtype, shape=shape)


def _from_maps(maps: list[dict[Any, float]]) -> Array:
    """A classifier's list of label-to-probability maps as a table, in the order of its labels."""
    labels = list(maps[0]) if maps else []
    return np.array([[row[label] for label in labels] for row in maps], dtype=np.float32)


def _is_out_of_memory(error: Exception) -> bool:
    return re.search(r"(?i)bad.?alloc|failed to allocate|out of memory", str(error)) is not None


def _why(error: Exception) -> str:
    """A message for callers: what is wrong with the file, without its path."""
    text = str(error)
    if "xternal data" in text:
        return "the model's external data is missing, too short, or outside of the artifact"
    if type(error).__name__ in {"InvalidProtobuf", "InvalidArgument", "NoSuchFile"}:
        return "the ONNX file is corrupt or cut short"
    return f"ONNX Runtime can't load the model: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    """The first line of what ONNX Runtime says, without its codes, paths and source lines."""
    line = (str(error).strip().splitlines() or [""])[0]
    line = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    line = re.sub(r"(Load model from )?/\S+( failed:)?", "", line)
    return re.sub(r"\s+", " ", line).strip(" :")[:300]
