from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mms.api.ports import Mode
from mms.errors import InsufficientStorage, ModelLoadError
from tests.api.fake_backend import FakeBackend
from tests.api.world import OPTIONS, TARGET, running, until


def load_body(name: str, url: str = "/opt/ml/models/x/model") -> bytes:
    return json.dumps({"model_name": name, "url": url}).encode()


async def test_ping_is_200_and_empty_without_any_model() -> None:
    """The platform asks before it loads anything."""
    async with running(FakeBackend(mode="multi")) as world:
        response = await world.ask("GET", "/ping")
        models = await world.ask("GET", "/models")
    assert (response.status, response.body) == (200, b"")
    assert models.json() == {"models": []}


@pytest.mark.parametrize(
    ("mode", "is_live", "is_ready", "is_draining", "status"),
    [
        ("self", True, False, False, 200),
        ("multi", True, False, False, 200),
        ("single", True, False, False, 503),
        ("single", True, True, False, 200),
        ("self", False, True, False, 503),
        ("self", True, True, True, 503),
        ("single", True, True, True, 503),
    ],
)
async def test_ping_depends_on_models_only_where_there_is_one(
    mode: Mode, is_live: bool, is_ready: bool, is_draining: bool, status: int
) -> None:
    """Live and not draining; in the single-model way also loaded."""
    backend = FakeBackend(mode=mode, is_live=is_live, is_ready=is_ready, is_draining=is_draining)
    async with running(backend) as world:
        assert (await world.ask("GET", "/ping")).status == status


async def test_a_model_is_loaded_shown_invoked_and_unloaded() -> None:
    """The five calls of the platform, with its shapes."""
    backend = FakeBackend(mode="multi")
    async with running(backend) as world:
        loaded = await world.ask("POST", "/models", load_body("h1"))
        again = await world.ask("POST", "/models", load_body("h1"))
        listed = await world.ask("GET", "/models")
        shown = await world.ask("GET", "/models/h1")
        invoked = await world.ask("POST", "/models/h1/invoke", b"[2]")
        unloaded = await world.ask("DELETE", "/models/h1")
        gone = [
            await world.ask("GET", "/models/h1"),
            await world.ask("DELETE", "/models/h1"),
            await world.ask("POST", "/models/h1/invoke", b"[2]"),
        ]
    assert (loaded.status, loaded.json()) == (200, {"status": 'Model "h1" loaded'})
    assert (again.status, again.json()["ErrorCode"]) == (409, "ModelAlreadyLoaded")
    model = {"modelName": "h1", "modelUrl": "/opt/ml/models/x/model"}
    assert listed.json() == {"models": [model]}
    assert shown.json() == model
    assert (invoked.status, invoked.body) == (200, b"[2]")
    assert (unloaded.status, unloaded.json()) == (200, {"status": 'Model "h1" unloaded'})
    assert [response.status for response in gone] == [404, 404, 404]
    assert {response.json()["ErrorCode"] for response in gone} == {"ModelNotFound"}


async def test_names_in_urls_are_percent_encoded_once() -> None:
    """%2F is a slash in the name; %252F is not."""
    backend = FakeBackend()
    async with running(backend) as world:
        await world.ask("POST", "/models", load_body("a/b c.tar.gz"))
        await world.ask("POST", "/models", load_body("a%2Fb"))
        first = await world.ask("GET", "/models/a%2Fb%20c.tar.gz")
        second = await world.ask("GET", "/models/a%252Fb")
        raw = await world.ask("DELETE", "/models/a/b%20c.tar.gz")
    assert first.json()["modelName"] == "a/b c.tar.gz"
    assert second.json()["modelName"] == "a%2Fb"
    assert raw.status == 200
    assert set(backend.loaded) == {"a%2Fb"}


async def test_the_target_header_of_a_load_is_kept() -> None:
    """It is what a later invoke is compared with; a malformed one is refused."""
    backend = FakeBackend(mode="multi")
    async with running(backend) as world:
        await world.ask("POST", "/models", load_body("h1"), {TARGET: "a/m.tar.gz"})
        refused = await world.ask("POST", "/models", load_body("h2"), {TARGET: "../m"})
    assert backend.loaded == {"h1": ("/opt/ml/models/x/model", "a/m.tar.gz")}
    assert refused.status == 400


