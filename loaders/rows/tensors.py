"""A request's values fitted to a model's tensors: the tensor side of ``prepare``.

Nested lists in, arrays of exactly the declared types and shapes out. A cast never changes a value
in silence: fractions aren't whole numbers, 300 isn't a byte, text isn't a number. Counts rows and
columns from 0. Pure; knows no framework.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from loaders.base import Array, InputError, TensorSpec
from loaders.rows.cells import shown

_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")
_MAX_DEPTH: Final = 32


def tensor(value: Any, spec: TensorSpec, label: str = "") -> Array:
    """``value`` as an array of the spec's type and shape; ``label`` begins every message."""
    array = value if isinstance(value, np.ndarray) else _from_lists(value, spec, label)
    _check_shape(array, spec, label)
    return _cast(array, spec, label)


def sequence(value: Any, spec: TensorSpec, label: str = "") -> Array:
    """A list of tensors of the spec's element type, each of a shape of its own."""
    if not isinstance(value, (list, np.ndarray)):
        raise InputError(f"{label}{shown(value)} where a list of tensors is needed")
    element = TensorSpec(spec.name, spec.dtype[len("seq(") : -1], ())
    array = np.empty(len(value), dtype=object)
    for i, part in enumerate(value):
        array[i] = tensor(part, element, f"{label}tensor {i}: ")
    return array


def _from_lists(value: Any, spec: TensorSpec, label: str) -> Array:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        return _cell_by_cell(value, label)
    # NumPy makes texts of numbers beside a text, and floats of integers beyond int64.
    is_changed = array.dtype.kind in "US" or (spec.dtype == "uint64" and array.dtype.kind == "f")
    return np.array(value, dtype=object) if is_changed else array


def _cell_by_cell(value: Any, label: str) -> Array:
    shape = _shape(value)
    _check_regular(value, shape, (), label)
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        cell = value
        for i in index:
            cell = cell[i]
        array[index] = cell
    return array


def _shape(value: Any) -> tuple[int, ...]:
    """The shape that the first of everything announces."""
    shape: list[int] = []
    while isinstance(value, (list, tuple)) and len(shape) < _MAX_DEPTH:
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _check_regular(value: Any, shape: tuple[int, ...], at: tuple[int, ...], label: str) -> None:
    is_list = isinstance(value, (list, tuple))
    if not shape:
        if is_list or isinstance(value, dict):
            raise InputError(f"{label}{place(at)}{shown(value)} where one value is needed")
        return
    if not is_list:
        raise InputError(f"{label}{place(at)}{shown(value)} where an array is needed")
    if len(value) != shape[0]:
        raise InputError(f"{label}{place(at)}{len(value)} values, but the first has {shape[0]}")
    for i, part in enumerate(value):
        _check_regular(part, shape[1:], (*at, i), label)


def place(at: tuple[int, ...]) -> str:
    """Where a cell is, as the beginning of a message."""
    if not at:
        return ""
    if len(at) <= 2:
        return ", ".join(f"{n} {i}" for n, i in zip(("row", "column"), at)) + ": "
    return f"row {at[0]}, at {list(at[1:])}: "


def _check_shape(array: Array, spec: TensorSpec, label: str) -> None:
    if not spec.shape:  # one value, or a tensor of any shape: the runtime calls both so
        return
    is_fit = _is_fit(array.shape, spec.shape)
    if is_fit and array.size:
        return
    if array.ndim and not array.size:
        raise InputError(f"{label}there are no values")
    if _is_fit(array.shape[1:], spec.shape[1:]) and array.ndim:
        have, want = len(array), spec.shape[0]
        rows = "1 row" if want == 1 else f"{want} rows"
        raise InputError(f"{label}{have} rows, but the model takes exactly {rows} at a time")
    if array.ndim == len(spec.shape) == 2 and spec.shape[0] in {None, array.shape[0]}:
        have, want = array.shape[1], spec.shape[1]
        raise InputError(f"{label}row 0 has {have} values, but the model has {want} columns")
    wanted = ", ".join("any" if n is None else str(n) for n in spec.shape)
    raise InputError(f"{label}the shape is {list(array.shape)}, but the model takes [{wanted}]")


def _is_fit(have: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    return len(have) == len(want) and all(w in {None, h} for w, h in zip(want, have))


def _cast(array: Array, spec: TensorSpec, label: str) -> Array:
    if spec.dtype == "str":
        return _texts(array, label)
    target = np.dtype(spec.dtype)
    if array.dtype == target:
        return array
    if array.dtype.kind not in "biuf":
        array = _numbers(array, label)
    if target.kind == "f":
        return _floats(array, target, label)
    return _whole(array, target, label)


def _texts(array: Array, label: str) -> Array:
    for at in np.ndindex(array.shape):
        text: Any = array[at]
        if not isinstance(text, str):
            raise InputError(f"{label}{place(at)}{shown(_plain(text))} isn't text")
        if not text.isascii() and _HALF_PAIR.search(text):
            raise InputError(f"{label}{place(at)}the text holds half of a surrogate pair")
    return array.astype(object)


def _numbers(array: Array, label: str) -> Array:
    """Cells of any kind as numbers: int64 or uint64 where all are whole, else float64."""
    if array.dtype.kind not in "OUST":
        raise InputError(f"{label}values of type {array.dtype} aren't numbers")
    for at in np.ndindex(array.shape):
        cell = _plain(array[at])
        if not isinstance(cell, (int, float)) and cell is not None:
            raise InputError(f"{label}{place(at)}{shown(cell)} isn't a number")
        try:
            float(cell or 0)
        except OverflowError:
            raise InputError(f"{label}{place(at)}the integer is too large") from None
    cells = [float("nan") if cell is None else cell for cell in array.ravel().tolist()]
    return _plain_numbers(cells).reshape(array.shape)


def _plain_numbers(cells: list[Any]) -> Array:
    if all(isinstance(c, int) for c in cells):
        for kind in (np.int64, np.uint64):
            try:
                return np.array(cells, dtype=kind)
            except OverflowError:
                continue
    return np.array(cells, dtype=np.float64)


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def _refuse(array: Array, bad: Any, why: str, label: str) -> None:
    if not bad.any():
        return
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    raise InputError(f"{label}{place(at)}{shown(_plain(array[at]))} {why}")


def _floats(array: Array, target: np.dtype[Any], label: str) -> Array:
    if target.itemsize == 8:
        return array.astype(target)
    with np.errstate(over="ignore"):
        cast = array.astype(target)
    if not np.isfinite(cast).all():
        lost = np.isinf(cast) & np.isfinite(array)
        _refuse(array, lost, f"is too large for {target.name}", label)
    return cast


def _whole(array: Array, target: np.dtype[Any], label: str) -> Array:
    """Integers and booleans; a float that is whole may pass."""
    name = "true or false" if target.kind == "b" else target.name
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            _refuse(array, ~(array == np.trunc(array)), "isn't a whole number", label)
            _refuse(array, ~np.isfinite(array), "isn't a whole number", label)
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
    if array.dtype.kind == "f":
        bad = (array < float(low)) | (array >= float(high + 1))
    elif array.dtype.kind == "b":
        return array.astype(target)
    else:
        bad = (array < low) | (array > high)
    _refuse(array, bad, f"isn't {name}" if target.kind == "b" else f"doesn't fit {name}", label)
    return array.astype(target)
