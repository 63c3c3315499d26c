"""Hostile archives, unpacked in process: refused for what they are, nothing outside, no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from mms.errors import ModelLoadError
from mms.store.archive import unpack
from mms.store.limits import Limits
from tests.hostile import archives
from tests.hostile.sample import Canary, by_name
from tests.store.streams import BytesStream

SAMPLES = by_name(archives.samples())
HARMLESS = archives.harmless()


def _load(body: bytes, name: str, folder: Path) -> None:
    folder.mkdir()
    unpack(BytesStream(body), name, folder, Limits())
    load_model(folder, LoadOptions())


def _assert_tame(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert path.is_dir() or path.is_file()
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_hostile_archive_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """It says what is wrong; nothing is outside; what is inside are plain files of ours."""
    canary = Canary(tmp_path / "canary")
    sample = SAMPLES[name]
    body = sample.make(str(canary.folder))
    with pytest.raises((ModelLoadError, LoadError)) as caught:
        _load(body, "m" + sample.suffix, tmp_path / "inside")
    message = str(getattr(caught.value, "message", caught.value))
    assert sample.says in message
    assert len(message) < 600
    canary.assert_silent()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "inside"]
    _assert_tame(tmp_path / "inside")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_odd_is_made_tame(name: str, tmp_path: Path) -> None:
    """Names are bytes like any others, modes and owners are ours: the model is served."""
    _load(HARMLESS[name], "m.tar", tmp_path / "inside")
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    _assert_tame(tmp_path / "inside")


def test_an_archive_cut_at_any_block_is_refused(tmp_path: Path) -> None:
    """No cut passes for a whole archive, and each is told from other faults."""
    for number, body in enumerate(archives.swept()):
        with pytest.raises(ModelLoadError, match=r"truncated|not an archive"):
            _load(body, "m.tar", tmp_path / str(number))
