"""Models that need another environment: loaded there, remembered, and never sent in circles."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from mms.errors import ModelLoadError, OtherEnvironment, ServiceUnavailable
from mms.fleet.worker import Worker
from mms.types import Loaded
from tests.engine.fakes import FakeWorker, World, settle


class Choosy(FakeWorker):
    """Sends every load that has environments to choose from to ``sends_to``."""

    sends_to = ""

    def __init__(self, worker_id: int) -> None:
        super().__init__(worker_id)
        self.asked: list[Mapping[str, object]] = []

    async def load(
        self, model_id: int, path: Path, options: Mapping[str, object], *, limit_s: float
    ) -> Loaded:
        self.asked.append(options)
        if self.sends_to:
            raise OtherEnvironment(self.sends_to)
        return await super().load(model_id, path, options, limit_s=limit_s)


class Two(World):
    """A server's own worker and that of an environment."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.old = Choosy(1), Choosy(11)
        self.own.sends_to = "old"
        self.workers = [self.own, self.old]
        self.environments: list[str] = []
        self.engine.flights._limits.options = {"environments": {"old": {}}, "trusted": False}
        self.error: ServiceUnavailable | None = None

    async def for_load(self, deadline: float, environment: str = "") -> Worker:
        self.environments.append(environment)
        if environment and self.error is not None:
            raise self.error
        return cast("Worker", self.old if environment else self.own)


async def test_a_model_is_loaded_where_it_fits() -> None:
    """Fetched once; the second worker is not to look for another place."""
    world = Two()
    assert (await world.invoke("m")).body == b"11"
    assert world.environments == ["", "old"]
    assert world.source.fetched == ["m"]
    assert world.own.asked[0]["environments"] == {"old": {}}
    assert world.old.asked == [{"environments": {}, "trusted": False}]
    world.check()


async def test_a_reload_goes_straight_there() -> None:
    """As long as it is the same artifact."""
    world = Two()
    await world.invoke("m")
    await world.engine.unload("m")
    await world.invoke("m")
    assert world.environments == ["", "old", "old"]
    await world.invoke("other")
    assert world.environments[3:] == ["", "old"]
    world.check()


async def test_what_is_sent_on_from_there_too_is_refused() -> None:
    """An environment that isn't what its folder says must not start a dance."""
    world = Two()
    world.old.sends_to = "third"
    with pytest.raises(ModelLoadError, match="fits no environment") as caught:
        await world.invoke("m")
    assert type(caught.value) is ModelLoadError
    assert world.environments == ["", "old"]
    world.check()


async def test_an_environment_that_does_not_start_is_said_so() -> None:
    world = Two()
    world.error = ServiceUnavailable("environment old doesn't start")
    with pytest.raises(ServiceUnavailable, match="doesn't start"):
        await world.invoke("m")
    world.error = None
    assert (await world.invoke("m")).body == b"11"
    world.check()


async def test_its_workers_death_under_a_load_is_survived() -> None:
    """Once more, in the environment."""
    world = Two()
    world.old.loads.close()
    asked = world.ask("m")
    await settle()
    lost = world.old
    world.old = Choosy(12)
    world.workers.append(world.old)
    world.lose(lost)
    assert (await asked).body == b"12"
    assert world.environments == ["", "old", "old"]
    await asyncio.sleep(0)
    world.check()
