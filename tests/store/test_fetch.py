"""Fetching end to end: the real store, the fault proxy, the archive, the disk tier."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from mms.errors import (
    InsufficientStorage,
    ModelLoadError,
    ModelNotFound,
    NoRoom,
    ServiceUnavailable,
    StoreUnavailable,
)
from mms.store.base import NotModified
from mms.store.disk import DiskCache
from mms.store.fetch import ArtifactError, Fetched, OversizeError, fetch
from mms.store.limits import Limits
from mms.store.local import LocalStore, LocalStream
from mms.types import TargetModel
from tests.store.conftest import PART
from tests.support.s3 import tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mms.store.base import ArtifactStore
    from mms.store.s3 import S3Store
    from tests.support.faults import FaultProxy
    from tests.support.s3 import Bucket

T = TargetModel("us/ny/m.tar.gz")
ONE = tar_of({"model/m.joblib": b"one" * 1000})
TWO = tar_of({"model/m.joblib": b"two" * 1000})


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskCache]:
    opened = DiskCache(tmp_path / "cache", budget_bytes=4 << 20)
    yield opened
    opened.check_valid()
    assert list((tmp_path / "cache/v1/tmp").iterdir()) == []
    opened.close()


def get(store: ArtifactStore, cache: DiskCache, target: TargetModel = T, s: float = 30) -> Fetched:
    waits: list[float] = []
    return fetch(store, cache, target, deadline=time.monotonic() + s, wait=waits.append)


def model(fetched: Fetched) -> bytes:
    """The start of what was fetched; gives the lease back."""
    with fetched.lease:
        return (fetched.artifact.path / "model/m.joblib").read_bytes()[:3]


def test_a_cold_model_is_one_get_and_a_known_one_a_304(
    store: S3Store, cache: DiskCache, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """Cold: one GET. On disk: one GET with If-None-Match. Overwritten: one GET, the new version."""
    etag = bucket.put(bucket_prefix + T, ONE)
    first = get(store, cache)
    assert (first.tier, first.attempts, first.bytes, first.stale) == ("store", 1, len(ONE), False)
    assert (first.artifact.etag, model(first)) == (etag, b"one")
    again = get(store, cache)
    assert (again.tier, again.bytes, model(again)) == ("disk", 0, b"one")
    bucket.put(bucket_prefix + T, TWO)
    new = get(store, cache)
    assert (new.tier, model(new)) == ("store", b"two")
    asked = [(seen.method, seen.headers.get("if-none-match")) for seen in fault_proxy.seen]
    assert asked == [("GET", None), ("GET", etag), ("GET", etag)]
    assert cache.entries == 1


@pytest.mark.parametrize("size", [1000, 5 * PART])
@pytest.mark.parametrize(
    "fault", ["status:503:SlowDown", "reset", "reset_body", "truncate", "corrupt", "stall_body"]
)
def test_one_fault_is_survived(
    fault: str,
    size: int,
    store: S3Store,
    cache: DiskCache,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
) -> None:
    """One bad answer costs a retry, not the request, and what is committed is right."""
    body = os.urandom(size)
    bucket.put(bucket_prefix + "m.joblib", body)
    fault_proxy.fault(fault, first=1)
    fetched = get(store, cache, TargetModel("m.joblib"))
    with fetched.lease:
        # Of a big object only the first part is read off the first GET: a later cut isn't met.
        unmet = size > PART and fault in {"reset_body", "truncate", "stall_body"}
        assert fetched.attempts == (1 if unmet else 2)
        assert (fetched.artifact.path / "m.joblib").read_bytes() == body


@pytest.mark.parametrize(
    "fault", ["status:503:SlowDown", "status:500:InternalError", "stall", "reset_body", "truncate"]
)
def test_a_store_that_fails_is_asked_a_bounded_number_of_times(
    fault: str,
    store: S3Store,
    cache: DiskCache,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
) -> None:
    """Three attempts, growing waits, then the reason; nothing is left on the disk."""
    bucket.put(bucket_prefix + T, ONE)
    fault_proxy.fault(fault)
    waits: list[float] = []
    with pytest.raises(StoreUnavailable):
        fetch(store, cache, T, deadline=time.monotonic() + 30, wait=waits.append)
    assert fault_proxy.count("GET") == 3
    assert 0.05 <= waits[0] <= 0.15
    assert 0.2 <= waits[1] <= 0.6
    assert cache.bytes == 0


@pytest.mark.parametrize("fault", ["status:403:InvalidAccessKeyId", "status:404:NoSuchBucket"])
def test_a_refusal_is_not_tried_again(
    fault: str, store: S3Store, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Wrong credentials stay wrong: one request, and 503 with the reason."""
    fault_proxy.fault(fault)
    with pytest.raises(StoreUnavailable, match="refuses us"):
        get(store, cache)
    assert fault_proxy.count("GET") == 1


