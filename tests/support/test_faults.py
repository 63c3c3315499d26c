"""The fault proxy does what the other tests rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mms.demo.s3server import S3Server
    from tests.support.faults import FaultProxy
    from tests.support.s3 import Bucket


def _get(server: S3Server, proxy: FaultProxy, key: str) -> bytes:
    client = server.client(proxy.endpoint_url)
    try:
        return client.get_object(Bucket=server.bucket, Key=key)["Body"].read()
    finally:
        client.close()


def test_the_proxy_passes_requests_on_and_remembers_them(
    s3_server: S3Server, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """Without a fault an object comes through whole, and what was asked can be counted."""
    body = bytes(range(256)) * 1000
    bucket.put(bucket_prefix + "x", body)
    assert _get(s3_server, fault_proxy, bucket_prefix + "x") == body
    assert fault_proxy.count("GET", bucket_prefix) == 1
    client = s3_server.client(fault_proxy.endpoint_url)
    client.put_object(Bucket=bucket.name, Key=bucket_prefix + "y", Body=body)
    client.close()
    assert _get(s3_server, fault_proxy, bucket_prefix + "y") == body


@pytest.mark.parametrize(
    "fault", ["reset", "reset_body", "truncate", "corrupt", "status:503:SlowDown"]
)
def test_a_fault_holds_for_the_first_requests_only(
    fault: str, s3_server: S3Server, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """A fault breaks as many requests as it was told to, then the server is itself again."""
    bucket.put(bucket_prefix + "x", b"0123456789" * 20_000)
    fault_proxy.fault(fault, first=1)
    with pytest.raises((BotoCoreError, ClientError)):
        _get(s3_server, fault_proxy, bucket_prefix + "x")
    assert _get(s3_server, fault_proxy, bucket_prefix + "x") == b"0123456789" * 20_000
