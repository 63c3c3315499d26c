"""The platform's names: what it loads and unloads at once, or again before it is done."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mms.engine.backends import PlatformBackend, PrefixBackend
from mms.engine.source import FolderSource
from mms.errors import ModelNotReady
from mms.types import Invocation
from tests.engine.world import engine_world
from tests.fleet.world import until


def folder_of(tmp_path: Path, name: str, what: str) -> str:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "model").write_text(what, encoding="utf-8")
    return str(folder)


async def ask(platform: PlatformBackend, spec: str) -> bytes:
    invocation = Invocation(spec=spec.encode(), body=b"")
    answer = await platform.invoke(
        platform.resolve_name("m", None), invocation, deadline=time.monotonic() + 20
    )
    return answer.body


async def test_a_name_that_still_leaves_may_be_loaded_anew(tmp_path: Path) -> None:
    """From where the platform says now, and it stays when the old one has gone."""
    old, new = folder_of(tmp_path, "old", "ok Old"), folder_of(tmp_path, "new", "ok New")
    source = FolderSource()
    async with engine_world(tmp_path, source=source) as world:
        platform = PlatformBackend(world.engine, has_worker=lambda: True, source=source, load_s=20)
        await platform.load("m", old, None)
        answering = asyncio.create_task(ask(platform, "sleep 0.5"))
        await until(lambda: world.fleet.workers[0].inflight)
        unloading = asyncio.create_task(platform.unload("m"))
        await until(lambda: world.engine.departures.under_way)
        await platform.load("m", new, None)
        assert await answering == b"slept"
        await unloading
        assert [model.url for model in platform.models()] == [new]
        assert await ask(platform, "name") == b"New"


async def test_a_load_that_outlasts_who_asked_for_it_is_known(tmp_path: Path) -> None:
    """The platform can see and unload what takes memory."""
    slow = folder_of(tmp_path, "slow", "sleep 0.5")
    source = FolderSource()
    async with engine_world(tmp_path, source=source) as world:
        platform = PlatformBackend(world.engine, has_worker=lambda: True, source=source, load_s=0.1)
        with pytest.raises(ModelNotReady):
            await platform.load("m", slow, None)
        await until(platform.models)
        await platform.unload("m")
        assert world.engine.registry.resident_bytes == 0


@pytest.mark.parametrize(
    ("store", "url"),
    [("/srv/models", "/srv/models/m.pkl"), ("s3://bucket/prod/", "s3://bucket/prod/m.pkl")],
)
async def test_a_listed_model_says_where_it_lies(store: str, url: str, tmp_path: Path) -> None:
    """Whether the store's own name ends with a slash, as a prefix does, or not, as a folder."""
    async with engine_world(tmp_path) as world:
        backend = PrefixBackend(world.engine, has_worker=lambda: True, store_id=store, load_s=20)
        await backend.load(world.model("m.pkl"), None, None)
        assert [model.url for model in backend.models()] == [url]
        assert backend.model("m.pkl").url == url
