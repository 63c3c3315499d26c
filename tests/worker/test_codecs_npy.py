"""``.npy`` bodies: every plain type comes in and goes out as it is, and nothing is unpickled."""

from __future__ import annotations

import io
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loaders.base import Array, InputError, Outputs
from mms.media import NPY, Spec
from mms.worker.codecs import decode, encode
from mms.worker.codecs.npy import array_of
from mms.worker.codecs.values import Unwritable

SPEC = Spec(content_type=NPY, accept=NPY)


def saved(array: Any, *, allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=allow_pickle)
    return out.getvalue()


def read(body: bytes) -> Array:
    payload = decode(body, SPEC)
    assert payload.form == "inputs"
    assert list(payload.tensors) == [""]
    return np.asarray(payload.tensors[""])


def written(array: Array) -> Array:
    outputs = Outputs(arrays={"y": array})
    content_type, body = encode(outputs, "inputs", SPEC)
    assert content_type == b"application/x-npy"
    return np.asarray(np.load(io.BytesIO(body), allow_pickle=False))


def head(text: str, values: bytes = b"", version: bytes = b"\1\0") -> bytes:
    size = len(text).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode() + values


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.integer_dtypes(endianness=">"),
    hnp.unsigned_integer_dtypes(endianness=">"),
    hnp.floating_dtypes(sizes=(16, 32, 64), endianness=">"),
    hnp.floating_dtypes(sizes=(16, 32, 64), endianness="<"),
    hnp.unicode_string_dtypes(endianness=">", max_len=5),
)


@given(DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0))), st.booleans())
@settings(max_examples=100)
def test_every_plain_array_is_read_as_it_is(array: Array, is_fortran: bool) -> None:
    """Bit for bit, in the machine's byte order, rows first in memory, and writable."""
    got = read(saved(np.asfortranarray(array) if is_fortran and array.ndim else array))
    assert got.dtype == array.dtype.newbyteorder("=")
    assert got.shape == array.shape
    assert got.tobytes() == array.astype(got.dtype).tobytes()
    assert got.flags.c_contiguous
    assert got.flags.writeable


@given(DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0))))
@settings(max_examples=50)
def test_every_plain_array_is_written_as_it_is(array: Array) -> None:
    got = written(array)
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_bytes_are_text() -> None:
    """UTF-8, as the models' other texts."""
    assert read(saved(np.array(["Zürich".encode(), b""]))).tolist() == ["Zürich", ""]
    with pytest.raises(InputError, match="isn't UTF-8"):
        read(saved(np.array([b"\xff"])))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@settings(max_examples=50)
def test_objects_that_are_all_text_are_written_as_text(texts: list[str]) -> None:
    """Of one width; what a fixed width can't say is refused."""
    array = np.array([*texts, ""], dtype=object)
    if any(text.endswith("\0") for text in texts):
        with pytest.raises(Unwritable, match="ends in NUL"):
            written(array)
    else:
        assert written(array).tolist() == [*texts, ""]


WIDE = np.array(["x" * 100_000, *["y"] * 1000], dtype=object)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(["a", None], dtype=object), "objects that aren't all text"),
        (np.array([1, 2], dtype=object), "objects that aren't all text"),
        (np.ma.masked_equal([1, 2], 2), "masked"),
        (np.zeros(2, [("a", "f4")]), "of type"),
        (WIDE, "texts of up to 100000 characters"),
    ],
)
def test_what_needs_a_pickle_is_not_written(array: Array, said: str) -> None:
    with pytest.raises(Unwritable, match=f"{said}.*send Accept: application/json"):
        written(array)


def test_dates_and_arrays_without_masks_are_written() -> None:
    dates = np.array(["2020-01-01", "NaT"], dtype="M8[D]")
    assert written(dates).tobytes() == dates.tobytes()
    assert written(np.ma.masked_array([1, 2])).tolist() == [1, 2]


def test_several_outputs_are_for_npz() -> None:
    outputs = Outputs(arrays={"a": np.array([1]), "b": np.array([2])}, single=False)
    with pytest.raises(Unwritable, match=r"2 outputs.*application/x-npz"):
        encode(outputs, "inputs", SPEC)


