"""The version of scikit-learn in a pickle is found in its bytes, and nothing is run for it."""

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn import __version__
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loaders import versions
from loaders.manifest import Manifest
from loaders.pickles import source
from loaders.sklearn import skops_zip
from loaders.versions import sklearn_version, versions_of

MODEL = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
NEST = make_pipeline(StandardScaler(), MODEL).fit([[0.0], [1.0]], [0.0, 1.0])


def wide(megabytes: int) -> Any:
    """A model with so much data before its version."""
    rows = np.random.default_rng(0).random((megabytes << 14, 8))
    return KNeighborsRegressor(algorithm="brute").fit(rows, rows[:, 0])


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "model.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("model", [MODEL, NEST, {"model": NEST}], ids=["one", "nested", "inside"])
def test_in_every_protocol(tmp_path: Path, model: Any, protocol: int) -> None:
    data = pickle.dumps(model, protocol)
    assert versions_of(saved(tmp_path, data)) == {"scikit-learn": __version__}
    plain = pickletools.optimize(data)  # without memo opcodes, in other frames
    assert sklearn_version(saved(tmp_path, plain)) == __version__


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_in_every_compression(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(NEST, path, compress=compress)
    assert sklearn_version(path) == __version__


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("model", [MODEL, NEST, {"a": [{"b": [[[NEST]]]}]}])
def test_in_a_skops_file(tmp_path: Path, model: Any, packed: int) -> None:
    """Whatever the model is called, and however deep it lies."""
    path = tmp_path / "m.skops"
    skops.io.dump(model, path, compression=packed)
    assert sklearn_version(path) == __version__


def schema(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", text)
    return path


NODE = '{"__class__": "str", "__module__": "builtins", "content": "\\"1.2.2\\"", "__id__": 1}'


@pytest.mark.parametrize("size", [0, (1 << 20) - 20, (1 << 20) - 100, (2 << 20) - 7, 3 << 20])
def test_in_a_large_schema(tmp_path: Path, size: int) -> None:
    """Wherever a block ends."""
    text = f'{{"a": "{"x" * size}", "_sklearn_version": {NODE}}}'
    assert sklearn_version(schema(tmp_path / "m.skops", text)) == "1.2.2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"a": "_sklearn_version", "b": ' + NODE + "}",
        '{"_sklearn_version": null, "b": ' + NODE + "}",
        '{"_sklearn_version": {"a": {}, "content": "\\"1.2.2\\""}}',
        '{"_sklearn_version": {"content": "1.2.2"}}',
        '{"_sklearn_version": {"content": "\\"one\\""}}',
    ],
)
def test_other_schemas_have_none(tmp_path: Path, text: str) -> None:
    assert sklearn_version(schema(tmp_path / "m.skops", text)) is None


def test_a_schema_is_searched_as_far_as_it_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no load would read isn't read for its version either."""
    monkeypatch.setattr(skops_zip, "MAX_SCHEMA_BYTES", 3 << 20)
    monkeypatch.setattr(versions, "LOOK_BYTES", 1 << 20)
    for size, found in ((0, "1.2.2"), (2, "1.2.2"), (3, None)):
        text = " " * (size << 20) + '{"_sklearn_version": ' + NODE + "}"
        path = schema(tmp_path / "m.skops", text)
        assert sklearn_version(path, thoroughly=True) == found
        assert sklearn_version(path) == (None if size else found)


