from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest

from mms.api.client_watch import ClientWatch
from mms.api.exchange import Exchange
from mms.api.ports import RequestRecord
from mms.errors import ModelError, Overloaded
from mms.types import Answer
from tests.api.fake_backend import FakeBackend
from tests.api.raw_client import request_bytes
from tests.api.world import OPTIONS, TARGET, World, running, until

pytestmark = pytest.mark.usefixtures("both_ways")

SMALL = replace(OPTIONS, max_body=1000)


async def test_an_invocation_reaches_the_model_and_its_answer_comes_back_with_all_headers() -> None:
    """The body goes through as it came; the answer says who, where and how long."""
    backend = FakeBackend(
        answer=Answer(
            body=b'{"predictions": [1]}',
            content_type=b"application/json",
            tier="store",
            version="9f8e",
            queue_s=0.001,
            fetch_s=0.25,
            load_s=0.5,
            predict_s=0.002,
        )
    )
    async with running(backend) as world:
        response = await world.ask(
            "POST",
            "/invocations",
            b'{"instances": [[1]]}',
            {TARGET: "team a/m1.tar.gz", "X-Request-Id": "caller-7", "Content-Type": "text/csv"},
        )
    assert (response.status, response.body) == (200, b'{"predictions": [1]}')
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-mms-tier"] == "store"
    assert response.headers["x-mms-model-version"] == "9f8e"
    assert response.headers["x-request-id"] == "caller-7"
    assert response.headers["server-timing"] == (
        "queue;dur=1.000, fetch;dur=250.000, load;dur=500.000, predict;dur=2.000"
    )
    assert len(response.headers["x-amzn-requestid"]) > 10
    assert "x-amzn-sagemaker-custom-attributes" not in response.headers
    assert backend.started == ["team a/m1.tar.gz"]
    assert backend.invocations[0].body == b'{"instances": [[1]]}'
    assert backend.inflight == 0


async def test_request_ids_differ_and_the_record_carries_them() -> None:
    """Each request has its own id, which is also the one that is observed."""
    async with running(FakeBackend()) as world:
        first, second = await world.invoke("m"), await world.invoke("m")
        await until(lambda: len(world.records.seen) == 2, "both observed")
    ids = [r.headers["x-amzn-requestid"] for r in (first, second)]
    assert ids == [record.request_id for record in world.records.seen]
    assert len(set(ids)) == 2
    record = world.records.seen[0]
    assert (record.route, record.model, record.status) == ("/invocations", "m", 200)
    assert (record.bytes_in, record.bytes_out, record.client) == (3, 3, "127.0.0.1")


