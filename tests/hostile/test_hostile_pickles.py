"""Hostile pickles, in process: each is refused for what it is, and nothing of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from loaders.sklearn.joblib import JoblibLoader
from mms.errors import ModelLoadError
from mms.store.archive import unpack
from mms.store.limits import Limits
from tests.hostile import bombs, machinery, models, names
from tests.hostile.bounded import Bounded
from tests.hostile.sample import Canary, Sample, by_name
from tests.store.streams import BytesStream

GADGETS = by_name([*names.samples(), *names.old_calls(), *machinery.samples(), *models.samples()])
BOMBS = by_name(bombs.samples())
MEMORY = 700 << 20


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    made = Canary(tmp_path / "canary")
    before = psutil.Process().children(recursive=True)
    yield made
    made.assert_silent()
    assert psutil.Process().children(recursive=True) == before, "it started a process"


def _load(sample: Sample, canary: Canary, folder: Path) -> None:
    """As the server does it: the name's ending says how it is unpacked."""
    folder.mkdir()
    body = sample.make(str(canary.folder))
    unpack(BytesStream(body), "model" + sample.suffix, folder, Limits())
    load_model(folder, LoadOptions())


@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_is_refused_and_runs_nothing(name: str, canary: Canary, tmp_path: Path) -> None:
    """No pickle does anything but make models, however it is packed."""
    sample = GADGETS[name]
    with pytest.raises((LoadError, ModelLoadError)) as caught:
        _load(sample, canary, tmp_path / "inside")
    message = str(caught.value)
    assert sample.says in message
    assert len(message) < 600
    assert str(tmp_path) not in message.replace(str(canary.folder), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "inside"]


@pytest.fixture(scope="module")
def bounded() -> Iterator[Bounded]:
    with Bounded() as made:
        yield made


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(
    name: str, bounded: Bounded, canary: Canary, tmp_path: Path
) -> None:
    """In bounded memory and time: a few bytes never take gigabytes, or for ever."""
    sample = BOMBS[name]
    file = tmp_path / "bomb"
    file.write_bytes(sample.make(str(canary.folder)))
    told = bounded.load("model" + sample.suffix, file)
    assert "refused" in told, told
    assert sample.says in told["refused"], told
    assert told["peak"] < MEMORY, told


def test_the_canary_would_sing(canary: Canary, tmp_path: Path) -> None:
    """The samples are real: the full unpickler runs them."""
    file = tmp_path / "model.pkl"
    file.write_bytes(GADGETS["process os:system"].make(str(canary.folder)))
    with pytest.raises(LoadError):
        JoblibLoader().load(file, LoadOptions(trusted=True))
    assert (canary.folder / "ran").exists()
    (canary.folder / "ran").unlink()
    canary.assert_silent()
