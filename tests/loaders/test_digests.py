"""What the manifest says of the files is held against them before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from loaders import digests
from loaders.base import LoadError, LoadOptions
from loaders.load import load_model

OPTIONS = LoadOptions()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    joblib.dump(model, tmp_path / "sub/model.joblib")
    (tmp_path / "weights.bin").write_bytes(os.urandom(3 << 20))
    return tmp_path


def declare(folder: Path, *names: str, **more: str) -> None:
    """A manifest with the right digests of ``names``, and ``more`` of others."""
    files = {name: sha256(folder / name) for name in names} | more
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_an_artifact_that_is_as_it_says_is_loaded(folder: Path) -> None:
    """In upper case too; a file that isn't named may be there, and an empty table says nothing."""
    declare(folder, "sub/model.joblib", "weights.bin")
    load_model(folder, OPTIONS)
    (folder / "notes.txt").write_text("more")
    load_model(folder, OPTIONS)
    digest = sha256(folder / "sub/model.joblib").upper()
    declare(folder, **{"./sub/model.joblib": digest})
    load_model(folder, OPTIONS)
    declare(folder)
    load_model(folder, OPTIONS)


@pytest.mark.parametrize("name", ["sub/model.joblib", "weights.bin"])
def test_a_file_that_differs_is_named(folder: Path, name: str) -> None:
    """By one byte, and before anything is loaded."""
    declare(folder, "sub/model.joblib", "weights.bin")
    body = bytearray((folder / name).read_bytes())
    body[-1] ^= 1
    (folder / name).write_bytes(body)
    message = f"'{name}' has another SHA-256 than the manifest says"
    with pytest.raises(LoadError, match=message):
        load_model(folder, OPTIONS)


@pytest.mark.parametrize("name", ["gone.bin", "sub", "sub/model.joblib/x"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    """A folder is no file."""
    declare(folder, "sub/model.joblib", **{name: "0" * 64})
    with pytest.raises(LoadError, match=f"'{name}' is in 'files', but not in the artifact"):
        load_model(folder, OPTIONS)


def test_the_model_file_must_be_among_them(folder: Path) -> None:
    """Else a stranger's model could lie beside the files of a good one."""
    declare(folder, "weights.bin")
    with pytest.raises(LoadError, match=r"the model file 'sub/model.joblib' is not in 'files'"):
        load_model(folder, OPTIONS)


def test_a_link_to_the_model_is_the_model(folder: Path) -> None:
    """Whichever of its names is declared and whichever is found."""
    os.link(folder / "sub/model.joblib", folder / "latest")
    declare(folder, "sub/model.joblib")
    load_model(folder, OPTIONS)
    declare(folder, "latest")
    load_model(folder, OPTIONS)


def test_hidden_files_are_passed_over(folder: Path) -> None:
    """They aren't unpacked, so there is nothing to hold against a digest."""
    declare(folder, "sub/model.joblib", **{".gitattributes": "0" * 64, ".cache/x": "0" * 64})
    load_model(folder, OPTIONS)


def test_a_link_out_of_the_artifact_is_not_read(folder: Path) -> None:
    """A digest must not tell what is elsewhere on the disk."""
    (folder / "out").symlink_to("/etc/hostname")
    with pytest.raises(LoadError, match="out leads out of the artifact"):
        digests.verify(folder, {"out": "0" * 64}, PurePosixPath("out"))


def test_each_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest of ten thousand names of one big file would take an hour."""
    read: list[Path] = []
    real = digests._sha256

    def reading(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(digests, "_sha256", reading)
    os.link(folder / "weights.bin", folder / "again.bin")
    digest = sha256(folder / "weights.bin")
    more = {"./weights.bin": digest, "././weights.bin": digest}
    declare(folder, "sub/model.joblib", "weights.bin", "again.bin", **more)
    load_model(folder, OPTIONS)
    assert len(read) == 2
