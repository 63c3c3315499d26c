from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.api.fake_backend import FakeBackend


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server runs on uvloop, whose transports are not asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["long way", "short way"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request must be answered alike by a task and without one."""
    monkeypatch.setattr(FakeBackend, "is_resident", request.param == "short way")