def test_no_retry_is_begun_that_the_deadline_would_cut(
    store: S3Store, cache: DiskCache, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """With the time used up by the first attempt, its error is the answer."""
    bucket.put(bucket_prefix + T, ONE)
    fault_proxy.fault("stall_body")
    with pytest.raises(StoreUnavailable):
        get(store, cache, s=0.3)
    assert fault_proxy.count("GET") == 1


def test_unknown_and_denied_models_are_asked_once(
    store: S3Store, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Not found is an answer, not a fault."""
    with pytest.raises(ModelNotFound, match="no such object"):
        get(store, cache)
    fault_proxy.fault("status:403:AccessDenied")
    with pytest.raises(ModelNotFound, match="no permission"):
        get(store, cache)
    assert fault_proxy.count("GET") == 2


@pytest.mark.parametrize("fault", ["status:503:SlowDown", "reset", "stall_body", "truncate"])
def test_a_model_on_disk_is_served_while_the_store_is_down(
    fault: str,
    store: S3Store,
    cache: DiskCache,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
) -> None:
    """One attempt, then the copy on disk, said to be stale; also if a new version breaks off."""
    bucket.put(bucket_prefix + T, ONE)
    get(store, cache).lease.release()
    bucket.put(bucket_prefix + T, TWO)
    asked = fault_proxy.count("GET")
    fault_proxy.fault(fault)
    kept = get(store, cache)
    assert (kept.tier, kept.stale, kept.attempts, model(kept)) == ("disk", True, 1, b"one")
    assert fault_proxy.count("GET") == asked + 1
    fault_proxy.fault("")
    assert model(get(store, cache)) == b"two"


def test_a_deleted_model_is_not_served_from_disk(
    store: S3Store, cache: DiskCache, bucket: Bucket, bucket_prefix: str
) -> None:
    """The store's word counts when it can be had."""
    bucket.put(bucket_prefix + T, ONE)
    get(store, cache).lease.release()
    bucket.delete(bucket_prefix + T)
    with pytest.raises(ModelNotFound):
        get(store, cache)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nothing", "not an archive"),
        (ONE[:-20], "truncated"),
        (ONE[:40] + b"\xff" * 8 + ONE[48:], "corrupt"),
    ],
)
def test_a_broken_artifact_is_asked_once_and_names_its_version(
    body: bytes,
    message: str,
    store: S3Store,
    cache: DiskCache,
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
) -> None:
    """The artifact's own faults aren't retried; the error carries the ETag to remember it by."""
    etag = bucket.put(bucket_prefix + T, body)
    with pytest.raises(ArtifactError, match=message) as caught:
        get(store, cache)
    assert isinstance(caught.value, ModelLoadError)
    assert caught.value.etag == etag
    assert fault_proxy.count("GET") == 1
    assert cache.bytes == 0


def test_what_can_never_fit_costs_nothing_that_is_there(cache: DiskCache, tmp_path: Path) -> None:
    """An artifact over the whole budget is refused before anything is evicted for it."""
    (root := tmp_path / "models").mkdir()
    (root / "small.joblib").write_bytes(b"x")
    (root / "big.joblib").write_bytes(b"x" * (5 << 20))
    (root / "big.tar.gz").write_bytes(tar_of({"m": b"x" * (5 << 20)}))
    store = LocalStore(root)
    get(store, cache, TargetModel("small.joblib")).lease.release()
    for name in ("big.joblib", "big.tar.gz"):
        with pytest.raises(OversizeError, match="MMS_DISK_BUDGET") as caught:
            get(store, cache, TargetModel(name))
        assert isinstance(caught.value, InsufficientStorage)
        assert caught.value.etag
    assert get(store, cache, TargetModel("small.joblib")).tier == "disk"


def test_room_that_is_all_in_use_is_asked_for_again_later(cache: DiskCache, tmp_path: Path) -> None:
    """NoRoom while the rest is leased; afterwards it is evicted, and the caller hears of it."""
    (root := tmp_path / "models").mkdir()
    for name in "ab":
        (root / f"{name}.bin").write_bytes(name.encode() * (3 << 20))
    store = LocalStore(root)
    first = get(store, cache, TargetModel("a.bin"))
    with pytest.raises(NoRoom) as caught:
        get(store, cache, TargetModel("b.bin"))
    assert isinstance(caught.value, ServiceUnavailable)
    first.lease.release()
    second = get(store, cache, TargetModel("b.bin"))
    assert [entry.target for entry in second.evicted] == ["a.bin"]
    second.lease.release()


