"""Asks the server over HTTP and takes the time, as any client would.

Owns one kept-alive connection, and the one call that goes through boto3's own SageMaker client.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mms.demo.problem import DemoError

if TYPE_CHECKING:
    from mms.demo.sample import Sample

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    tier: str
    body: bytes
    ms: float


class Client:
    """A connection to one server; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        self._connection.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, sample: Sample) -> Reply:
        """Send a sample; the time runs until the answer is read."""
        began = time.perf_counter()
        try:
            self._connection.request(
                "POST", "/invocations", sample.body.encode(), headers=sample.headers()
            )
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"{sample.target}: no answer: {error!r}") from error
        return Reply(
            status=response.status,
            tier=response.headers.get("X-MMS-Tier", ""),
            body=body,
            ms=(time.perf_counter() - began) * 1000,
        )


def ask_by_boto3(url: str, sample: Sample) -> bytes:
    """The same question through the SDK, as code written for SageMaker asks it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    try:
        answer = client.invoke_endpoint(
            EndpointName="demo",
            TargetModel=sample.target,
            ContentType=sample.content_type,
            Accept=sample.content_type,
            Body=sample.body.encode(),
        )
        return answer["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"boto3, {sample.target}: {error}") from error
    finally:
        client.close()
