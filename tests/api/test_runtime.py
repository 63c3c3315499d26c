from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from mms import errors
from tests.api.fake_backend import FakeBackend
from tests.api.world import TARGET, World, running

pytestmark = pytest.mark.usefixtures("both_ways")


class Caller:
    """An unchanged boto3 client; its calls run in a thread."""

    def __init__(self, port: int) -> None:
        self._client = boto3.client(
            "sagemaker-runtime",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}, proxies={}),
        )

    async def invoke(self, **arguments: Any) -> Any:
        call: dict[str, Any] = {"EndpointName": "demo", "Body": b"[1]", "TargetModel": "m.tar.gz"}
        return await asyncio.to_thread(self._client.invoke_endpoint, **(call | arguments))

    async def error(self, **arguments: Any) -> ClientError:
        with pytest.raises(ClientError) as caught:
            await self.invoke(**arguments)
        return caught.value

    def close(self) -> None:
        self._client.close()


@asynccontextmanager
async def called(backend: FakeBackend) -> AsyncIterator[tuple[World, Caller]]:
    async with running(backend) as world:
        caller = await asyncio.to_thread(Caller, world.port)
        try:
            yield world, caller
        finally:
            caller.close()


async def test_boto3_invokes_a_model_and_reads_the_answer() -> None:
    """Signed, unchanged, any endpoint name; what the platform adds is ignored."""
    backend = FakeBackend()
    async with called(backend) as (_, caller):
        answer = await caller.invoke(
            EndpointName="a-1",
            TargetModel="team a/m1.tar.gz",
            ContentType="text/csv",
            Accept="application/json",
            CustomAttributes="trace=1",
            InferenceId="i-1",
            SessionId="NEW_SESSION",
            TargetVariant="AllTraffic",
        )
    assert answer["Body"].read() == b"[1]"
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ResponseMetadata"]["RequestId"]
    assert backend.started == ["team a/m1.tar.gz"]
    assert backend.invocations[0].spec == b"text/csv|application/json|trace=1"


@pytest.mark.parametrize(
    ("error", "exception", "status", "original"),
    [
        (errors.ValidationError("row 1, column 'a'"), "ModelError", 424, 400),
        (errors.ModelError("boom"), "ModelError", 424, 500),
        (errors.ModelLoadError("corrupt"), "ModelError", 424, 422),
        (errors.ModelTimeout("slow"), "ModelError", 424, 0),
        (errors.ModelNotFound("no such key"), "ValidationError", 400, None),
        (errors.ModelNotReady("loading"), "ModelNotReadyException", 429, None),
        (errors.Overloaded("full"), "ServiceUnavailable", 503, None),
        (errors.InsufficientStorage("never"), "ServiceUnavailable", 503, None),
        (RuntimeError("secret"), "InternalFailure", 500, None),
    ],
)
async def test_boto3_raises_its_own_types(
    error: Exception, exception: str, status: int, original: int | None
) -> None:
    """The typed exception, its status, and for model errors the original."""
    async with called(FakeBackend(errors={"m.tar.gz": error})) as (_, caller):
        caught = await caller.error()
        assert type(caught).__name__ == exception
    response: dict[str, Any] = dict(caught.response)
    assert response["Error"]["Code"] == exception
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response.get("OriginalStatusCode") == original
    assert response["Error"]["Message"]
    assert "secret" not in str(response)
    if original:
        assert response["OriginalMessage"] == str(error)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"TargetModel": "../m"}, "ValidationError"),
        ({"TargetModel": "m" * 1025}, "ValidationError"),
        ({"EndpointName": "a b"}, "ValidationError"),
        ({"EndpointName": "a" * 64}, "ValidationError"),
        ({"EndpointName": "-a"}, "ValidationError"),
        ({"ContentType": "image/png"}, "ModelError"),
        ({"Accept": "image/png"}, "ModelError"),
        ({"CustomAttributes": "method=nonsense"}, "ModelError"),
        ({"Body": b"x" * 6_291_457}, "RequestEntityTooLargeException"),
    ],
)
async def test_what_the_request_does_wrong_is_told_by_who_refuses_it(
    arguments: dict[str, Any], code: str
) -> None:
    """The platform's own refusals keep their codes; the container's become model errors."""
    backend = FakeBackend()
    async with called(backend) as (_, caller):
        caught = await caller.error(**arguments)
    assert caught.response["Error"]["Code"] == code
    assert backend.started == []


async def test_a_missing_target_is_a_validation_error() -> None:
    """As on a multi-model endpoint."""
    async with running(FakeBackend()) as world:
        response = await world.ask("POST", "/endpoints/demo/invocations", b"[1]")
    assert (response.status, response.headers["x-amzn-errortype"]) == (400, "ValidationError")


async def test_unsigned_requests_are_served_too() -> None:
    """Signatures are accepted, not asked for."""
    async with running(FakeBackend()) as world:
        client = await asyncio.to_thread(
            boto3.client,
            "sagemaker-runtime",
            endpoint_url=f"http://127.0.0.1:{world.port}",
            region_name="us-east-1",
            config=Config(signature_version=UNSIGNED, proxies={}),
        )
        answer = await asyncio.to_thread(
            client.invoke_endpoint, EndpointName="e", Body=b"1", TargetModel="m"
        )
        assert answer["Body"].read() == b"1"
        client.close()


async def test_the_container_surface_keeps_the_plain_status() -> None:
    """The same failure is 424 to boto3 and 400 to the platform."""
    backend = FakeBackend(errors={"m": errors.ValidationError("row 1")})
    async with running(backend) as world:
        plain = await world.invoke("m")
        runtime = await world.ask("POST", "/endpoints/e/invocations", b"1", {TARGET: "m"})
    assert (plain.status, runtime.status) == (400, 424)
