"""Both stores list alike: by code points, from any prefix and any key on, page by page."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mms.errors import ModelNotFound, StoreUnavailable
from mms.store.base import Denied, Listed, StoreRefused
from mms.store.local import LocalStore
from mms.types import TargetModel
from tests.store.conftest import PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from mms.store.base import ArtifactStore
    from mms.store.s3 import S3Store
    from tests.support.faults import FaultProxy
    from tests.support.s3 import Bucket

KEYS = ["a/b/c", "a/c", "ab/ü+& m", "b/A", "b/a", "z", "\U0001f600"]
# In S3's order, which that of folder by folder isn't: our S3 server lists in the latter.
FLAT = ["a b/x", "a-b/x", "a.onnx", "a/b-c", "a/b.c", "a/b/c", "a/b0"]


def keys(store: ArtifactStore, prefix: str = "", after: str = "") -> list[str]:
    deadline = time.monotonic() + 30
    return [one.key for one in store.list(prefix, after=after, deadline=deadline)]


@pytest.fixture(params=["s3", "local"])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket, bucket_prefix: str
) -> ArtifactStore:
    if request.param == "s3":
        for key in KEYS:
            bucket.put(bucket_prefix + key, key.encode())
        bucket.put(bucket_prefix.rstrip("/") + "-other/x", b"not ours")
        made: ArtifactStore = request.getfixturevalue("store")
        return made
    for key in KEYS:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    return LocalStore(tmp_path)


def test_keys_come_in_order_below_a_prefix_and_after_a_key(filled: ArtifactStore) -> None:
    """Relative to the store's prefix; a prefix may end anywhere."""
    assert keys(filled) == sorted(KEYS)
    for prefix in ("a", "a/", "a/b", "a/b/", "b/", "ab/ü", "nothing", "nothing/", "z/"):
        assert keys(filled, prefix) == sorted(k for k in KEYS if k.startswith(prefix)), prefix
    for after in ("a/b/c", "a/c", "b/a", "zz", "\U0001f600"):
        assert keys(filled, after=after) == sorted(k for k in KEYS if k > after), after
    assert keys(filled, "a/", after="a/b/c") == ["a/c"]


def test_a_folder_on_disk_is_listed_in_the_order_of_a_bucket(tmp_path: Path) -> None:
    """By the whole key, in which a folder's slash counts."""
    for key in FLAT:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    store = LocalStore(tmp_path)
    assert keys(store) == sorted(FLAT)
    for after in ("a", "a-b", "a/", "a/b", "a/b-c", "a/b.c", "a/b/", "a/b/c", "b"):
        assert keys(store, after=after) == sorted(k for k in FLAT if k > after), after
        assert keys(store, after) == sorted(k for k in FLAT if k.startswith(after)), after


def test_what_is_listed_is_what_is_read(filled: ArtifactStore, deadline: float) -> None:
    """Size and ETag are those of the object; the time is recent, and says where."""
    for one in filled.list(deadline=deadline):
        assert one.size == len(one.key.encode())
        assert abs(one.modified.timestamp() - time.time()) < 600
        assert one.modified.tzinfo is not None
        with closing(filled.read_all([one], deadline=deadline)) as objects:
            read, blocks = next(objects)
            assert (read, b"".join(blocks)) == (one, one.key.encode())
            assert next(objects, None) is None


def test_listings_are_counted(filled: ArtifactStore) -> None:
    """Under an op of their own."""
    keys(filled)
    assert filled.stats().requests.keys() == {("list", "ok")}