def test_a_new_version_may_take_the_room_of_the_old(cache: DiskCache, tmp_path: Path) -> None:
    """A model of more than half of the budget can still be replaced."""
    (root := tmp_path / "models").mkdir()
    (root / "a.bin").write_bytes(b"1" * (3 << 20))
    store = LocalStore(root)
    get(store, cache, TargetModel("a.bin")).lease.release()
    (root / "new").write_bytes(b"2" * (3 << 20))
    (root / "new").replace(root / "a.bin")
    fetched = get(store, cache, TargetModel("a.bin"))
    with fetched.lease:
        assert (fetched.artifact.path / "a.bin").read_bytes()[:1] == b"2"


def test_limits_are_the_callers(cache: DiskCache, tmp_path: Path) -> None:
    """An operator's bounds hold for what is fetched."""
    (tmp_path / "m.tar").write_bytes(tar_of({"a": b"x", "b": b"x"}, compression=""))
    with pytest.raises(ArtifactError, match="more than 1 members"):
        fetch(
            LocalStore(tmp_path),
            cache,
            TargetModel("m.tar"),
            deadline=time.monotonic() + 10,
            limits=Limits(members=1),
        )


class FullDisk(LocalStore):
    """A store whose artifacts meet a full disk the first ``times`` that they are read."""

    def __init__(self, root: Path, *, times: int, number: int = errno.ENOSPC) -> None:
        super().__init__(root)
        self.times = times
        self.number = number

    def open(self, target: TargetModel, *, known_etag: str | None, deadline: float) -> LocalStream:
        stream = super().open(target, known_etag=known_etag, deadline=deadline)
        self.times -= 1
        if self.times >= 0:
            stream.read = self.fail  # type: ignore[method-assign]
        return stream

    def fail(self, _: int = -1, /) -> bytes:
        raise OSError(self.number, os.strerror(self.number))


def test_a_disk_that_is_full_before_its_budget_is_makes_room(
    cache: DiskCache, tmp_path: Path
) -> None:
    """ENOSPC evicts what is idle and tries again; with nothing to evict it is NoRoom."""
    for name in "ab":
        (tmp_path / f"{name}.bin").write_bytes(b"x" * 1000)
    a, b = TargetModel("a.bin"), TargetModel("b.bin")
    with pytest.raises(NoRoom, match="disk that holds the cache is full"):
        get(FullDisk(tmp_path, times=1), cache, a)
    get(LocalStore(tmp_path), cache, a).lease.release()
    fetched = get(FullDisk(tmp_path, times=1), cache, b)
    assert (fetched.attempts, [entry.target for entry in fetched.evicted]) == (2, [a])
    fetched.lease.release()


def test_a_disk_that_is_broken_is_no_broken_artifact(cache: DiskCache, tmp_path: Path) -> None:
    """Any other failure of the disk is a 503 as well, and leaves nothing behind."""
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(ServiceUnavailable, match="can't be written"):
        get(FullDisk(tmp_path, times=1, number=errno.EIO), cache, TargetModel("a.bin"))
    assert cache.bytes == 0


def test_a_version_that_is_known_to_be_broken_is_not_fetched_again(
    store: S3Store, cache: DiskCache, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """One conditional GET says whether there is anything newer."""
    etag = bucket.put(bucket_prefix + T, ONE)
    deadline = time.monotonic() + 30
    with pytest.raises(NotModified):
        fetch(store, cache, T, deadline=deadline, known_broken=etag)
    assert [seen.headers.get("if-none-match") for seen in fault_proxy.seen] == [etag]
    bucket.put(bucket_prefix + T, TWO)
    assert model(fetch(store, cache, T, deadline=deadline, known_broken=etag)) == b"two"


def test_a_store_that_is_away_is_not_asked_about_what_is_on_disk(
    store: S3Store, cache: DiskCache, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """The copy on disk is taken at once; what isn't there is asked for all the same."""
    bucket.put(bucket_prefix + T, ONE)
    deadline = time.monotonic() + 30
    cold = fetch(store, cache, T, deadline=deadline, is_store_away=True)
    assert (cold.tier, model(cold)) == ("store", b"one")
    asked = len(fault_proxy.seen)
    kept = fetch(store, cache, T, deadline=deadline, is_store_away=True)
    assert (kept.tier, kept.stale, model(kept)) == ("disk", True, b"one")
    assert len(fault_proxy.seen) == asked
