"""What a script need not write: the defaults in its place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression

from loaders.base import InputError
from loaders.scripts.errors import Unreadable, Unwritable
from tests.loaders.scripts.artifacts import CSV, ECHO, JSON, MODEL_FN, ask, dumped, loaded, script

NPY = "application/x-npy"
NPZ = "application/x-npz"


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def npz(matrix: Any) -> bytes:
    out = io.BytesIO()
    sparse.save_npz(out, matrix)
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "kind", "rows"),
    [
        ("[[1, 2], [3, 4]]", JSON, [[1, 2], [3, 4]]),
        ("[1, 2]", JSON, [[1, 2]]),
        ("[[1, null]]", JSON, [[1, None]]),
        ("[[0.1]]", JSON, [[float(np.float32(0.1))]]),
        ("1,2\n3,4\n", CSV, [[1, 2], [3, 4]]),
        ("1,2.5\r\n3,4.5", CSV, [[1, 2.5], [3, 4.5]]),
        ("1,2", CSV, [[1, 2]]),
        ("1\n2\n3", CSV, [[1, 2, 3]]),
        (' 1 ,"2"\n\n,nan\n', CSV, [[1, 2], [None, None]]),
        (npy(np.array([[1, 2]])), NPY, [[1, 2]]),
        (npy(np.array([1.5, 2])), NPY, [[1.5, 2]]),
    ],
)
def test_the_default_input_is_rows(body: Any, kind: str, rows: Any, tmp_path: Path) -> None:
    """Texts become float32, one dimension becomes one row."""
    answer = ask(loaded(tmp_path, script(ECHO)), body, kind)
    plain = [[None if cell != cell else cell for cell in row] for row in answer]  # noqa: PLR0124
    assert plain == rows


def test_arrays_keep_their_types_and_sparse_matrices_stay_sparse(tmp_path: Path) -> None:
    body = "def predict_fn(data, model): return [str(data.dtype), type(data).__name__]"
    model = loaded(tmp_path, script(body))
    assert ask(model, npy(np.array([[1 << 60]])), NPY) == ["int64", "ndarray"]
    assert ask(model, npz(sparse.csr_matrix([[0.0, 1.0]])), NPZ) == ["float64", "csr_matrix"]
    assert ask(model, "1,2", CSV) == ["float32", "ndarray"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("[[1], [2, 3]]", JSON),
        ("{", JSON),
        ("[" * 100_000, JSON),
        ("5", JSON),
        ('{"instances": [[1]]}', JSON),
        ('[["x"]]', JSON),
        ("1,x", CSV),
        ("1,2\n3", CSV),
        (b"\x93NUMPY nonsense", NPY),
        (npy(np.array([{}], dtype=object), allow_pickle=True), NPY),
        (b"PK\x03\x04", NPZ),
        (npy(np.array([1])), NPZ),
    ],
)
def test_bodies_the_default_input_cant_read_are_the_callers_mistake(
    body: Any, kind: str, tmp_path: Path
) -> None:
    """Never unpickled, never a failure of the model."""
    with pytest.raises(InputError):
        ask(loaded(tmp_path, script(ECHO)), body, kind)


def test_an_object_for_the_default_input_says_what_to_send(tmp_path: Path) -> None:
    """It is what all other models here take, and what AWS's own ``input_fn`` doesn't."""
    with pytest.raises(InputError, match=r"no input_fn .* send a bare array of rows"):
        ask(loaded(tmp_path, script(ECHO)), '{"instances": [[1]]}')


def test_a_sparse_bomb_isnt_unpacked(tmp_path: Path) -> None:
    """A megabyte of zeros that unpacks to gigabytes is refused by what it announces."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(5):
            archive.writestr(f"{n}.npy", bytes(60 << 20))
    with pytest.raises(InputError, match="more than 256 MiB"):
        ask(loaded(tmp_path, script(ECHO)), out.getvalue(), NPZ)


def test_rows_the_model_refuses_are_the_callers_mistake(tmp_path: Path) -> None:
    """Where nothing but defaults stands between the caller and scikit-learn's checks."""
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    served = loaded(tmp_path, {"code/inference.py": MODEL_FN, "model.joblib": dumped(model)})
    with pytest.raises(InputError, match="X has 2 features"):
        ask(served, "[[1, 2]]")


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        (JSON, b"[[1.0, 2.5], [3.0, 4.0]]"),
        (CSV, b"1.0,2.5\n3.0,4.0\n"),
        (NPY, npy(np.array([[1, 2.5], [3, 4]], np.float32))),
    ],
)
def test_the_default_output_is_written_as_asked(accept: str, body: bytes, tmp_path: Path) -> None:
    model = loaded(tmp_path, script(ECHO))
    assert model.answer_raw("1,2.5\n3,4", CSV, accept, {}) == (body, accept)


def test_types_that_no_default_knows(tmp_path: Path) -> None:
    """In: one thing; out: another."""
    model = loaded(tmp_path, script(ECHO))
    with pytest.raises(Unreadable, match="image/png"):
        ask(model, b"", "image/png")
    with pytest.raises(Unwritable, match="image/png"):
        ask(model, accept="image/png")
