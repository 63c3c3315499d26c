"""``.npz`` bodies: named arrays, sparse matrices, and zip files that are neither."""

from __future__ import annotations

import contextlib
import io
import itertools
import time
import tracemalloc
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from loaders.base import InputError, Outputs, Payload
from mms.errors import PayloadTooLarge
from mms.media import NPZ, Spec, encode_spec
from mms.worker.codecs import decode, encode, may_hold
from mms.worker.codecs.npz import MAX_MEMBERS
from mms.worker.codecs.values import Unwritable

SPEC = Spec(content_type=NPZ, accept=NPZ)


def saved(*args: Any, packed: bool = True, **arrays: Any) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, *args, **arrays)
    return out.getvalue()


def zipped(files: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as file:
        warnings.simplefilter("ignore")  # duplicates are warned of
        for name, content in files:
            file.writestr(name, content)
    return out.getvalue()


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def sparse_body(matrix: Any, *, packed: bool = True) -> bytes:
    out = io.BytesIO()
    sparse.save_npz(out, matrix, compressed=packed)
    return out.getvalue()


def read(body: bytes, spec: Spec = SPEC) -> Payload:
    return decode(body, spec)


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_are_inputs_by_name(packed: bool) -> None:
    """Whatever the names and types; a single one without a name is the only input."""
    got = read(saved(packed=packed, **{"a/b": np.arange(3), "é": np.array(["x"]), "n": 2.5}))
    assert got.form == "inputs"
    assert {name: array.tolist() for name, array in got.tensors.items()} == {
        "a/b": [0, 1, 2], "é": ["x"], "n": 2.5,
    }  # fmt: skip
    assert read(saved(np.arange(2), packed=packed)).tensors.keys() == {""}
    assert read(saved(np.arange(2), np.arange(3))).tensors.keys() == {"arr_0", "arr_1"}


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8", "bool", "uint64"])
@pytest.mark.parametrize("is_array", [True, False])
def test_a_sparse_matrix_comes_as_csr(kind: str, dtype: str, is_array: bool) -> None:
    """With the same cells and the same type, whatever SciPy's class was."""
    dense = np.array([[0, 0, 3], [0, 0, 0], [1, 0, 2]]).astype(dtype)
    matrix = (sparse.csr_array if is_array else sparse.csr_matrix)(dense).asformat(kind)
    for packed in (True, False):
        payload = read(sparse_body(matrix, packed=packed))
        assert (payload.form, payload.tensors, payload.rows) == ("inputs", {}, [])
        got = payload.sparse
        assert isinstance(got, sparse.csr_matrix)
        assert got.dtype == dtype
        assert got.has_canonical_format
        assert (got.toarray() == dense).all()


def test_rows_without_any_value_are_rows() -> None:
    assert read(sparse_body(sparse.csr_matrix((3, 4)))).sparse.shape == (3, 4)


def csr(**changes: Any) -> bytes:
    """The two rows [0, 5, 0] and [6, 0, 7] as save_npz writes them, but for the changes."""
    parts = {
        "format": b"csr", "shape": np.array([2, 3]), "data": np.array([5.0, 6, 7]),
        "indices": np.array([1, 0, 2]), "indptr": np.array([0, 1, 3]),
    }  # fmt: skip
    return saved(**{k: v for k, v in (parts | changes).items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"indices": [1, 0, 3]}, "indices outside of its shape"),
        ({"indices": [1, -1, 2]}, "indices outside of its shape"),
        ({"indices": np.array([1, 2**64 - 1, 2], np.uint64)}, "indices outside of its shape"),
        ({"indices": [1, 0]}, "indices that aren't one whole number a value"),
        ({"indices": [1.0, 0.0, 2.0]}, "indices that aren't"),
        ({"indices": [[1, 0, 2]]}, "indices that aren't"),
        ({"indptr": [0, 3]}, "indptr that isn't 3 whole numbers"),
        ({"indptr": [0, 1, 2]}, "doesn't lead through"),
        ({"indptr": [1, 1, 3]}, "doesn't lead through"),
        ({"indptr": [0, 4, 3]}, "points outside"),
        ({"indptr": [0, -1, 3]}, "points outside"),
        ({"indptr": np.array([0, 2**64 - 1, 3], np.uint64)}, "points outside"),
        ({"indptr": [0.0, 1.0, 3.0]}, "indptr that isn't"),
        ({"shape": [2, 2**40]}, "too large"),
        ({"shape": [2**40, 3]}, "too large"),
        ({"shape": [0, 3]}, "no values"),
        ({"shape": [2, -3]}, "no values"),
        ({"shape": [2, 3, 1]}, "shape of two"),
        ({"shape": [2.0, 3.0]}, "shape of two"),
        ({"data": ["a", "b", "c"]}, "numbers as data"),
        ({"data": [[5.0], [6.0], [7.0]]}, "numbers as data"),
        ({"format": b"bsr"}, "format 'bsr': send csr, csc or coo"),
        ({"format": b"__class__"}, "format"),
        ({"format": 3}, "format"),
        ({"format": b"coo"}, "a coo matrix is made of col, data, format, row, shape"),
        ({"indptr": None}, "a csr matrix is made of"),
        ({"extra": [1]}, "a csr matrix is made of"),
        ({"format": b"csc"}, "indices outside of its shape"),
        ({"format": b"csc", "indices": [1, 0, 1]}, "indptr that isn't 4 whole numbers"),
    ],
)
def test_a_matrix_that_would_lead_astray_is_refused(changes: dict[str, Any], said: str) -> None:
    """Before code that trusts it sees it."""
    assert read(csr()).sparse.toarray().tolist() == [[0, 5, 0], [6, 0, 7]]
    with pytest.raises(InputError, match=said):
        read(csr(**changes))