@pytest.mark.parametrize(
    ("error", "status"), [(InsufficientStorage("no"), 507), (ModelLoadError("no"), 422)]
)
async def test_a_load_that_fails_has_the_containers_status(error: Exception, status: int) -> None:
    """507 makes the platform unload others and try again."""
    async with running(FakeBackend(mode="multi", errors={"h": error})) as world:
        assert (await world.ask("POST", "/models", load_body("h"))).status == status


async def test_the_single_model_way_loads_and_unloads_nothing() -> None:
    """POST is 400."""
    async with running(FakeBackend(mode="single")) as world:
        response = await world.ask("POST", "/models", load_body("h"))
    assert (response.status, response.json()["ErrorCode"]) == (400, "ValidationError")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"x" * 65_537, 413), (load_body("h", "s3://b/k"), 400)],
)
async def test_a_load_that_asks_for_nothing_sensible_is_refused(body: bytes, status: int) -> None:
    """Bounded at 64 KiB, JSON, and a local folder."""
    backend = FakeBackend(mode="multi")
    async with running(backend) as world:
        assert (await world.ask("POST", "/models", body)).status == status
    assert backend.loaded == {}


async def test_a_load_that_comes_encoded_is_refused() -> None:
    """Never read as if it weren't."""
    async with running(FakeBackend(mode="multi")) as world:
        headers = {"Content-Encoding": "gzip"}
        response = await world.ask("POST", "/models", load_body("h1"), headers)
    assert (response.status, response.json()["ErrorCode"]) == (415, "UnsupportedMediaType")


async def test_a_load_whose_body_does_not_arrive_is_408() -> None:
    """Slow clients are bounded here too."""
    async with running(FakeBackend(), replace(OPTIONS, request_timeout_s=0.05)) as world:
        client = await world.connect()
        await client.send(b"POST /models HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
        response = await client.response()
    assert (response.status, response.json()["ErrorCode"]) == (408, "RequestTimeout")


async def test_pages_are_linked_by_tokens() -> None:
    """limit and next_page_token; models_page_size is the same; other keys are ignored."""
    backend = FakeBackend(loaded={name: ("/" + name, None) for name in "dacb"})
    async with running(backend) as world:
        first = (await world.ask("GET", "/models?limit=2&more=1")).json()
        token = first["nextPageToken"]
        second = (await world.ask("GET", f"/models?limit=2&next_page_token={token}")).json()
        alias = (await world.ask("GET", "/models?models_page_size=3")).json()
        whole = (await world.ask("GET", "/models?next_page_token=")).json()
        refused = await world.ask("GET", "/models?next_page_token=2")
    assert [model["modelName"] for model in first["models"]] == ["a", "b"]
    assert [model["modelName"] for model in second["models"]] == ["c", "d"]
    assert "nextPageToken" not in second
    assert len(alias["models"]) == 3
    assert len(whole["models"]) == 4
    assert refused.status == 400


async def test_execution_parameters_follow_the_settings() -> None:
    """What a batch transform job asks for."""
    options = replace(OPTIONS, max_body=20 * 2**20, max_concurrent_transforms=4)
    async with running(FakeBackend(), options) as world:
        document = (await world.ask("GET", "/execution-parameters")).json()
    assert document == {
        "MaxConcurrentTransforms": 4,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 20,
    }


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/ping", "GET, HEAD"),
        ("PUT", "/models", "GET, HEAD, POST"),
        ("POST", "/models/m", "DELETE, GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_are_right(
    method: str, path: str, allow: str
) -> None:
    """In the format of every other error."""
    async with running(FakeBackend()) as world:
        response = await world.ask(method, path)
    assert (response.status, response.headers["allow"]) == (405, allow)
    assert response.json()["ErrorCode"] == "MethodNotAllowed"
    assert response.json()["RequestId"] == response.headers["x-amzn-requestid"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/models/", "/models//invoke", "/models%2Fm", "/ping/", "//ping",
        "/endpoints/e/async-invocations", "/endpoints//invocations", "/endpoints/a/b/invocations",
    ],
)  # fmt: skip
async def test_an_unknown_route_is_404(path: str) -> None:
    """NotFound, which is not ModelNotFound; observed under one label."""
    async with running(FakeBackend()) as world:
        response = await world.ask("GET", path)
        await until(lambda: len(world.records.seen) == 1, "observed")
    assert (response.status, response.json()["ErrorCode"]) == (404, "NotFound")
    assert world.records.seen[0].route in {"other", "/models/{name}"}
