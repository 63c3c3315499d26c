"""SageMaker's multi-model container: the platform unpacks, loads, lists, invokes and unloads."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.models import ROW, constant, dumped, weighty
from tests.support.odd_models import Odd, SlowToLoad
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e
TARGET = "X-Amzn-SageMaker-Target-Model"


class Platform:
    """What SageMaker does around the container; unpacked models lie below ``root``."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server = server
        self.root = root

    def unpack(self, name: str, model: object) -> str:
        folder = self.root / name / "model"
        folder.mkdir(parents=True)
        (folder / "model.joblib").write_bytes(dumped(model))
        return str(folder)

    def load(self, name: str, url: str, target: str = "") -> Response:
        body = json.dumps({"model_name": name, "url": url, "other": 1}).encode()
        return self.server.request("POST", "/models", body, {TARGET: target} if target else {})

    def invoke(self, name: str, rows: object, target: str = "") -> Response:
        sent = {"Content-Type": "application/json"} | ({TARGET: target} if target else {})
        path = f"/models/{name}/invoke"
        return self.server.request("POST", path, json.dumps(rows).encode(), sent)

    def unload(self, name: str) -> Response:
        return self.server.request("DELETE", f"/models/{name}")

    def pages(self, query: str) -> list[list[str]]:
        """The names on each page."""
        pages, token = [], ""
        while True:
            page = self.server.get(f"/models?{query}{token}").json()
            pages.append([model["modelName"] for model in page["models"]])
            if "nextPageToken" not in page:
                return pages
            token = f"&next_page_token={page['nextPageToken']}"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with Server(folder, {"SAGEMAKER_MULTI_MODEL": "true", "MMS_TRUST": "all"}) as server:
        assert server.get("/ping").status == 200
        assert server.get("/models").json() == {"models": []}
        yield Platform(server, folder / "models")


def test_a_models_whole_life(platform: Platform) -> None:
    """Load, 409, list, get, invoke by name and by header, unload, 404; nothing written to it."""
    url = platform.unpack("abc123", constant(5.0))
    before = sorted(Path(url).parent.rglob("*"))
    assert platform.load("abc123", url, "us/m.tar.gz").status == 200
    again = platform.load("abc123", url)
    assert (again.status, again.code) == (409, "ModelAlreadyLoaded")
    assert platform.server.get("/models/abc123").json() == {
        "modelName": "abc123",
        "modelUrl": url,
    }
    assert platform.invoke("abc123", ROW).json() == [5.0]
    assert platform.invoke("abc123", ROW, "us/m.tar.gz").json() == [5.0]
    assert platform.invoke("abc123", ROW, "us/other.tar.gz").status == 400
    assert platform.server.invoke("us/m.tar.gz", ROW).json() == [5.0]
    assert platform.server.invoke("abc123", ROW).json() == [5.0]
    assert platform.server.invoke("us/none.tar.gz", ROW).status == 404
    assert platform.unload("abc123").status == 200
    for answer in (
        platform.unload("abc123"),
        platform.invoke("abc123", ROW),
        platform.server.get("/models/abc123"),
    ):
        assert (answer.status, answer.code) == (404, "ModelNotFound")
    assert sorted(Path(url).parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/no/such/folder", 404),
        ("relative/folder", 400),
        ("/tmp/../etc", 400),
        ("/proc/self", 400),
        ("/dev/shm", 400),
        ("s3://bucket/x", 400),
        ("http://x/y", 400),
        ("", 400),
    ],
)
def test_urls_that_are_no_folders_of_models(platform: Platform, url: str, status: int) -> None:
    """A missing folder is 404, what may never be one is 400."""
    assert platform.load("bad", url).status == status
    assert platform.server.get("/models/bad").status == 404


def test_a_second_load_joins_the_first(platform: Platform) -> None:
    """Both get the answer of one load; 409 is only said of a model that serves."""
    url = platform.unpack("slow", SlowToLoad(1.5))
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: platform.load("slow", url), range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert platform.load("slow", url).status == 409
    platform.unload("slow")


def test_paging(platform: Platform) -> None:
    """Every model once, no token on the last full page, a page of a hundred at most."""
    names = [f"page{number:03}" for number in range(250)]
    url = platform.unpack("page", constant(1.0))
    with ThreadPoolExecutor(8) as pool:
        loads = list(pool.map(lambda name: platform.load(name, url), names))
    assert {load.status for load in loads} == {200}
    whole = [100, 100, 50]
    for query, sizes in (("limit=50", [50] * 5), ("", whole), ("limit=5000", whole)):
        pages = platform.pages(query)
        assert [len(page) for page in pages] == sizes
        assert sorted(name for page in pages for name in page) == names
    assert platform.server.get("/models?next_page_token=%00nonsense").status == 400
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(platform.unload, names)} == {200}
    assert platform.server.get("/models").json() == {"models": []}


def test_an_unload_lets_what_runs_finish(platform: Platform) -> None:
    """DELETE answers once the running request has its answer and the memory is back."""
    platform.load("odd", platform.unpack("odd", Odd()))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(platform.invoke, "odd", [[3.0, 0]])
        until(lambda: platform.server.metric("mms_inflight_requests") >= 1, "it runs")
        assert platform.unload("odd").status == 200
        assert running.result().status == 200
    assert platform.invoke("odd", [[0, 0]]).status == 404


def test_a_dead_workers_models_come_back_from_their_folders(platform: Platform) -> None:
    """The platform doesn't notice."""
    url = platform.unpack("steady", constant(8.0))
    assert platform.load("steady", url).status == 200
    for worker in platform.server.workers():
        os.kill(worker.pid, signal.SIGKILL)
    until(lambda: platform.invoke("steady", ROW).status == 200, "it is loaded again")
    assert platform.invoke("steady", ROW).json() == [8.0]
    assert platform.unload("steady").status == 200


def test_a_model_that_does_not_load_is_not_there(platform: Platform) -> None:
    """422 says why, and the name is free for the next attempt."""
    folder = platform.root / "broken" / "model"
    folder.mkdir(parents=True)
    (folder / "model.joblib").write_bytes(b"nonsense")
    answer = platform.load("broken", str(folder))
    assert (answer.status, answer.code) == (422, "ModelLoadError")
    assert platform.server.get("/models/broken").status == 404
    (folder / "model.joblib").write_bytes(dumped(constant(2.0)))
    assert platform.load("broken", str(folder)).status == 200
    platform.unload("broken")


def test_a_full_memory_is_a_507_and_evicts_nothing(tmp_path: Path) -> None:
    """The platform decides who goes; after its DELETEs the load works."""
    size = 48 << 20
    budget = 700 << 20
    settings = {"SAGEMAKER_MULTI_MODEL": "true", "MMS_MEMORY_BUDGET": str(budget)}
    with Server(tmp_path, settings) as server:
        platform = Platform(server, tmp_path / "models")
        url = platform.unpack("heavy", weighty(3.0, size))
        loaded: list[str] = []
        for number in range(20):
            answer = platform.load(f"heavy{number}", url)
            if answer.status != 200:
                break
            loaded.append(f"heavy{number}")
        assert (answer.status, answer.code) == (507, "InsufficientStorage")
        assert len(loaded) >= 2
        assert {platform.invoke(name, ROW).status for name in loaded} == {200}
        for name in loaded[:3]:  # as the platform does: unload one, and try again
            assert platform.unload(name).status == 200
            answer = platform.load("late", url)
            if answer.status == 200:
                break
        assert answer.status == 200, answer
        assert platform.invoke("late", ROW).json() == [3.0]