async def test_an_answered_request_leaves_nothing_to_the_garbage_collector() -> None:
    """Its task, body and answer go at once; collections of what cycles held stall the loop."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await client.request("POST", "/invocations", b"[1]", {TARGET: "m"})
            held = [o for o in gc.get_objects() if type(o) in {ClientWatch, RequestRecord}]
        finally:
            gc.enable()
        records = set(map(id, world.records.seen))
    assert len([o for o in held if id(o) not in records]) <= 2  # the last one's


async def test_a_refused_request_leaves_nothing_for_the_garbage_collector_either() -> None:
    """Bodies that no model can read would pile up, beyond MMS_MAX_INFLIGHT_BYTES."""

    class Refusing(FakeBackend):
        async def invoke(self, *_: object, **__: object) -> Answer:
            raise ModelError("never again")

    async with running(Refusing()) as world:
        client = await world.connect()
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await client.request("POST", "/invocations", b"x" * 500_000, {TARGET: "m"})
            held = [o for o in gc.get_objects() if type(o) is Exchange]
        finally:
            gc.enable()
    assert len(held) <= 2  # the last one's


@pytest.mark.parametrize("caller_id", ["x" * 129, "with blank", "tab\there"])
async def test_a_caller_id_that_is_unfit_is_not_echoed(caller_id: str) -> None:
    """Bounded and printable, or ignored."""
    async with running(FakeBackend()) as world:
        response = await world.ask(
            "POST", "/invocations", b"1", {TARGET: "m", "X-Request-Id": caller_id}
        )
    assert response.status == 200
    assert "x-request-id" not in response.headers


async def test_attributes_are_echoed_only_when_set() -> None:
    """MMS_ECHO_ATTRIBUTES puts version and tier where SageMaker lets them pass."""
    async with running(FakeBackend(), replace(OPTIONS, echo_attributes=True)) as world:
        response = await world.invoke("m")
    attributes = response.headers["x-amzn-sagemaker-custom-attributes"]
    assert attributes == "mms-version=abc123;mms-tier=memory"


@pytest.mark.parametrize("path", ["/invocations", "/models/m/invoke", "/endpoints/any/invocations"])
async def test_a_gzip_body_goes_on_as_it_came_and_the_spec_says_so(path: str) -> None:
    """On every route; with what it may unpack to."""
    backend = FakeBackend(loaded={"m": ("/m", None)})
    async with running(backend, replace(OPTIONS, max_body=1000)) as world:
        headers = {TARGET: "m", "Content-Encoding": "gzip"}
        answer = await world.ask("POST", path, b"\x1f\x8b", headers)
    assert (answer.status, answer.body) == (200, b"\x1f\x8b")
    assert [i.spec for i in backend.invocations] == [b"|application/json||gzip to 1000"]


async def test_the_spec_is_made_of_the_headers() -> None:
    """Content type, accept and attributes go into the spec; absent ones are absent."""
    backend = FakeBackend()
    async with running(backend) as world:
        headers = {TARGET: "m", "Content-Type": "text/csv", "Accept": "text/csv"}
        attributes = {"X-Amzn-SageMaker-Custom-Attributes": "method=predict_proba"}
        await world.ask("POST", "/invocations", b"1", headers | attributes)
        await world.invoke("m")
    specs = [invocation.spec for invocation in backend.invocations]
    assert specs == [b"text/csv|text/csv|method=predict_proba", b"|application/json|"]


@pytest.mark.parametrize(
    ("headers", "status", "code", "word"),
    [
        ({}, 400, "ValidationError", "target"),
        ({TARGET: "../secret"}, 400, "ValidationError", ".."),
        ({TARGET: "a/.DS_Store"}, 404, "ModelNotFound", "hidden"),
        ({TARGET: "m", "Content-Type": "image/png"}, 415, "UnsupportedMediaType", "JSON"),
        ({TARGET: "m", "Content-Encoding": "br"}, 415, "UnsupportedMediaType", "gzip"),
        ({TARGET: "m", "Accept": "image/png"}, 406, "NotAcceptable", "JSON"),
        ({TARGET: "m", "Accept": "x" * 1025}, 400, "ValidationError", "accept"),
    ],
)
async def test_a_wrong_header_is_refused_by_name(
    headers: dict[str, str], status: int, code: str, word: str
) -> None:
    """What is wrong with the headers is said before a permit is taken."""
    backend = FakeBackend()
    async with running(backend) as world:
        response = await world.ask("POST", "/invocations", b"[1]", headers)
    problem = response.json()
    assert (response.status, problem["ErrorCode"]) == (status, code)
    assert word in problem["Message"]
    assert problem["RequestId"] == response.headers["x-amzn-requestid"]
    assert response.headers["x-amzn-errortype"] == code
    assert (backend.started, backend.peak_bytes) == ([], 0)


async def test_two_target_headers_are_refused() -> None:
    """A request that names two models is refused, even if they are equal."""
    backend = FakeBackend()
    async with running(backend) as world:
        client = await world.connect()
        await client.send(
            b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\n"
            b"X-Amzn-SageMaker-Target-Model: a\r\nX-Amzn-SageMaker-Target-Model: a\r\n\r\n1"
        )
        response = await client.response()
    assert response.status == 400
    assert "more than once" in response.json()["Message"]
    assert backend.started == []


async def test_blanks_around_a_header_value_are_not_part_of_the_target() -> None:
    """Optional white space belongs to HTTP, not to the name."""
    backend = FakeBackend()
    async with running(backend) as world:
        await world.invoke(" \t m.tar.gz \t")
    assert backend.started == ["m.tar.gz"]


async def test_utf8_header_bytes_name_the_model() -> None:
    """Header bytes are UTF-8, and percent signs mean themselves."""
    backend = FakeBackend()
    async with running(backend) as world:
        await world.invoke("modèle/é%2F.tar.gz")
    assert backend.started == ["modèle/é%2F.tar.gz"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/invocations", "/models/m/invoke", "/endpoints/demo/invocations"]
)
async def test_another_method_is_405_and_says_post(method: str, path: str) -> None:
    """Invocations are sent with POST only."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        response = await client.request(method, path)
    assert response.status == 405
    assert response.headers["allow"] == "POST"


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent() -> None:
    """413 without a 100 Continue, without reading, and the connection is closed."""
    backend = FakeBackend()
    async with running(backend, SMALL) as world:
        client = await world.connect()
        await client.send(
            b"POST /invocations HTTP/1.1\r\nX-Amzn-SageMaker-Target-Model: m\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        )
        response = await client.response()
        assert (response.status, response.json()["ErrorCode"]) == (413, "PayloadTooLarge")
        assert response.headers["connection"] == "close"
        assert await client.at_end()
    assert backend.peak_bytes == 0


async def test_a_client_that_waits_is_told_to_continue() -> None:
    """Expect: 100-continue is answered once the request is admitted."""
    async with running(FakeBackend()) as world:
        client = await world.connect()
        await client.send(
            b"POST /invocations HTTP/1.1\r\nX-Amzn-SageMaker-Target-Model: m\r\n"
            b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert (await client.response()).status == 100
        await client.send(b"[1]")
        assert (await client.response()).body == b"[1]"


async def test_a_chunked_body_is_counted_as_it_comes() -> None:
    """Bytes are admitted chunk by chunk, and given back."""
    backend = FakeBackend()
    async with running(backend, SMALL) as world:
        response = await chunked(world, [b"[1", b",2]"])
        assert response == (200, b"[1,2]")
        assert backend.peak_bytes == 5
        status, body = await chunked(world, [b"x" * 600, b"x" * 600])
        assert (status, b"PayloadTooLarge" in body) == (413, True)
        backend.max_bytes = 100
        status, body = await chunked(world, [b"x" * 600])
        assert (status, b"in flight" in body) == (503, True)
        await until(lambda: backend.inflight == 0, "all permits released")
    assert backend.inflight_bytes == 0


async def chunked(world: World, chunks: list[bytes]) -> tuple[int, bytes]:
    client = await world.connect()
    await client.send(
        b"POST /invocations HTTP/1.1\r\nX-Amzn-SageMaker-Target-Model: m\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for chunk in chunks:
        await client.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    await client.send(b"0\r\n\r\n")
    response = await client.response()
    return response.status, response.body


async def test_a_body_that_does_not_arrive_in_time_is_408() -> None:
    """The deadline counts from the request's arrival and covers the body."""
    backend = FakeBackend()
    async with running(backend, replace(OPTIONS, request_timeout_s=0.1)) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"1234", {TARGET: "m"})[:-1])
        response = await client.response()
        assert (response.status, response.json()["ErrorCode"]) == (408, "RequestTimeout")
        assert response.headers["connection"] == "close"
        assert await client.at_end()
    assert (backend.started, backend.inflight) == ([], 0)


async def test_a_slow_body_within_the_deadline_is_served_and_its_client_still_watched() -> None:
    """A body that outlasts the first look is read on; then a disconnect is noticed as ever."""
    backend = FakeBackend(slow={"m": asyncio.Event()})
    async with running(backend) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"1234", {TARGET: "m"})[:-1])
        await asyncio.sleep(0.15)  # longer than the watch's patience
        await client.send(b"4")
        await until(lambda: backend.started == ["m"], "invoked")
        client.abort()
        await until(lambda: backend.cancelled == ["m"], "cancelled")


