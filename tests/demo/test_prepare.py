from __future__ import annotations

import json
import os
import shutil
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from mms.demo.prepare import Training, is_ready, last_line, stamp
from mms.demo.problem import DemoError
from mms.demo.sample import read_samples

if TYPE_CHECKING:
    from pathlib import Path


def test_a_finished_folder_is_used_again(models: Path) -> None:
    """The second start trains nothing."""
    assert is_ready(models, stamp())


def test_another_library_or_catalogue_trains_anew(models: Path) -> None:
    """What made the models is part of what they are."""
    assert not is_ready(models, stamp() | {"scikit-learn": "0.0"})
    assert not is_ready(models, stamp() | {"catalogue": "other"})


def test_a_spoilt_folder_trains_anew(models: Path, tmp_path: Path) -> None:
    """Absent, without a stamp, or with an artifact removed: none of these is ready."""
    assert not is_ready(tmp_path / "absent", stamp())
    copy = tmp_path / "models"
    shutil.copytree(models, copy)
    (copy / read_samples(copy)[0].target).unlink()
    assert not is_ready(copy, stamp())
    (copy / "stamp.json").write_text("{")
    assert not is_ready(copy, stamp())


def test_training_cut_short_leaves_no_folder(tmp_path: Path) -> None:
    """Half of the models are not taken for all of them at the next start."""
    folder = tmp_path / "models"
    with Training(folder, stamp()) as training:
        next(iter(training.progress()))
    assert not folder.exists()


def test_training_that_fails_says_why_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of its log, and where the rest is."""
    (tmp_path / "shadow" / "sklearn").mkdir(parents=True)
    (tmp_path / "shadow" / "sklearn" / "__init__.py").write_text("raise OSError('disk on fire')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"), prepend=os.pathsep)
    with (
        Training(tmp_path / "models", stamp()) as training,
        pytest.raises(DemoError, match=r"OSError: disk on fire .*training\.log"),
    ):
        list(training.progress())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installed the server without the demo's extra learns what to install."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("mms.demo.prepare.metadata.version", missing)
    with pytest.raises(DemoError, match="scikit-learn is missing"):
        stamp()


def test_the_stamp_is_plain_json() -> None:
    """It is compared after a round trip through its file."""
    assert json.loads(json.dumps(stamp())) == stamp()


def test_the_last_line_is_the_last_with_words(tmp_path: Path) -> None:
    """Blank lines at the end say nothing, and neither does an empty log."""
    log = tmp_path / "log"
    log.write_text("first\nwhy it failed\n\n  \n")
    assert last_line(log) == "why it failed"
    log.write_text("")
    assert last_line(log) == "it said nothing"
