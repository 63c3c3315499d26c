"""Sources: a prefix by way of the real disk tier and a local store, and folders in place."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mms.engine.ports import ArtifactFault, Fetched, StillBroken
from mms.engine.source import FolderSource, PrefixSource, artifact_in_place
from mms.errors import InsufficientStorage, ModelLoadError, ModelNotFound, StoreUnavailable
from mms.metrics import Metrics
from mms.store.disk import DiskCache
from mms.store.local import LocalStore, LocalStream
from mms.types import TargetModel
from tests.engine.world import engine_world
from tests.fleet.world import until
from tests.support.s3 import tar_of

BUDGET = 1 << 20


class Shelf(LocalStore):
    """A local store that counts, can be away, and can be made to wait."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = 0
        self.is_away = False
        self.gate = threading.Event()
        self.gate.set()

    def open(self, target: TargetModel, *, known_etag: str | None, deadline: float) -> LocalStream:
        self.asked += 1
        assert self.gate.wait(20)
        if self.is_away:
            raise StoreUnavailable("away")
        return super().open(target, known_etag=known_etag, deadline=deadline)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "models"
        self.folder.mkdir()
        self.shelf = Shelf(self.folder)
        self.cache = DiskCache(folder / "cache", budget_bytes=BUDGET)
        self.metrics = Metrics(top_models=10)
        opened: asyncio.Future[DiskCache] = asyncio.get_running_loop().create_future()
        opened.set_result(self.cache)
        self.source = PrefixSource(self.shelf, opened, max_fetches=2, metrics=self.metrics)

    def put(self, key: str, size: int = 10) -> None:
        (self.folder / key).write_bytes(tar_of({"m.joblib": b"x" * size}, compression=""))

    async def fetch(self, key: str = "m.tar", known_broken: str | None = None) -> Fetched:
        return await self.source.fetch(
            key, deadline=time.monotonic() + 20, known_broken=known_broken
        )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.source.close()
    made.cache.check_valid()
    made.cache.close()


async def test_an_artifact_comes_from_the_store_and_then_from_the_disk(scene: Scene) -> None:
    """It stays there, held, until it is given back."""
    scene.put("m.tar")
    first = await scene.fetch()
    assert (first.tier, (first.artifact.path / "m.joblib").read_bytes()) == ("store", b"x" * 10)
    first.release()
    again = await scene.fetch()
    assert (again.tier, again.artifact.etag) == ("disk", first.artifact.etag)
    again.release()
    assert scene.cache.shed(1) != []


async def test_a_fetch_that_was_given_up_holds_nothing(scene: Scene) -> None:
    """Its flight is over: the artifact stays on disk and may be evicted."""
    scene.put("m.tar")
    scene.shelf.gate.clear()
    fetching = asyncio.create_task(scene.fetch())
    await until(lambda: scene.shelf.asked)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    scene.shelf.gate.set()
    await until(lambda: scene.cache.shed(1))


async def test_a_broken_artifact_is_named_by_its_etag(scene: Scene) -> None:
    """And the store is not asked for that version again."""
    (scene.folder / "m.tar").write_bytes(b"no archive")
    with pytest.raises(ArtifactFault) as fault:
        await scene.fetch()
    assert fault.value.etag
    with pytest.raises(StillBroken):
        await scene.fetch(known_broken=fault.value.etag)


async def test_a_broken_artifact_is_told_to_everybody(tmp_path: Path) -> None:
    """To all who wait for the flight, and to who comes after it."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "broken.tar.gz").write_bytes(b"no archive at all")
    cache: asyncio.Future[DiskCache] = asyncio.get_running_loop().create_future()
    cache.set_result(DiskCache(tmp_path / "cache", budget_bytes=1 << 20))
    source = PrefixSource(LocalStore(models), cache, max_fetches=2, metrics=Metrics(top_models=10))
    async with engine_world(tmp_path, source=source) as world:
        asking = [world.asking("broken.tar.gz") for _ in range(3)]
        for answer in asking:
            with pytest.raises(ModelLoadError):
                await answer
        with pytest.raises(ModelLoadError):
            await world.ask("broken.tar.gz")
    source.close()
    cache.result().close()


async def test_an_artifact_beyond_the_disk_budget_is_a_507(scene: Scene) -> None:
    scene.put("m.tar", BUDGET + 1)
    with pytest.raises(ArtifactFault) as fault:
        await scene.fetch()
    assert isinstance(fault.value.error, InsufficientStorage)
    assert "MMS_DISK_BUDGET" in fault.value.error.message


async def test_while_the_store_is_away_the_copy_on_disk_is_taken_unasked(scene: Scene) -> None:
    """One request pays for finding out; what isn't on disk is a 503."""
    scene.put("m.tar")
    (await scene.fetch()).release()
    scene.shelf.is_away = True
    asked = scene.shelf.asked
    for _ in range(3):
        fetched = await scene.fetch()
        assert fetched.tier == "disk"
        fetched.release()
    assert scene.shelf.asked == asked + 1
    with pytest.raises(StoreUnavailable):
        await scene.fetch("other.tar")


async def test_a_folder_is_served_in_place_and_its_version_is_its_files(tmp_path: Path) -> None:
    """Nothing is copied; another file is another version."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.joblib").write_bytes(b"one")
    source = FolderSource()
    source.folders["m"] = folder
    fetched = await source.fetch("m", deadline=0, known_broken=None)
    assert fetched.artifact.path == folder
    assert fetched.artifact.unpacked_bytes == 3
    assert artifact_in_place(folder).etag == fetched.artifact.etag
    (folder / "n.joblib").write_bytes(b"two")
    assert artifact_in_place(folder).etag != fetched.artifact.etag


async def test_a_name_nobody_loaded_or_a_folder_that_is_gone_is_not_found(tmp_path: Path) -> None:
    source = FolderSource()
    with pytest.raises(ModelNotFound):
        await source.fetch("m", deadline=0, known_broken=None)
    source.folders["m"] = tmp_path / "gone"
    with pytest.raises(ModelNotFound):
        await source.fetch("m", deadline=0, known_broken=None)


def test_odd_files_of_a_folder_are_no_fault_of_the_server(tmp_path: Path) -> None:
    """Links to nowhere, links in circles, names of any bytes: the loader says what is wrong."""
    (tmp_path / "nowhere").symlink_to("/no/such/file")
    (tmp_path / "circle").symlink_to("circle")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pkl")).write_bytes(b"x")
    assert artifact_in_place(tmp_path).unpacked_bytes > 0


def test_a_folder_that_is_no_artifact_is_not_walked_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller may name any folder, the root of the disk too."""
    monkeypatch.setattr("mms.engine.source.MAX_MEMBERS", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    with pytest.raises(ModelLoadError, match="more than 3 files and folders"):
        artifact_in_place(tmp_path)