def test_zips_that_are_none_or_others(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    np.savez(tmp_path / "m.npz", a=np.zeros(3))
    assert sklearn_version(tmp_path / "m.npz") is None
    whole = schema(path, '{"_sklearn_version": ' + NODE + "}").read_bytes()
    for size in range(len(whole)):
        assert sklearn_version(saved(tmp_path, whole[:size])) is None


def test_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Its texts are bytes: other opcodes."""
    for text in (
        b"\x80\x02}U\x10_sklearn_versionq\x05U\x060.17.1q\x06s.",
        b"(dp0\nS'_sklearn_version'\np5\nS'0.17.1'\np6\ns.",
    ):
        assert sklearn_version(saved(tmp_path, text)) == "0.17.1"


def test_a_frame_may_begin_between_key_and_value(tmp_path: Path) -> None:
    """The C pickler cuts a pickle anywhere between two opcodes."""
    data = b"\x80\x04\x8c\x10_sklearn_version\x94\x95" + bytes(8) + b"\x8c\x051.2.2\x94."
    assert sklearn_version(saved(tmp_path, data)) == "1.2.2"


def test_a_block_may_end_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_BLOCK_BYTES", 200)
    key = b"\x8c\x10_sklearn_version\x94\x8c\x051.2.2\x94"
    for before in range(150, 450):
        data = b"\x80\x04" + bytes(before) + key + bytes(1000)
        assert sklearn_version(saved(tmp_path, data)) == "1.2.2"
        assert sklearn_version(saved(tmp_path, gzip.compress(data, 1))) == "1.2.2"


def test_the_end_of_a_large_file_is_looked_at_early(tmp_path: Path) -> None:
    """What lies between is not read: so it costs next to nothing."""
    data = pickle.dumps(wide(8), 5)
    reads: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            reads.append(len(found))
            return found

    found = versions._search(versions._plain(Counted(data), versions.LOOK_BYTES), versions._pickled)
    assert found == __version__
    assert sum(reads) <= 2 << 20 < len(data)


def test_what_lies_deep_in_a_compressed_file_is_found_thoroughly(tmp_path: Path) -> None:
    """To get there costs as much as the load: only where that has failed."""
    path = saved(tmp_path, gzip.compress(pickle.dumps(wide(8), 5), 1))
    assert versions_of(path) == {}
    assert versions_of(path, thoroughly=True) == {"scikit-learn": __version__}


def test_other_files_have_none(tmp_path: Path) -> None:
    """A file that is no pickle isn't searched, a missing one is the loader's to report."""
    key = b"\x8c\x10_sklearn_version\x94\x8c\x051.2.2\x94"
    assert versions_of(saved(tmp_path, b"\x08\x08\x12" + key)) == {}
    assert versions_of(saved(tmp_path, b"")) == {}
    assert versions_of(saved(tmp_path, pickle.dumps({"_sklearn_version": None}))) == {}
    assert versions_of(tmp_path / "none") == {}


def test_a_bomb_yields_nothing(tmp_path: Path) -> None:
    """No more is unpacked than the bounds allow."""
    path = saved(tmp_path, gzip.compress(b"\x80\x04" + bytes(source.FREE_BYTES + (1 << 21))))
    assert versions_of(path, thoroughly=True) == {}


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x80\x04", b"\x1f\x8b", b"x\x9c", b"]\0", b"PK\x03\x04"]),
)
def test_no_bytes_are_too_odd(tmp_path_factory: Any, data: bytes, head: bytes) -> None:
    """Broken, cut, lying: a version or none, never an error."""
    path = tmp_path_factory.mktemp("odd") / "m"
    path.write_bytes(head + data + b"_sklearn_version" + data)
    found = sklearn_version(path, thoroughly=True)
    assert found is None or found[0].isdigit()


def test_the_manifest_tells_the_rest(tmp_path: Path) -> None:
    """Names as the package index compares them; the pickle's own word counts more."""
    told = {"Python": "3.11.4", "sklearn": "0.1", "Foo_Bar": "1"}
    manifest = Manifest(versions=told)
    path = saved(tmp_path, pickle.dumps(MODEL))
    expected = {"python": "3.11.4", "scikit-learn": __version__, "foo-bar": "1"}
    assert versions_of(path, manifest) == expected
    assert versions_of(None, manifest) == {**expected, "scikit-learn": "0.1"}