@pytest.mark.parametrize("path", ["/invocations", "/models/m/invoke", "/endpoints/e/invocations"])
async def test_work_for_a_client_that_has_gone_is_cancelled(path: str) -> None:
    """A disconnect cancels the invocation, frees its permit, and is observed as 499."""
    backend = FakeBackend(slow={"m": asyncio.Event()})
    async with running(backend) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", path, b"[1]", {TARGET: "m"}))
        await until(lambda: backend.started == ["m"], "invoked")
        client.abort()
        await until(lambda: backend.cancelled == ["m"], "cancelled")
        await until(lambda: len(world.records.seen) == 1, "observed")
    assert backend.inflight == 0
    assert world.records.seen[0].status == 499


async def test_a_client_that_goes_while_sending_its_body_costs_nothing() -> None:
    """A disconnect in the body ends the request before a model is asked."""
    backend = FakeBackend()
    async with running(backend) as world:
        client = await world.connect()
        await client.send(request_bytes("POST", "/invocations", b"1234", {TARGET: "m"})[:-1])
        await until(lambda: backend.inflight == 1, "admitted")
        client.abort()
        await until(lambda: backend.inflight == 0, "released")
    assert backend.started == []


async def test_an_overloaded_server_says_when_to_come_back_in_both_headers() -> None:
    """Retry-After is whole seconds, rounded up; boto3's header is in milliseconds."""
    backend = FakeBackend(admit_error=Overloaded("Full.", retry_after_s=1.25))
    async with running(backend) as world:
        response = await world.invoke("m")
    assert response.status == 503
    assert response.headers["retry-after"] == "2"
    assert response.headers["x-amz-retry-after"] == "1250"


