"""S3 as a store, against a real server and through a proxy that breaks it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mms.errors import ModelNotFound, StoreUnavailable, ValidationError
from mms.store.base import NotModified, StoreRefused
from mms.store.s3 import S3Store
from mms.types import TargetModel
from tests.store.conftest import PART

if TYPE_CHECKING:
    from pathlib import Path

    from mms.demo.s3server import S3Server
    from tests.support.faults import FaultProxy, Seen
    from tests.support.s3 import Bucket

T = TargetModel("a b/ü+m.tar.gz")
NOT_THERE = TargetModel("nothing.onnx")


def read(store: S3Store, target: TargetModel = T, *, deadline: float) -> bytes:
    stream = store.open(target, known_etag=None, deadline=deadline)
    try:
        return stream.read()
    finally:
        stream.close()


def gone(threads_before: int) -> bool:
    """Whether no range is being fetched any more; waits for it."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if threading.active_count() <= threads_before:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART])
def test_an_object_of_one_part_is_exactly_one_get(
    size: int,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """Whole, with its size and ETag, and no HEAD before it."""
    body = os.urandom(size)
    etag = bucket.put(bucket_prefix + T, body)
    stream = store.open(T, known_etag=None, deadline=deadline)
    assert (stream.size, stream.etag) == (size, etag)
    assert stream.read() == body
    assert stream.read(10) == b""
    stream.close()
    assert [(seen.method, "range" in seen.headers) for seen in fault_proxy.seen] == [("GET", False)]
    assert store.stats().bytes == size
    assert store.stats().requests == {("get", "ok"): 1}


def test_a_known_version_is_not_read_again(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """One GET with If-None-Match; a checksum on the 304 does no harm; a new version is read."""
    etag = bucket.put(bucket_prefix + T, b"one")
    fault_proxy.fault("header:x-amz-checksum-crc32:AAAAAA==")
    with pytest.raises(NotModified):
        store.open(T, known_etag=etag, deadline=deadline)
    assert [seen.headers["if-none-match"] for seen in fault_proxy.seen] == [etag]
    fault_proxy.fault("")
    bucket.put(bucket_prefix + T, b"two")
    stream = store.open(T, known_etag=etag, deadline=deadline)
    assert stream.read() == b"two"
    stream.close()


@pytest.mark.parametrize("size", [PART + 1, 5 * PART, 5 * PART + 7])
def test_a_big_object_is_a_window_of_ranges_of_one_version(
    size: int,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """The first part off the first GET, the rest in order, each If-Match, whatever is slower."""
    body = os.urandom(size)
    etag = bucket.put(bucket_prefix + T, body)
    fault_proxy.fault("latency:0.05", first=2)  # the first range arrives after the second
    assert read(store, deadline=deadline) == body
    first, *ranges = fault_proxy.seen
    assert "range" not in first.headers
    wanted = {f"bytes={at}-{min(at + PART, size) - 1}" for at in range(PART, size, PART)}
    assert {seen.headers["range"] for seen in ranges} == wanted
    assert len(ranges) == len(wanted)
    assert {seen.headers["if-match"] for seen in ranges} == {etag}


def test_no_more_than_the_window_is_read_ahead(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A reader that stops holds the requests back, and closing early ends them."""
    bucket.put(bucket_prefix + T, b"x" * 10 * PART)
    before = threading.active_count()
    fault_proxy.fault("rate:5000")  # a range takes longer than we wait for its end below
    stream = store.open(T, known_etag=None, deadline=deadline)
    assert stream.read(10) == b"x" * 10
    until = time.monotonic() + 5
    while fault_proxy.count("GET") < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert fault_proxy.count("GET") == 3
    stream.close()
    store.close()
    assert gone(before)
    assert fault_proxy.count("GET") == 3


def test_closing_before_reading_gives_the_connection_back(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A stream that is never read holds nothing after its close."""
    bucket.put(bucket_prefix + T, b"x" * 3_000_000)
    for _ in range(5):
        store.open(T, known_etag=None, deadline=deadline).close()
    until = time.monotonic() + 10
    while fault_proxy.open_connections > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert fault_proxy.open_connections <= 1


def test_an_overwrite_in_the_middle_is_noticed(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """Two versions are never mixed: the read fails and can be tried again."""
    bucket.put(bucket_prefix + T, b"1" * 8 * PART)

    def overwrite(seen: Seen) -> None:
        if seen.headers.get("range", "").startswith(f"bytes={5 * PART}-"):
            bucket.put(bucket_prefix + T, b"2" * 8 * PART)

    fault_proxy.before = overwrite
    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        read(store, deadline=deadline)
    assert read(store, deadline=deadline) == b"2" * 8 * PART


def test_a_delete_in_the_middle_is_noticed(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """An object that vanishes between its ranges was changed; the next try says not found."""
    bucket.put(bucket_prefix + T, b"1" * 8 * PART)

    def delete(seen: Seen) -> None:
        if "range" in seen.headers:
            bucket.delete(bucket_prefix + T)

    fault_proxy.before = delete
    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        read(store, deadline=deadline)
    with pytest.raises(ModelNotFound):
        read(store, deadline=deadline)


def test_a_missing_object_is_not_found(
    store: S3Store, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A 404 for the key is ModelNotFound, even if it carries a checksum."""
    fault_proxy.fault("header:x-amz-checksum-crc32:AAAAAA==")
    with pytest.raises(ModelNotFound, match=r"nothing\.onnx"):
        store.open(NOT_THERE, known_etag=None, deadline=deadline)


def test_denied_is_missing_or_no_permission(
    store: S3Store, fault_proxy: FaultProxy, deadline: float
) -> None:
    """S3 says 403 for a missing key to who may not list: that is not found, and says both."""
    fault_proxy.fault("status:403:AccessDenied")
    with pytest.raises(ModelNotFound, match="missing, or no permission"):
        store.open(T, known_etag=None, deadline=deadline)


FAULTS = {
    "status:503:SlowDown": "throttling",
    "status:429:TooManyRequests": "throttling",
    "status:500:InternalError": "500",
    "status:404:NoSuchBucket": "bucket doesn't exist",
    "status:403:InvalidAccessKeyId": "access key is unknown",
    "status:403:SignatureDoesNotMatch": "secret key is wrong",
    "status:400:ExpiredToken": "token has expired",
    "status:412:PreconditionFailed": "changed",
    "stall": "in time",
    "reset": "broke off",
    "stall_body": "in time",
    "reset_body": "broke off",
    "truncate": "cut an answer short",
    "corrupt": "damaged",
}


@pytest.mark.parametrize("size", [PART // 2, 4 * PART])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_the_store_is_said_to_be_one(
    size: int,
    fault: str,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """Outage, throttling, refusal, cuts and damage are StoreUnavailable, with their reason."""
    bucket.put(bucket_prefix + T, b"0123456789" * (size // 10))
    before = threading.active_count()
    fault_proxy.fault(fault)
    with pytest.raises(StoreUnavailable, match=FAULTS[fault]) as caught:
        read(store, deadline=deadline)
    assert "demo-" not in caught.value.message
    assert isinstance(caught.value, StoreRefused) == (
        FAULTS[fault].split()[0] in {"bucket", "access", "secret", "token"}
    )
    fault_proxy.fault("")
    assert read(store, deadline=deadline) == b"0123456789" * (size // 10)
    store.close()
    assert gone(before)


@pytest.mark.parametrize("fault", ["corrupt", "truncate", "stall_body", "status:503:SlowDown"])
def test_a_fault_in_a_range_is_one_of_the_object(
    fault: str,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """What goes wrong in a later range is noticed too, damage by the whole object's checksum."""
    bucket.put(bucket_prefix + T, os.urandom(6 * PART))

    def break_ranges(seen: Seen) -> None:
        if "range" not in seen.headers:
            fault_proxy.fault(fault)

    fault_proxy.before = break_ranges
    with pytest.raises(StoreUnavailable):
        read(store, deadline=deadline)


def test_a_wrong_checksum_on_a_range_is_the_server_s_mistake(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """Some servers send the whole object's checksum with a part of it: that is no damage."""
    body = os.urandom(3 * PART)
    bucket.put(bucket_prefix + T, body)

    def mislead(seen: Seen) -> None:
        if "range" not in seen.headers:
            fault_proxy.fault("header:x-amz-checksum-crc32:AAAAAA==")

    fault_proxy.before = mislead
    assert read(store, deadline=deadline) == body


@pytest.mark.parametrize("size", [PART, 8 * PART])
def test_a_dripping_server_cannot_outlast_the_deadline(
    size: int, store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """Bytes that keep coming, too slowly, are given up when the time is over."""
    bucket.put(bucket_prefix + T, b"x" * size)
    fault_proxy.fault("rate:40000")
    before = threading.active_count()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"too slow|in time"):
        read(store, deadline=began + 0.7)
    assert time.monotonic() - began < 10
    store.close()
    assert gone(before)


def test_a_slow_reader_cannot_outlast_the_deadline(
    s3_environ: None, s3_server: S3Server, bucket: Bucket, bucket_prefix: str
) -> None:
    """The time of a load is over for who takes it slowly as well."""
    bucket.put(bucket_prefix + T, b"x" * 3_000_000)
    store = S3Store(bucket.name, bucket_prefix, endpoint_url=s3_server.endpoint_url)
    store.check()  # makes the client, which takes a while
    until = time.monotonic() + 0.3
    stream = store.open(T, known_etag=None, deadline=until)
    assert stream.read(10) == b"x" * 10
    while time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(StoreUnavailable, match="too slow"):
        stream.read()
    stream.close()
    store.close()


def test_no_request_is_sent_after_the_deadline(store: S3Store, fault_proxy: FaultProxy) -> None:
    """Time that is over is over before the store is asked."""
    with pytest.raises(StoreUnavailable, match="too slow"):
        store.open(T, known_etag=None, deadline=time.monotonic())
    assert fault_proxy.seen == []


def test_the_check_passes_without_objects(store: S3Store, fault_proxy: FaultProxy) -> None:
    """An empty prefix is a fine one, and so is a role that may not list."""
    store.check()
    fault_proxy.fault("status:403:AccessDenied")
    store.check()


@pytest.mark.parametrize(
    "code", ["403:InvalidAccessKeyId", "403:SignatureDoesNotMatch", "404:NoSuchBucket"]
)
def test_the_check_says_what_is_wrong(code: str, store: S3Store, fault_proxy: FaultProxy) -> None:
    """Wrong credentials or bucket stop the start with a message that names the prefix."""
    fault_proxy.fault(f"status:{code}")
    with pytest.raises(ValidationError, match=store.id):
        store.check()


def test_the_check_with_real_wrong_settings(
    s3_environ: None, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real server's own refusals are understood; a server that is down is just down."""
    url = s3_server.endpoint_url

    def check(bucket: str, endpoint_url: str | None) -> None:
        store = S3Store(bucket, "p/", endpoint_url=endpoint_url)
        try:
            store.check()
        finally:
            store.close()

    check(s3_server.bucket, None)  # the endpoint of the environment
    with pytest.raises(ValidationError, match="bucket doesn't exist"):
        check("no-such-bucket", url)
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        check(s3_server.bucket, "http://127.0.0.1:1")
    with pytest.raises(ValidationError, match="endpoint URL"):
        check(s3_server.bucket, "nonsense")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ValidationError, match="secret key is wrong"):
        check(s3_server.bucket, url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    with pytest.raises(ValidationError, match="access key is unknown"):
        check(s3_server.bucket, url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ValidationError, match="no AWS credentials"):
        check(s3_server.bucket, url)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ValidationError, match="AWS_PROFILE"):
        check(s3_server.bucket, url)


def test_many_threads_share_one_client(
    store: S3Store, bucket: Bucket, bucket_prefix: str, deadline: float
) -> None:
    """The first use may be by many at once: one client is made, and all are answered."""
    bucket.put(bucket_prefix + T, b"x")
    clients: set[int] = set()
    got: list[bytes] = []

    def work() -> None:
        got.append(read(store, deadline=deadline))
        clients.add(id(store._client()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (got, len(clients)) == ([b"x"] * 8, 1)


@pytest.mark.parametrize(
    ("endpoint", "style", "url"),
    [
        (None, None, "https://models.s3.amazonaws.com/k"),
        ("http://localhost:9000", None, "http://localhost:9000/models/k"),
        ("http://127.0.0.1:9000", None, "http://127.0.0.1:9000/models/k"),
        ("http://store:9000", None, "http://store:9000/models/k"),
        ("https://s3.example.com", "virtual", "https://models.s3.example.com/k"),
    ],
)
def test_buckets_are_addressed_as_the_endpoint_can_bear(
    endpoint: str | None,
    style: str | None,
    url: str,
    s3_environ: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """AWS by virtual host, any other endpoint by path unless the AWS config asks otherwise."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    if style:
        config = tmp_path / "config"
        config.write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    store = S3Store("models", "", endpoint_url=endpoint)
    signed = store._client().generate_presigned_url(
        "get_object", Params={"Bucket": "models", "Key": "k"}
    )
    assert signed.partition("?")[0] == url
    store.close()
