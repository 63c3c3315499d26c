"""``.npy`` and ``.npz`` bodies: whole ones first, of which one thing at a time is then changed.

Most would be read but for that thing, so that what is deeper in is reached: the values behind a
header, the parts of a sparse matrix, the members of a zip.
"""

from __future__ import annotations

import io
import random
import zipfile
from typing import Any, Final

import numpy as np
import scipy.sparse

from tests.fuzz.bytes import anyhow

Arrays = dict[str, np.ndarray[Any, Any]]

_TYPES: Final = ("<f8", ">f4", "<f2", "<i8", ">i2", "|u1", "|b1", "<U3", ">U2", "|S2", "<u8")
_ODD_TYPES: Final = (
    *("<M8[s]", "<c16", "|V4", "|O", "<f16", "<U0", "<U999999999", "|S99999999", "f8", ""),
    "[('a', '<f8')]",
)
_SHAPES: Final = ((2, 4), (1, 4), (4,), (), (0, 4), (1, 2, 2), (3, 1), (1,) * 32)
_ODD_SHAPES: Final = (
    *("(2, 4", "4", "(-1,)", f"({1 << 60},)", f"({1 << 33}, {1 << 33})", "(True,)"),
    *("(2L, 4)", "(,)", "(0,) * 9", f"({'1, ' * 40})", "(4e0,)"),
)
_EDGES: Final = (0, 1, -1, 2, 3, 4, 127, 255, 1 << 15, (1 << 31) - 1, 1 << 31, -(1 << 62), 1 << 62)
# The fields of a zip's headers, by what they begin with: where each starts, and its width.
_FIELDS: Final = {
    b"PK\1\2": ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)),
    b"PK\3\4": ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\5\6": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}


def npy(rng: random.Random) -> bytes:
    array = _array(rng)
    kind = rng.randrange(5)
    if kind < 2:
        return _saved(array)
    if kind == 2:
        return _with_header(rng, array)
    whole = _saved(array)
    return _overwritten(rng, whole, len(whole) - array.nbytes) if kind == 3 else anyhow(rng, whole)


def npz(rng: random.Random) -> bytes:
    arrays = _sparse(rng) if rng.random() < 0.6 else _named(rng)
    kind = rng.randrange(6)
    if kind == 1:
        name = rng.choice(list(arrays))
        arrays[name] = _changed(rng, arrays[name])
    elif kind == 2:
        arrays[rng.choice(("a", "data", "indptr", "_is_array", "é", "../a"))] = _array(rng)
    elif kind == 3:
        del arrays[rng.choice(list(arrays))]
    damaged = rng.choice(list(arrays) or [""]) if kind == 4 else None
    members = [(name, npy(rng) if name == damaged else _saved(a)) for name, a in arrays.items()]
    body = _zipped(rng, members)
    return rng.choice((_with_field, _with_field, anyhow))(rng, body) if kind == 5 else body


def _array(rng: random.Random) -> np.ndarray[Any, Any]:
    shape, kind = rng.choice(_SHAPES), np.dtype(rng.choice(_TYPES))
    values = [rng.choice(_EDGES) for _ in range(int(np.prod(shape)))]
    if kind.kind in "US":
        return np.array([str(v)[:2] for v in values], kind).reshape(shape)
    with np.errstate(all="ignore"):
        array = np.array(values, np.int64).astype(kind).reshape(shape)
    return np.asfortranarray(array) if rng.random() < 0.3 and array.ndim else array


def _named(rng: random.Random) -> Arrays:
    names = ("a", "b", "arr_0", "data", "format", "", "é", "a/b")
    return {name: _array(rng) for name in rng.sample(names, rng.choice((1, 1, 2, 3)))}


def _sparse(rng: random.Random) -> Arrays:
    """The arrays of a matrix, as SciPy writes them."""
    rows, columns = rng.choice(((2, 4), (1, 4), (3, 4), (4, 1)))
    dense = [[rng.choice((0, 0, 1, -2)) for _ in range(columns)] for _ in range(rows)]
    out = io.BytesIO()
    make = rng.choice((scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_matrix))
    scipy.sparse.save_npz(out, make(np.array(dense, rng.choice(("<f8", "<i8", "|i1", "<f4")))))
    return dict(np.load(io.BytesIO(out.getvalue())))


def _changed(rng: random.Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One value at an edge, another type, or another number of values."""
    kind = rng.randrange(4)
    if kind == 0 or array.dtype.kind not in "iuf" or not array.size:
        return _array(rng)
    if kind == 1:
        return np.resize(array, rng.choice((0, 1, array.size + 1, max(0, array.size - 1))))
    with np.errstate(all="ignore"):
        if kind == 2:
            return array.astype(rng.choice(("<f8", "<u8", "|i1", ">i4", "<f2")))
        wide = array.astype("<i8").reshape(-1)
    wide[rng.randrange(wide.size)] = rng.choice(_EDGES)
    return wide.reshape(array.shape)


def _saved(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _with_header(rng: random.Random, array: np.ndarray[Any, Any]) -> bytes:
    """One of the header's items is odd, or another's."""
    items = {"descr": repr(array.dtype.str), "fortran_order": "False", "shape": repr(array.shape)}
    changes: dict[str, tuple[str, ...]] = {
        "descr": (*map(repr, (*_TYPES, *_ODD_TYPES)), "1", "'<f8' * 9"),
        "fortran_order": ("True", "2", "None", "'True'"),
        "shape": (*map(repr, _SHAPES), *_ODD_SHAPES),
        "more": ("1", "{}"),
    }
    name = rng.choice(list(changes))
    items[name] = rng.choice(changes[name])
    head = "{" + ", ".join(f"'{key}': {items[key]}" for key in items) + "}"
    data = head.encode() + b" " * rng.choice((0, 1, 60)) + b"\n"
    if rng.random() < 0.8:
        start = b"\1\0" + len(data).to_bytes(2, "little")
    else:
        start = rng.choice((b"\2\0", b"\3\0", b"\4\0", b"\2\1")) + len(data).to_bytes(4, "little")
    return b"\x93NUMPY" + start + data + array.tobytes()


def _overwritten(rng: random.Random, data: bytes, start: int) -> bytes:
    """Any bytes as values: of numbers and of text, which not all of them are."""
    if start >= len(data):
        return data
    at = rng.randrange(start, len(data))
    return data[:at] + rng.randbytes(min(rng.choice((1, 4, 8)), len(data) - at)) + data[at + 8 :]


# --- Zips ---


def _zipped(rng: random.Random, members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    way = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", way) as archive:
        for name, data in members:
            with archive.open(f"{name}.npy", "w", force_zip64=rng.random() < 0.5) as member:
                member.write(data)
    return out.getvalue()


def _with_field(rng: random.Random, body: bytes) -> bytes:
    """Another number in a field of one of the headers."""
    mark = rng.choice(list(_FIELDS))
    places = [at for at in range(len(body)) if body.startswith(mark, at)]
    if not places:
        return body
    offset, width = rng.choice(_FIELDS[mark])
    at = rng.choice(places) + offset
    old = int.from_bytes(body[at : at + width], "little")
    value = rng.choice((*_EDGES, old - 1, old + 1, old * 2, old ^ 1, old ^ 8))
    new = (value & ((1 << (8 * width)) - 1)).to_bytes(width, "little")
    return body[:at] + new + body[at + width :]
