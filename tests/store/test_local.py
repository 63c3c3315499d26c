"""A local folder as a store."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mms.errors import ModelNotFound, StoreUnavailable, ValidationError
from mms.store.base import NotModified
from mms.store.local import LocalStore
from mms.types import TargetModel

if TYPE_CHECKING:
    from pathlib import Path


def opened(root: Path, target: str, known_etag: str | None = None) -> tuple[bytes, str]:
    stream = LocalStore(root).open(
        TargetModel(target), known_etag=known_etag, deadline=time.monotonic() + 10
    )
    try:
        return stream.read(), stream.etag
    finally:
        stream.close()


def test_a_file_is_read_and_known_again(tmp_path: Path) -> None:
    """The same version isn't read twice, another one is."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/m.onnx").write_bytes(b"one")
    body, etag = opened(tmp_path, "a/m.onnx")
    assert body == b"one"
    with pytest.raises(NotModified):
        opened(tmp_path, "a/m.onnx", etag)
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(tmp_path / "a/m.onnx")
    assert opened(tmp_path, "a/m.onnx", etag)[0] == b"two"


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A link inside the folder is followed, one that leaves it is not found; so is ``..``."""
    (root := tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2/x").write_bytes(b"s")
    (root / "m").write_bytes(b"m")
    (root / "inside").symlink_to("m")
    (root / "file").symlink_to("../secret")
    (root / "folder").symlink_to("..")
    (root / "sibling").symlink_to("../root-2")
    assert opened(root, "inside")[0] == b"m"
    for name in ("file", "folder/secret", "sibling/x", "../secret", str(tmp_path / "secret")):
        with pytest.raises(ModelNotFound):
            opened(root, name)
    (tmp_path / "link").symlink_to("root")
    assert opened(tmp_path / "link", "m")[0] == b"m"


@pytest.mark.parametrize(
    "name", ["nothing", "folder", "pipe", "file/x", "file/", "a\0b", "x" * 300]
)
def test_only_files_are_models(name: str, tmp_path: Path) -> None:
    """What is missing, a folder, a pipe or no name at all is not found, without waiting."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelNotFound):
        opened(tmp_path, name)


def test_a_change_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """A file written in place under the reader is the store's fault, and can be tried again."""
    path = tmp_path / "m"
    path.write_bytes(b"x" * 1000)
    store = LocalStore(tmp_path)
    stream = store.open(TargetModel("m"), known_etag=None, deadline=time.monotonic() + 10)
    assert stream.read(10) == b"x" * 10
    os.truncate(path, 5)
    with pytest.raises(StoreUnavailable, match="changed"):
        stream.read()
    stream.close()
    stream.close()


def test_time_is_over_for_a_folder_too(tmp_path: Path) -> None:
    """The deadline covers reading."""
    (tmp_path / "m").write_bytes(b"x")
    store = LocalStore(tmp_path)
    stream = store.open(TargetModel("m"), known_etag=None, deadline=time.monotonic() - 1)
    with pytest.raises(StoreUnavailable, match="too slow"):
        stream.read()
    stream.close()


def test_closing_the_store_ends_what_is_being_read(tmp_path: Path) -> None:
    """A large artifact that is half read doesn't hold up the end of the process."""
    (tmp_path / "m").write_bytes(b"xy")
    store = LocalStore(tmp_path)
    stream = store.open(TargetModel("m"), known_etag=None, deadline=time.monotonic() + 100)
    assert stream.read(1) == b"x"
    store.close()
    with pytest.raises(StoreUnavailable, match="is over"):
        stream.read(1)
    stream.close()


def test_requests_are_counted(tmp_path: Path) -> None:
    """What was asked and read can be told."""
    (tmp_path / "m").write_bytes(b"12345")
    store = LocalStore(tmp_path)
    stream = store.open(TargetModel("m"), known_etag=None, deadline=time.monotonic() + 10)
    stream.read()
    stream.close()
    with pytest.raises(ModelNotFound):
        store.open(TargetModel("n"), known_etag=None, deadline=time.monotonic() + 10)
    stats = store.stats()
    assert stats.requests == {("get", "ok"): 1, ("get", "not_found"): 1}
    assert stats.bytes == 5
    store.close()


def test_the_check_wants_a_folder(tmp_path: Path) -> None:
    """A root that isn't there stops the start and is named."""
    LocalStore(tmp_path).check()
    (tmp_path / "file").touch()
    for root in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(ValidationError, match=root.name):
            LocalStore(root).check()
