"""What a script need not write: AWS's scikit-learn container's own ``input_fn`` and the others.

JSON, CSV, ``.npy`` and SciPy's sparse ``.npz`` in; JSON, CSV and ``.npy`` out. As there, texts
become float32 and one dimension is one row. Unlike there, nothing that comes in is unpickled, a
blank cell of CSV is NaN in a column of integers too, and a body that can't be read is the caller's
mistake.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any, Final

import numpy as np

from loaders.base import Array, InputError
from loaders.rows.cells import shown
from loaders.sklearn.faults import is_about_input

JSON: Final = "application/json"
CSV: Final = "text/csv"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
TEXTS: Final = frozenset({JSON, CSV})  # handed to scripts as str
MAX_UNPACKED: Final = 256 << 20


class UnsupportedFormat(Exception):
    """No default reads or writes this content type; named as AWS's own."""

    def __init__(self, content_type: str, able: str) -> None:
        super().__init__(
            f"Content type {shown(content_type)} is not supported by the default {able}: "
            "use one that is, or write that function in the script"
        )


def input_fn(data: Any, content_type: str) -> Any:
    """A body as an array; raises InputError, UnsupportedFormat."""
    array = decode(data, content_type)
    if content_type == NPZ:
        return array
    if array.ndim == 0:
        raise InputError("the body holds one value: send rows, each an array of numbers")
    return array.reshape(1, -1) if array.ndim == 1 else array


def decode(data: Any, content_type: str) -> Any:
    """As the toolkits' decoder does it, texts as float32."""
    if content_type == NPZ:
        return _npz(data)
    if content_type == NPY:
        return _npy(data)
    if content_type not in TEXTS:
        raise UnsupportedFormat(content_type, "input_fn, which reads JSON, CSV, .npy and .npz")
    try:
        rows = json.loads(data) if content_type == JSON else _csv(data)
        if isinstance(rows, dict):
            raise InputError(
                "the body is an object, and the script has no input_fn that reads one: send a bare "
                "array of rows of numbers"
            )
        return np.array(rows, dtype=np.float64).astype(np.float32)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(f"the body can't be read as rows of numbers: {error}") from None


def predict_fn(data: Any, model: Any) -> Any:
    try:
        return model.predict(data)
    except (ValueError, TypeError) as error:
        if is_about_input(error):
            raise InputError(str(error).strip().partition("\n")[0][:300]) from error
        raise


def output_fn(prediction: Any, accept: str) -> tuple[Any, str]:
    """A prediction as a body; raises UnsupportedFormat."""
    return encode(prediction, accept), accept


def encode(prediction: Any, accept: str) -> Any:
    """As the toolkits' encoder does it."""
    if accept == JSON:
        return json.dumps(prediction, default=_plain)
    if accept == CSV:
        text = io.StringIO()
        np.savetxt(text, _array(prediction), delimiter=",", fmt="%s")
        return text.getvalue()
    if accept == NPY:
        out = io.BytesIO()
        np.save(out, _array(prediction), allow_pickle=False)
        return out.getvalue()
    raise UnsupportedFormat(accept, "output_fn, which writes JSON, CSV and .npy")


def _array(prediction: Any) -> Array:
    return np.asarray(prediction.toarray() if hasattr(prediction, "toarray") else prediction)


def _plain(value: Any) -> Any:
    """What ``json`` can't write by itself."""
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} can't be written as JSON")


def _csv(text: str) -> list[Any]:
    """Rows of numbers; as NumPy's genfromtxt has it, one row or one column is one dimension."""
    rows = [[_number(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) == 1:
        return rows[0]
    return [row[0] for row in rows] if all(len(row) == 1 for row in rows) else rows


def _number(cell: str) -> float:
    cell = cell.strip()
    return float(cell) if cell else float("nan")


def _npy(data: bytes) -> Array:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError) as error:
        raise InputError(f"the body isn't a .npy array of plain values: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InputError("the body is a .npz archive where a .npy array was announced")
    return array


def _npz(data: bytes) -> Any:
    from scipy import sparse  # only where one is sent

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size <= MAX_UNPACKED:
            return sparse.load_npz(io.BytesIO(data))
    except (ValueError, KeyError, OSError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise InputError(f"the body isn't a sparse matrix of SciPy's save_npz: {error}") from None
    raise InputError(f"the body unpacks to more than {MAX_UNPACKED >> 20} MiB")
