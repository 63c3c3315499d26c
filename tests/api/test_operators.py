from __future__ import annotations

import pytest

from tests.api.fake_backend import FakeBackend
from tests.api.world import running, until


async def test_livez_says_that_the_loop_turns_whatever_else() -> None:
    """Not live in the engine's sense, not ready, draining: the loop still turns."""
    backend = FakeBackend(is_live=False, is_ready=False, is_draining=True)
    async with running(backend) as world:
        assert (await world.ask("GET", "/livez")).status == 200


@pytest.mark.parametrize(
    ("is_live", "is_ready", "is_draining", "status"),
    [
        (True, True, False, 200),
        (True, False, False, 503),
        (False, True, False, 503),
        (True, True, True, 503),
    ],
)
async def test_readyz_says_whether_to_send_requests_here(
    is_live: bool, is_ready: bool, is_draining: bool, status: int
) -> None:
    """Live, ready, not draining."""
    backend = FakeBackend(is_live=is_live, is_ready=is_ready, is_draining=is_draining)
    async with running(backend) as world:
        response = await world.ask("GET", "/readyz")
    assert response.status == status
    assert ("retry-after" in response.headers) == (status == 503)


async def test_metrics_are_what_the_renderer_gives() -> None:
    """With its content type."""
    async with running(FakeBackend()) as world:
        response = await world.ask("GET", "/metrics")
    assert response.body == b"mms_up 1\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4"


async def test_the_root_says_what_this_is_and_names_no_models() -> None:
    """Anybody may ask."""
    backend = FakeBackend(loaded={"secret": ("/secret", None)})
    async with running(backend) as world:
        response = await world.ask("GET", "/")
    assert b"secret" not in response.body
    document = response.json()
    assert document.pop("uptime_s") >= 0
    assert document == {"name": "mms", "version": "1.2.3", "mode": "self"}


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    """The next answer on the connection is in its place."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        head = await client.request("HEAD", "/metrics")
        get = await client.request("GET", "/metrics")
    assert head.headers["content-length"] == get.headers["content-length"] == "9"
    assert (head.body, get.body) == (b"", b"mms_up 1\n")


async def test_every_route_is_observed_under_its_template() -> None:
    """Labels are a fixed, small set; ids are in every answer."""
    backend = FakeBackend(loaded={"m": ("/m", None)})
    paths = ["/ping", "/models", "/models/m", "/livez", "/readyz", "/metrics", "/", "/x"]
    async with running(backend) as world:
        responses = [await world.ask("GET", path, headers={"X-Request-Id": "c"}) for path in paths]
        await until(lambda: len(world.records.seen) == len(paths), "all observed")
    routes = [record.route for record in world.records.seen]
    expected = ["/ping", "/models", "/models/{name}", *paths[3:-1], "other"]
    assert routes == expected
    ids = [response.headers["x-amzn-requestid"] for response in responses]
    assert ids == [record.request_id for record in world.records.seen]
    assert {response.headers["x-request-id"] for response in responses} == {"c"}
    sizes = [len(response.body) for response in responses]
    assert sizes == [record.bytes_out for record in world.records.seen]


async def test_a_handler_that_fails_is_500_in_the_one_format() -> None:
    """Starlette's own error page is never seen."""
    backend = FakeBackend()
    backend.models = None  # type: ignore[assignment,method-assign]
    async with running(backend) as world:
        response = await world.ask("GET", "/models")
    assert (response.status, response.json()["ErrorCode"]) == (500, "InternalFailure")