def test_rows_beyond_what_a_body_could_hold_are_refused() -> None:
    """A matrix by columns or cells may claim any number of them for nothing."""
    fine = sparse.coo_matrix(([1.0], ([99_999], [0])), shape=(100_000, 2))
    assert read(sparse_body(fine)).sparse.shape == (100_000, 2)
    for kind in ("coo", "csc"):
        many = sparse.coo_matrix(([1.0], ([0], [0])), shape=(2_000_000, 2)).asformat(kind)
        with pytest.raises(InputError, match="too large"):
            read(sparse_body(many))


def test_cells_that_come_twice_are_added() -> None:
    """As SciPy means them, and in the order that its code expects."""
    got = read(csr(indices=[1, 2, 2])).sparse
    assert got.toarray().tolist() == [[0, 5, 0], [0, 0, 13]]
    assert read(csr(indices=[1, 2, 0])).sparse.indices.tolist() == [1, 0, 2]


ONE = npy(np.arange(3))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no .npz"),
        (b"PK", "no .npz"),
        (ONE, "no .npz"),
        (saved(np.arange(3)) + b"x", "no .npz"),
        (saved(np.arange(3))[:-1], "no .npz"),
        (b"x" + saved(np.arange(3)), "no .npz"),
        (zipped([]), "empty"),
        (zipped([("a.txt", b"x")]), "'a.txt', which is no array"),
        (zipped([("a.npy", ONE), ("a.npy", ONE)]), "'a.npy' twice"),
        (zipped([("a.npy", ONE)], zipfile.ZIP_BZIP2), "'a.npy' .* isn't read here"),
        (zipped([("a.npy", ONE)], zipfile.ZIP_LZMA), "'a.npy' .* isn't read here"),
        (zipped([("a.npy", ONE[:-1])]), "array 'a' of the body holds 23 bytes"),
        (zipped([("a.npy", b"")]), "array 'a' of the body is no .npy"),
        (zipped([("a.npy", npy(np.zeros((0, 3))))]), "array 'a' .* without values"),
        (zipped([("a.npy", ONE)]).replace(b"\0\0\1\0\0\0", b"\0\0\2\0\0\0"), "damaged"),
        (zipped([(f"{i}.npy", b"") for i in range(MAX_MEMBERS + 1)]), "more than 1000 arrays"),
    ],
    ids=map(str, itertools.count()),  # the bodies hold the time
)
def test_what_is_no_npz_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(body)


def test_objects_are_not_unpickled() -> None:
    out = io.BytesIO()
    np.savez(out, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"array 'a' .* never read"):
        read(out.getvalue())


def test_what_is_unpacked_is_bounded() -> None:
    """By what a body may hold, over all members, told before anything is unpacked."""
    spec = Spec(content_type=NPZ, max_body=1000)
    half = np.zeros(40)
    assert len(read(saved(half, half), spec).tensors) == 2
    body = saved(half, half, half)
    assert len(body) < may_hold(encode_spec(spec), body) == 1000
    with pytest.raises(PayloadTooLarge, match=r"over 1000 bytes .*MMS_MAX_BODY"):
        read(body, spec)
    start = time.monotonic()
    with pytest.raises(PayloadTooLarge):
        read(saved(np.zeros(20_000_000)))
    assert time.monotonic() - start < 20


def test_a_lying_size_is_damage() -> None:
    """More comes out than the directory says: no more than that is unpacked."""
    honest = zipped([("a.npy", npy(np.zeros(10_000_000)))], zipfile.ZIP_DEFLATED)
    size = (80_000_128).to_bytes(4, "little")
    assert honest.count(size) == 2
    lying = honest.replace(size, (1000).to_bytes(4, "little"))
    tracemalloc.start()
    with pytest.raises(InputError, match="damaged"):
        read(lying)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_directory_elsewhere_is_refused() -> None:
    """A zip64 file has a second end, whose sizes would be believed unread."""
    plain = zipped([("a.npy", ONE)])
    end = plain[-22:]
    second = b"PK\6\7" + b"\0" * 16
    size = int.from_bytes(end[12:16], "little") + len(second)
    with pytest.raises(InputError, match="damaged"):
        read(plain[:-22] + second + end[:12] + size.to_bytes(4, "little") + end[16:])


@given(st.binary(min_size=1, max_size=30), st.integers(0, 700))
@settings(max_examples=100)
def test_damage_is_never_more_than_a_refusal(noise: bytes, at: int) -> None:
    """Wherever it is."""
    for whole in (saved(a=np.arange(3), b=np.array(["x"])), csr()):
        with contextlib.suppress(InputError, PayloadTooLarge):
            read(whole[:at] + noise + whole[at + len(noise) :])


def test_outputs_are_arrays_by_name() -> None:
    """One or several, of any form; what needs a pickle is refused."""
    arrays = {"a/b": np.array([1, 2]), "label": np.array(["é", ""], dtype=object)}
    content_type, body = encode(Outputs(arrays=arrays, single=False), "instances", SPEC)
    assert content_type == b"application/x-npz"
    with np.load(io.BytesIO(body), allow_pickle=False) as got:
        assert {name: got[name].tolist() for name in got} == {"a/b": [1, 2], "label": ["é", ""]}
        assert got["a/b"].dtype == np.int64
    with pytest.raises(Unwritable, match="application/json"):
        encode(Outputs(arrays={"a": np.array([None])}), "instances", SPEC)