async def test_an_unknown_exception_is_500_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is in the log, under the id that the caller was given; not in the answer."""
    backend = FakeBackend(errors={"m": RuntimeError("secret")})
    async with running(backend) as world:
        response = await world.invoke("m")
    assert (response.status, response.json()["ErrorCode"]) == (500, "InternalFailure")
    assert b"secret" not in response.body
    logged = next(record for record in caplog.records if record.name == "mms.api")
    assert vars(logged)["request_id"] == response.json()["RequestId"]
    assert "secret" in str(logged.exc_info)


async def test_a_name_in_the_url_is_decoded_once() -> None:
    """%2F is a slash in the name, %252F is not; a raw slash is taken too."""
    backend = FakeBackend()
    async with running(backend) as world:
        for name in ["a%2Fb.tar.gz", "a%252Fb", "a/b.tar.gz", "m%C3%A9"]:
            assert (await world.ask("POST", f"/models/{name}/invoke", b"1")).status == 200
        for name in ["%ff", "%00", "%20a", "a" * 1025]:
            response = await world.ask("POST", f"/models/{name}/invoke", b"1")
            assert (response.status, response.json()["ErrorCode"]) == (400, "ValidationError")
    assert backend.started == ["a/b.tar.gz", "a%2Fb", "a/b.tar.gz", "mé"]


async def test_the_url_decides_and_a_header_of_another_load_is_refused() -> None:
    """A target header never routes; if it isn't the one of the load, the request is refused."""
    backend = FakeBackend(mode="multi")
    async with running(backend) as world:
        load = b'{"model_name": "h1", "url": "/opt/ml/models/h1/model"}'
        await world.ask("POST", "/models", load, {TARGET: "a.tar.gz"})
        same = await world.ask("POST", "/models/h1/invoke", b"1", {TARGET: "a.tar.gz"})
        other = await world.ask("POST", "/models/h1/invoke", b"1", {TARGET: "b.tar.gz"})
    assert (same.status, other.status) == (200, 400)
    assert backend.started == ["h1"]


async def test_a_model_cannot_write_headers_of_its_own() -> None:
    """A content type or version that isn't plain text never becomes a header."""
    backend = FakeBackend(
        answer=Answer(body=b"x", content_type=b"a\r\nX-Evil: 1", version="1\r\nX-Evil: 1")
    )
    async with running(backend) as world:
        response = await world.invoke("m")
    assert response.status == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert "x-evil" not in response.headers
    assert "x-mms-model-version" not in response.headers


async def test_a_single_model_endpoint_takes_no_target() -> None:
    """Without a target the one model answers; with one the request is refused."""
    async with running(FakeBackend(mode="single")) as world:
        plain = await world.ask("POST", "/invocations", b"1")
        named = await world.invoke("m")
    assert (plain.status, named.status) == (200, 400)
