"""A sparse matrix from the arrays that SciPy's ``save_npz`` writes: csr, csc or coo.

Everything is checked before SciPy's own code sees it, which trusts its indices. What comes out is
a CSR matrix with sorted indices, each cell once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from loaders.base import Array, InputError

_COMMON: Final = frozenset({"format", "shape", "data"})
_PARTS: Final = {
    "csr": ("indices", "indptr"),
    "csc": ("indices", "indptr"),
    "coo": ("row", "col"),
}
_MAX_COLUMNS: Final = 2**31 - 1  # what 32-bit indices can tell
_BYTES_A_ROW: Final = 4  # that a CSR matrix takes at least


def is_sparse(names: Collection[str]) -> bool:
    """Whether arrays of these names are one sparse matrix."""
    return _COMMON.issubset(names)


def matrix_of(arrays: Mapping[str, Array], limit: int) -> Any:
    """A ``scipy.sparse.csr_matrix``; raises InputError.

    It has no more rows than a CSR matrix of ``limit`` bytes could have.
    """
    kind = str(arrays["format"].reshape(-1)[:1][0]) if arrays["format"].size else ""
    names = _PARTS.get(kind)
    if names is None:
        raise InputError(
            f"the sparse matrix has the format {ascii(kind)[:20]}: send csr, csc or coo"
        )
    if arrays.keys() - {"_is_array"} != _COMMON.union(names):
        raise InputError(f"a {kind} matrix is made of {', '.join(sorted(_COMMON.union(names)))}")
    rows, columns = _shape(arrays["shape"], limit)
    data = _values(arrays["data"])
    first, second = arrays[names[0]], arrays[names[1]]
    if kind == "coo":
        parts = _indices(first, rows, data, "row"), _indices(second, columns, data, "col")
    else:
        ends, inner = (rows, columns) if kind == "csr" else (columns, rows)
        parts = _indices(first, inner, data, "indices"), _pointers(second, ends, data)
    return _csr(kind, data, parts, (rows, columns))


def _csr(kind: str, data: Array, parts: tuple[Array, Array], shape: tuple[int, int]) -> Any:
    try:
        from scipy import sparse  # only for those who send such a matrix
    except ImportError:
        raise InputError("this model's environment has no SciPy: send dense rows") from None
    if kind == "coo":
        return sparse.coo_matrix((data, parts), shape=shape).tocsr()
    make = sparse.csr_matrix if kind == "csr" else sparse.csc_matrix
    matrix = make((data, *parts), shape=shape).tocsr()
    matrix.sum_duplicates()  # sorts, too
    return matrix


def _shape(array: Array, limit: int) -> tuple[int, int]:
    if array.shape != (2,) or array.dtype.kind not in "iu":
        raise InputError("the sparse matrix has no shape of two whole numbers")
    rows, columns = (int(n) for n in array)
    if rows < 1 or columns < 1:
        raise InputError(f"the sparse matrix has no values: its shape is [{rows}, {columns}]")
    if rows > limit // _BYTES_A_ROW or columns > _MAX_COLUMNS:
        raise InputError(f"the sparse matrix is too large: its shape is [{rows}, {columns}]")
    return rows, columns


def _values(array: Array) -> Array:
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputError("the sparse matrix has no flat array of numbers as data")
    return array.astype(np.float32) if array.dtype == np.float16 else array  # SciPy has no halves


def _indices(array: Array, size: int, data: Array, name: str) -> Array:
    """32-bit indices below ``size``, one for each value."""
    if array.shape != data.shape or array.dtype.kind not in "iu":
        raise InputError(f"the sparse matrix has {name} that aren't one whole number a value")
    if len(array) and (int(array.min()) < 0 or int(array.max()) >= size):
        raise InputError(f"the sparse matrix has {name} outside of its shape")
    return array.astype(np.int32)


def _pointers(array: Array, size: int, data: Array) -> Array:
    """Where each row (or column) of values begins, and the last ends."""
    if array.shape != (size + 1,) or array.dtype.kind not in "iu":
        raise InputError(f"the sparse matrix has an indptr that isn't {size + 1} whole numbers")
    if int(array.min()) < 0 or int(array.max()) > len(data):
        raise InputError("the sparse matrix has an indptr that points outside of its values")
    ends = array.astype(np.int64)
    if ends[0] != 0 or ends[-1] != len(data) or (np.diff(ends) < 0).any():
        raise InputError("the sparse matrix has an indptr that doesn't lead through its values")
    return ends.astype(np.int32)
