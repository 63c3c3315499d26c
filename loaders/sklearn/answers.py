"""What a scikit-learn method answered, as named arrays.

One array, or a plain list, is one output under the method's name; a list of arrays, one a target,
is ``output_0``, ``output_1``…; a DataFrame is one output a column, under the columns' own names and
of their own types. Sparse answers are written out in full, up to a bound. Pure; imports no
framework.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from loaders.base import Array, InputError, Outputs

MAX_DENSE_BYTES: Final = 1 << 28
"""How large a sparse answer may get when it is written out in full."""


def outputs_of(method: str, answer: Any, rows: int) -> Outputs:
    """The answer of ``method`` to ``rows`` rows."""
    arrays = _named(answer)
    is_single = arrays is None or (isinstance(answer, list) and len(arrays) == 1)
    if arrays is None:
        arrays = {method: _dense(answer)}
    is_batched = all(a.ndim > 0 and len(a) == rows for a in arrays.values())
    return Outputs(arrays=arrays, single=is_single, batched=is_batched)


def _named(answer: Any) -> dict[str, Array] | None:
    """The arrays of an answer that has several, by name."""
    if isinstance(answer, (list, tuple)) and answer and all(map(_is_array, answer)):
        return {f"output_{i}": _dense(part) for i, part in enumerate(answer)}
    if not (hasattr(answer, "iloc") and hasattr(answer, "columns")):
        return None
    names = [str(name) for name in answer.columns]
    if len(set(names)) != len(names):
        return None
    return {name: _column(answer.iloc[:, i]) for i, name in enumerate(names)}


def _is_array(part: Any) -> bool:
    """Whether it is one target's answer; a plain value or list is one row's."""
    return hasattr(part, "toarray") or (hasattr(part, "shape") and len(part.shape) > 0)


def _column(series: Any) -> Array:
    """A DataFrame's column; pandas' own types as NumPy's where these can hold all its values."""
    if isinstance(series.dtype, np.dtype):
        return np.asarray(series)
    if series.isna().any():  # whole numbers stay so: what is missing is null, not NaN
        return np.array([None if gap else v for v, gap in zip(series, series.isna())], dtype=object)
    return np.asarray(series.to_numpy())


def _dense(answer: Any) -> Array:
    if hasattr(answer, "toarray"):
        size = int(np.prod(answer.shape)) * answer.dtype.itemsize
        if size > MAX_DENSE_BYTES:
            raise InputError(f"the answer would take {size >> 20} MiB: send fewer rows at once")
        answer = answer.toarray()
    return np.asarray(answer)
