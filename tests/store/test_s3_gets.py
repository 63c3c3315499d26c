"""Objects are asked for without boto3's layers once boto3 has shown how; answers mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mms.errors import MmsError
from mms.store.base import NotModified
from mms.types import TargetModel
from tests.store.conftest import PART

if TYPE_CHECKING:
    from mms.store.s3 import S3Store
    from tests.support.faults import FaultProxy
    from tests.support.s3 import Bucket

T = TargetModel("a b/ü+m~'(1)*$&=@:,.tar.gz")
OTHER = TargetModel("other.onnx")


def read(store: S3Store, target: TargetModel = T, *, deadline: float) -> bytes:
    stream = store.open(target, known_etag=None, deadline=deadline)
    try:
        return stream.read()
    finally:
        stream.close()


def by_boto3(fault_proxy: FaultProxy) -> list[bool]:
    """Of each request: boto3 numbers its own."""
    return ["amz-sdk-invocation-id" in seen.headers for seen in fault_proxy.seen]


def test_only_the_first_object_is_asked_for_by_boto3(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """Whatever its name: whole, in ranges, and where a version is known."""
    bucket.put(bucket_prefix + OTHER, b"other")
    etag = bucket.put(bucket_prefix + T, b"x" * 2 * PART)
    assert read(store, OTHER, deadline=deadline) == b"other"
    assert read(store, deadline=deadline) == b"x" * 2 * PART
    with pytest.raises(NotModified):
        store.open(T, known_etag=etag, deadline=deadline)
    assert by_boto3(fault_proxy) == [True, False, False, False]
    first, *rest = fault_proxy.seen
    assert first.headers["x-amz-checksum-mode"] == rest[0].headers["x-amz-checksum-mode"]
    assert {seen.headers["user-agent"] for seen in rest} == {first.headers["user-agent"]}


def test_a_check_that_finds_nothing_shows_the_way_too(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A key that isn't there was asked for at the right place."""
    bucket.put(bucket_prefix + T, b"x")
    store.check()
    assert read(store, deadline=deadline) == b"x"
    assert by_boto3(fault_proxy) == [True, False]


@pytest.mark.parametrize(
    "fault",
    [
        "",
        "status:403:AccessDenied",
        "status:403:InvalidAccessKeyId",
        "status:404:NoSuchBucket",
        "status:412:PreconditionFailed",
        "status:503:SlowDown",
        "status:500:InternalError",
        "reset",
        "stall",
    ],
)
def test_a_refusal_means_what_it_does_by_way_of_boto3(
    fault: str,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """The same error for the same answer, and one request for each."""
    fault_proxy.fault(fault)
    with pytest.raises(MmsError) as first:
        read(store, TargetModel("none.onnx"), deadline=deadline)
    fault_proxy.fault("")
    bucket.put(bucket_prefix + T, b"x")
    read(store, deadline=deadline)
    fault_proxy.fault(fault)
    fault_proxy.seen.clear()
    with pytest.raises(MmsError) as second:
        read(store, TargetModel("none.onnx"), deadline=deadline)
    assert by_boto3(fault_proxy) == [False]
    assert type(second.value) is type(first.value)
    assert second.value.message == first.value.message


@pytest.mark.parametrize(
    "fault", ["status:301:PermanentRedirect", "status:400:AuthorizationHeaderMalformed"]
)
def test_a_bucket_that_is_elsewhere_is_looked_for_by_boto3(
    fault: str,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """An answer that speaks of another place costs one more request, not the artifact."""
    bucket.put(bucket_prefix + T, b"x")
    read(store, deadline=deadline)
    fault_proxy.fault(fault, first=1)
    assert read(store, deadline=deadline) == b"x"
    assert read(store, deadline=deadline) == b"x"
    assert by_boto3(fault_proxy) == [True, False, True, False]