PLAIN = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }"
TWO = np.array([1, 2], dtype="<i4").tobytes()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN + " " * 20 + "\n",
        '{"shape": (2L,),"descr":"<i4",  "fortran_order":False}',
        "{'descr': 'i4', 'fortran_order': True, 'shape': (1, 2)}",
    ],
)
def test_headers_of_other_writers_are_read(text: str) -> None:
    """In any order, with any quotes and blanks, in every version of the format."""
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        assert read(head(text, TWO, version)).ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no .npy file"),
        (b"[[1,2]]", "is no .npy file"),
        (b"\x93NUMPY", "version"),
        (head(PLAIN, TWO, b"\4\0"), "version"),
        (head(PLAIN, TWO)[:9], "cut short"),
        (head(PLAIN, TWO)[:40], "cut short"),
        (head(PLAIN + " " * 10_000, TWO), "too long"),
        (head(PLAIN, TWO, b"\2\0").replace(b"\2\0" + b"\x39", b"\2\0" + b"\xff"), "cut short"),
        (head(PLAIN, TWO[:-1]), "7 bytes of values, but 8 belong"),
        (head(PLAIN, TWO + b"x"), "9 bytes of values, but 8 belong"),
        (head(PLAIN.replace("(2,)", "()"), TWO), "8 bytes of values, but 4 belong"),
        (head(PLAIN.replace("(2,)", "(-1,)"), TWO), "can't be read"),
        (head(PLAIN.replace("(2,)", "(2,,)"), TWO), "shape"),
        (head(PLAIN.replace("(2,)", "2"), TWO), "can't be read"),
        (head(PLAIN.replace("(2,)", "(" + "1," * 40 + ")"), TWO), "shape"),
        (head(PLAIN.replace("(2,)", f"({10**30},)"), TWO), "shape"),
        (head(PLAIN.replace("(2,)", f"({10**17}, {10**17})"), TWO), "belong to a"),
        (head(PLAIN.replace("(2,)", f"(0, {10**17})")), "without values"),
        (head(PLAIN.replace("(2,)", "(0,)")), "without values"),
        (head(PLAIN.replace("<i4", "<U0").replace("(2,)", f"({10**12},)")), "type '<U0'"),
        (head(PLAIN.replace("<i4", "<c16"), TWO), "type '<c16'"),
        (head(PLAIN.replace("<i4", "<U999999999"), TWO), "type '<U999999999'"),
        (head(PLAIN.replace("<i4", "<U99999999"), TWO), "bytes of values, but"),
        (head(PLAIN.replace("<i4", "<M8[s]"), TWO), r"type '<M8\[s\]'"),
        (head(PLAIN.replace("<i4", "|V4"), TWO), "type"),
        (head(PLAIN.replace("<i4", "__import__('os')"), TWO), "can't be read"),
        (head(PLAIN.replace("'<i4'", "[('a', '<i4')]"), TWO), "structured"),
        (head(PLAIN.replace("False", "1"), TWO), "can't be read"),
        (head(PLAIN.replace("'shape'", "'shapes'"), TWO), "can't be read"),
        (head(PLAIN[:-1], TWO), "can't be read"),
        (head("{" * 5000, TWO), "can't be read"),
        (head("{'descr': 'shape', 'fortran_order': 'x', 'shape': (2,)}", TWO), "type"),
        (head("{'descr': True, 'fortran_order': False, 'shape': (2,)}", TWO), "type"),
        (head("{'descr': '<i4', 'fortran_order': '<i4', 'shape': (2,)}", TWO), "can't be read"),
        (head("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", b"\1\2"), "true nor"),
        (head("{'descr': '>U1', 'fortran_order': False, 'shape': (1,)}", b"\0\x11\0\0"), "there"),
    ],
)
def test_what_is_no_plain_array_is_refused(body: bytes, said: str) -> None:
    """In our words, before anything is allocated."""
    with pytest.raises(InputError, match=said):
        read(body)


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    """Neither as an array of objects nor as the whole body."""
    marker = tmp_path / "ran"
    for body in (
        saved(np.array([_Marker(marker)], dtype=object), allow_pickle=True),
        pickle.dumps(_Marker(marker)),
    ):
        with pytest.raises(InputError, match=r"never read|no \.npy"):
            read(body)
    assert not marker.exists()
    assert pickle.loads(body) is None  # the sample is a good one
    assert marker.exists()


def test_a_lying_header_costs_nothing() -> None:
    """Hang guard, and a bound on memory."""
    start = time.monotonic()
    tracemalloc.start()
    for shape in (f"({10**17},)", "(" + f"{10**17}, " * 32 + ")", f"({10**17}, 0)"):
        with pytest.raises(InputError):
            read(head(PLAIN.replace("(2,)", shape), TWO))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert time.monotonic() - start < 20


@given(st.binary(max_size=80), st.integers(0, 140))
@settings(max_examples=100)
def test_noise_is_never_more_than_a_refusal(noise: bytes, at: int) -> None:
    body = saved(np.arange(6).reshape(2, 3))
    for hostile in (noise, b"\x93NUMPY" + noise, body[:at] + noise + body[at + len(noise) :]):
        try:
            array = array_of(hostile, "it")
        except InputError:
            continue
        assert array.nbytes <= len(hostile)
