"""Compressed pickles are read as joblib reads them, within bounds."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from loaders.base import LoadError
from loaders.pickles import source
from loaders.pickles.source import open_source
from loaders.pickles.unpickle import load_restricted

_THING: dict[str, Any] = {
    "a": np.arange(100_000),
    "b": ["text"] * 1000,
    "c": np.array([None, "x"], dtype=object),
}


@pytest.mark.parametrize("kind", [None, "zlib", "gzip", "bz2", "xz", "lzma"])
def test_every_compression_of_joblib_is_read(kind: str | None, tmp_path: Path) -> None:
    """What joblib writes, compressed or not, comes back the same."""
    joblib.dump(_THING, tmp_path / "m", compress=(kind, 3) if kind else 0)
    loaded, _ = load_restricted(tmp_path / "m")
    assert np.array_equal(loaded["a"], _THING["a"])
    assert loaded["b"] == _THING["b"]
    assert loaded["c"].tolist() == [None, "x"]


@pytest.mark.parametrize("kind", [None, "zlib", "gzip", "bz2", "xz", "lzma"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_file_is_a_load_error(kind: str | None, share: float, tmp_path: Path) -> None:
    """A truncated download never half loads."""
    joblib.dump(_THING, tmp_path / "m", compress=(kind, 3) if kind else 0)
    os.truncate(tmp_path / "m", int((tmp_path / "m").stat().st_size * share))
    with pytest.raises(LoadError):
        load_restricted(tmp_path / "m")


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to far more than its size is refused on the way."""
    monkeypatch.setattr(source, "FREE_BYTES", 1 << 20)
    joblib.dump([np.zeros(1 << 16) for _ in range(40)], tmp_path / "m", compress=9)
    with pytest.raises(LoadError, match="far more than its size"):
        load_restricted(tmp_path / "m")


def test_lz4_is_refused_by_name(tmp_path: Path) -> None:
    """A compression that isn't supported is named, with the way out."""
    (tmp_path / "m").write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
    with pytest.raises(LoadError, match="compressed with lz4, which isn't supported"):
        load_restricted(tmp_path / "m")


def test_damaged_compression_is_a_load_error(tmp_path: Path) -> None:
    """Flipped bytes in a stream are noticed."""
    data = bytearray(zlib.compress(os.urandom(10_000)))
    data[100:200] = bytes(100)
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(LoadError):
        load_restricted(tmp_path / "m")


def test_reads_are_bounded_by_what_can_be_there(tmp_path: Path) -> None:
    """A length in a file can't make it allocate more than the file holds."""
    (tmp_path / "m").write_bytes(b"x" * 100)
    with open_source(tmp_path / "m") as opened:
        assert opened.read(100) == b"x" * 100
        with pytest.raises(LoadError, match="more bytes than it can hold"):
            opened.read(101)
        with pytest.raises(EOFError):
            opened.readinto(memoryview(bytearray(1)))
