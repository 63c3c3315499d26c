"""``.npy`` bodies: one array in, one array out, and never a pickle.

The header is read by a grammar of its own and held against the body's size before anything is
allocated. What comes out of here is NumPy's own: native byte order, rows first in memory, values
that their type really has.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any, Final

import numpy as np

from loaders.base import Array, Form, InputError, Outputs, Payload
from mms.media import NPZ, Spec
from mms.worker.codecs.values import Unwritable


def decode(body: bytes, spec: Spec) -> Payload:  # noqa: ARG001 - there is nothing to choose
    return Payload(form="inputs", tensors={"": filled_array_of(body, "the body")})


_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 10_000  # NumPy's own
_MAX_AXES: Final = 32
_ITEM = re.compile(
    r"""\s*(["'])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:["'](?P<type>[^"'\\]{1,20})["']|(?P<flag>True|False)|\((?P<shape>[\d\sL,]*)\)|"""
    r"""(?P<fields>\[))\s*,?\s*"""
)
_DTYPE = re.compile(
    r"([<>|=]?)(b1|[iu][1248]|f[248]|[US][1-9]\d{0,7})"
)  # NumPy's text ends at 2 GiB


def array_of(body: bytes, what: str) -> Array:
    """The array that a ``.npy`` file holds; ``what`` begins every message. Raises InputError.

    An array without values is flat: no other shape could be trusted.
    """
    if body[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{what} is no .npy file: send what numpy.save writes")
    header, start = _header(body, what)
    dtype, shape, is_fortran = _parsed(header, what)
    size = math.prod(shape) * dtype.itemsize
    if size != len(body) - start:
        found = len(body) - start
        raise InputError(
            f"{what} holds {found} bytes of values, but {size} belong to a {dtype} array of shape "
            f"{list(shape)}"
        )
    if not size:
        return np.empty(0, dtype)
    array = np.frombuffer(body, dtype, offset=start)
    return _checked(array.reshape(shape, order="F" if is_fortran else "C"), what)


def filled_array_of(body: bytes, what: str) -> Array:
    """The array of :func:`array_of`, but one without values is refused."""
    array = array_of(body, what)
    if not array.size:
        raise InputError(f"{what} is an array without values: send at least one row")
    return array


def _header(body: bytes, what: str) -> tuple[str, int]:
    """The header's text, and where the values begin."""
    major, minor = body[6:7], body[7:8]
    if major not in {b"\1", b"\2", b"\3"} or minor != b"\0":
        raise InputError(f"{what} is a .npy file of a version that isn't known here: send 1.0")
    width = 2 if major == b"\1" else 4
    start = len(_MAGIC) + 2 + width
    size = int.from_bytes(body[start - width : start], "little")
    if size > _MAX_HEADER or len(body) < start + size:
        raise InputError(f"{what} is a .npy file whose header is too long or cut short")
    return body[start : start + size].decode("latin-1"), start + size


def _parsed(header: str, what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type and shape, and whether the first axis runs fastest."""
    text = header.strip()
    items: dict[str, re.Match[str]] = {}
    at, end = 1, len(text) - 1
    while at < end and (match := _ITEM.match(text, at, end)):
        items[match["key"]] = match
        at = match.end()
        if match["fields"]:
            raise InputError(f"{what} is a structured array: send one array of a plain type")
    if text[:1] + text[-1:] != "{}" or at < end or len(items) != 3:
        raise InputError(f"{what} has a .npy header that can't be read")
    dtype = _dtype(items["descr"]["type"], what)
    order = items["fortran_order"]["flag"]
    if order is None:
        raise InputError(f"{what} has a .npy header that can't be read")
    return dtype, _shape(items["shape"]["shape"], what), order == "True"


def _dtype(name: str | None, what: str) -> np.dtype[Any]:
    name = name or ""
    if _DTYPE.fullmatch(name):
        return np.dtype(name)
    if name in {"O", "|O"}:
        raise InputError(f"{what} holds pickled objects, which are never read: send a plain type")
    raise InputError(
        f"{what} is an array of type {name!a}: send numbers, booleans or fixed-width text"
    )


def _shape(text: str | None, what: str) -> tuple[int, ...]:
    sizes = [part.strip().rstrip("L") for part in (text or "").split(",")]
    sizes = sizes if sizes[-1] else sizes[:-1]
    if text is None or len(sizes) > _MAX_AXES or not all(map(_is_size, sizes)):
        raise InputError(f"{what} has a .npy header with a shape that can't be read")
    return tuple(map(int, sizes))


def _is_size(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 18


def _checked(array: Array, what: str) -> Array:
    """A copy in native form; raises InputError for bits that are no value of the type."""
    kind = array.dtype.kind
    if kind == "b" and (array.view(np.uint8) > 1).any():
        raise InputError(f"{what} holds bytes that are neither true nor false")
    native = array.astype(array.dtype.newbyteorder("="), order="C")
    if kind == "U" and (native.reshape(-1).view(np.uint32) > 0x10FFFF).any():
        raise InputError(f"{what} holds text of characters that there aren't")
    return _decoded(native, what) if kind == "S" else native


def _decoded(array: Array, what: str) -> Array:
    try:
        return np.asarray(np.char.decode(array, "utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{what} holds text that isn't UTF-8") from None


# --- Answers ---

_KINDS: Final = frozenset("biufcSUmM")
MAX_TEXT: Final = 1 << 28
"""Bytes that texts may take when all are as wide as the widest."""


def encode(outputs: Outputs, form: Form) -> bytes:  # noqa: ARG001 - one array is one array
    if len(outputs.arrays) > 1:
        raise Unwritable(
            f"the model has {len(outputs.arrays)} outputs, and .npy holds one: send Accept: {NPZ}"
        )
    (array,) = outputs.arrays.values()
    return bytes_of(array)


def bytes_of(array: Array) -> bytes:
    """The array as a ``.npy`` file; raises Unwritable where that would need a pickle."""
    out = io.BytesIO()
    np.save(out, _plain_array(array), allow_pickle=False)
    return out.getvalue()


def _plain_array(array: Array) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        if array.mask.any():
            raise _unwritable("an array with masked values")
        array = array.data
    if array.dtype.kind == "O":
        return _texts(array)
    if array.dtype.kind not in _KINDS:
        raise _unwritable(f"an array of type {array.dtype}")
    return np.asarray(array)


def _texts(array: Array) -> Array:
    """Objects as text of one width, if they are all text."""
    cells = array.ravel().tolist()
    if not all(isinstance(cell, str) for cell in cells):
        raise _unwritable("objects that aren't all text")
    if any(cell.endswith("\0") for cell in cells):
        raise _unwritable("text that ends in NUL")
    width = max(map(len, cells), default=0)
    if width * 4 * len(cells) > MAX_TEXT:
        raise _unwritable(f"texts of up to {width} characters, too many to make them equally wide")
    return np.array(cells, dtype=f"<U{max(1, width)}").reshape(array.shape)


def _unwritable(what: str) -> Unwritable:
    return Unwritable(
        f"the model answered with {what}, which .npy can't say: send Accept: application/json"
    )