def test_a_long_listing_is_many_pages_and_no_more_are_asked_for_than_read(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """They are asked for as they are read."""
    names = [f"{number:04}" for number in range(2 * PAGE + 1)]
    for name in names:
        bucket.put(bucket_prefix + name, b"")
    assert next(iter(store.list(deadline=deadline))).key == "0000"
    assert fault_proxy.count("GET") == 1
    assert keys(store) == names
    assert fault_proxy.count("GET") == 4
    assert keys(store, after="0004") == names[5:]


LIST_FAULTS = {
    "status:503:SlowDown": (StoreUnavailable, "throttling"),
    "status:404:NoSuchBucket": (StoreRefused, "bucket doesn't exist"),
    "status:403:InvalidAccessKeyId": (StoreRefused, "access key is unknown"),
    "status:403:AccessDenied": (Denied, r"missing, or no permission to list \(s3:ListBucket\)"),
    "stall": (StoreUnavailable, "in time"),
    "reset": (StoreUnavailable, "broke off"),
    "truncate": (StoreUnavailable, "broke off|answered 500"),
}


@pytest.mark.parametrize("fault", LIST_FAULTS)
def test_a_listing_that_fails_says_why(
    fault: str,
    store: S3Store,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    deadline: float,
) -> None:
    """By the same table as a read; only what is denied is another permission."""
    bucket.put(bucket_prefix + "m/x", b"x")
    fault_proxy.fault(fault)
    kind, message = LIST_FAULTS[fault]
    with pytest.raises(kind, match=message):
        list(store.list("m/", deadline=deadline))
    ((op, outcome),) = store.stats().requests
    assert op == "list"
    assert outcome != "ok"


def test_no_page_is_asked_for_after_the_deadline(store: S3Store, fault_proxy: FaultProxy) -> None:
    """Nor from a store that is closed."""
    with pytest.raises(StoreUnavailable, match="too slow"):
        list(store.list(deadline=time.monotonic() - 1))
    assert fault_proxy.count("GET") == 0


@pytest.mark.parametrize("way", ["deadline", "close"])
def test_a_listing_that_drips_is_given_up(
    way: str, store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """At the deadline or when the store is closed: boto3 itself would read on for minutes."""
    bucket.put(bucket_prefix + "m", b"x")
    fault_proxy.fault("rate:50")
    began = time.monotonic()
    if way == "close":
        fault_proxy.before = lambda _: store.close()
    with pytest.raises(StoreUnavailable, match=r"come to an end in time|too slow"):
        list(store.list(deadline=began + (0.7 if way == "deadline" else 60)))
    assert time.monotonic() - began < 10


def test_an_error_that_drips_is_given_up(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """Also of a read: an error is read as a whole too."""
    fault_proxy.fault("rate:10")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="come to an end in time"):
        store.open(TargetModel("nothing"), known_etag=None, deadline=began + 0.7)
    assert time.monotonic() - began < 10


def test_a_folder_on_disk_lists_its_own_files_only(tmp_path: Path, deadline: float) -> None:
    """Each once: links to files below the root, nothing outside, no pipes, no odd names."""
    (root := tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (root / "a").mkdir()
    (root / "a/m").write_bytes(b"m")
    os.mkfifo(root / "a/pipe")
    (root / "a/in").symlink_to("m")
    (root / "a/out").symlink_to("../../secret")
    (root / "a/nowhere").symlink_to("nothing")
    (root / "a/self").symlink_to("self")
    (root / "a/loop").symlink_to("..")
    (root / "b").symlink_to("a")
    (root / "up").symlink_to("..")
    (root / os.fsdecode(b"\xff")).touch()
    store = LocalStore(root)
    assert keys(store) == ["a/in", "a/m"]
    assert keys(store, "b/") == ["b/in", "b/m"], "the folder that is asked for may be a link"
    for outside in ("up/", "../", "a/../", "/", "a//", "./"):
        assert keys(store, outside) == []
    with pytest.raises(StoreUnavailable, match="too slow"):
        list(store.list(deadline=time.monotonic() - 1))


def test_reading_notices_what_was_changed_since_the_listing(
    filled: ArtifactStore, tmp_path: Path, bucket: Bucket, bucket_prefix: str, deadline: float
) -> None:
    """Another version, or none any more, can be tried again from the listing on."""
    changed, deleted = list(filled.list("b/", deadline=deadline))
    if isinstance(filled, LocalStore):
        (tmp_path / changed.key).write_bytes(b"longer than it was")
        (tmp_path / deleted.key).unlink()
    else:
        bucket.put(bucket_prefix + changed.key, b"new")
        bucket.delete(bucket_prefix + deleted.key)
    for one in (changed, deleted):
        with pytest.raises(StoreUnavailable, match="changed while it was read"):
            list(filled.read_all([one], deadline=deadline))


def test_an_object_that_may_not_be_read_is_denied(
    store: S3Store, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A role that may list but not read isn't told of a change, and not asked to try again."""
    bucket.put(bucket_prefix + "m/x", b"x")
    listed = list(store.list("m/", deadline=deadline))
    fault_proxy.fault("status:403:AccessDenied")
    with pytest.raises(ModelNotFound, match="s3:GetObject"):
        list(store.read_all(listed, deadline=deadline))


def test_a_size_that_isn_t_the_listed_one_is_a_change(
    store: S3Store, bucket: Bucket, bucket_prefix: str, deadline: float
) -> None:
    """For servers that don't know If-Match."""
    bucket.put(bucket_prefix + "m", b"x" * 100)
    (one,) = store.list("m", deadline=deadline)
    wrong = Listed(key=one.key, etag=one.etag, size=99, modified=one.modified)
    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        list(store.read_all([wrong], deadline=deadline))
