"""A folder of objects is one artifact: whole, of one moment, known again by its listing alone."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mms.errors import ModelNotFound, StoreUnavailable
from mms.store.base import Listed, NotModified
from mms.store.disk import DiskCache
from mms.store.fetch import ArtifactError, Fetched, OversizeError, fetch
from mms.store.limits import Limits
from mms.store.local import LocalStore
from mms.store.targets import targets_of
from mms.types import TargetModel
from tests.store.conftest import PAGE, PART
from tests.store.test_s3 import gone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from mms.store.base import ArtifactStore
    from mms.store.s3 import S3Store
    from tests.support.faults import FaultProxy, Seen
    from tests.support.s3 import Bucket

T = TargetModel("us/ny/model/")
FILES = {
    "manifest.json": b"{}",
    "model.onnx": os.urandom(3000),
    "weights/a.bin": os.urandom(3 * PART + 7),
    "weights/empty": b"",
    "vocabulary/a.txt": b"a",
    "vocabulary/b.txt": b"b",
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskCache]:
    opened = DiskCache(tmp_path / "cache", budget_bytes=4 << 20)
    yield opened
    opened.check_valid()
    assert list((tmp_path / "cache/v1/tmp").iterdir()) == []
    opened.close()


class Place:
    """A store and how to change what is in it; keys are relative to its prefix."""

    def __init__(
        self,
        store: ArtifactStore,
        put: Callable[[str, bytes], object],
        delete: Callable[[str], None],
    ) -> None:
        self.store = store
        self.put = put
        self.delete = delete

    def fill(self, files: dict[str, bytes] = FILES) -> None:
        for name, body in files.items():
            self.put(T + name, body)


@pytest.fixture
def on_s3(store: S3Store, bucket: Bucket, bucket_prefix: str) -> Place:
    return Place(
        store,
        lambda key, body: bucket.put(bucket_prefix + key, body),
        lambda key: bucket.delete(bucket_prefix + key),
    )


@pytest.fixture(params=["s3", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        made: Place = request.getfixturevalue("on_s3")
        return made
    root = tmp_path / "models"

    def put(key: str, body: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        if not key.endswith("/"):
            (root / "new").write_bytes(body)
            (root / "new").replace(root / key)

    root.mkdir()
    return Place(LocalStore(root), put, lambda key: (root / key).unlink())


def get(
    store: ArtifactStore,
    cache: DiskCache,
    target: str = T,
    limits: Limits | None = None,
    known_broken: str | None = None,
) -> Fetched:
    return fetch(
        store,
        cache,
        TargetModel(target),
        deadline=time.monotonic() + 30,
        known_broken=known_broken,
        limits=limits or Limits(),
        wait=lambda _: None,
    )


def contents(fetched: Fetched) -> dict[str, bytes]:
    """The files of what was fetched; gives the lease back."""
    with fetched.lease:
        root = fetched.artifact.path
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


def lists(proxy: FaultProxy) -> list[Seen]:
    return [seen for seen in proxy.seen if "list-type=2" in seen.path]


def reads(proxy: FaultProxy) -> list[Seen]:
    return [seen for seen in proxy.seen if "list-type=2" not in seen.path]


def test_a_folder_comes_whole_and_is_known_again(place: Place, cache: DiskCache) -> None:
    """From the store once, then from the disk, and anew when any of its files is another."""
    place.fill()
    first = get(place.store, cache)
    assert (first.tier, first.attempts, first.bytes) == ("store", 1, SIZE)
    assert first.artifact.unpacked_bytes == SIZE
    assert contents(first) == FILES
    again = get(place.store, cache)
    assert (again.tier, again.bytes, again.artifact) == ("disk", 0, first.artifact)
    again.lease.release()
    place.put(T + "weights/a.bin", b"new")
    new = get(place.store, cache)
    assert (new.tier, new.artifact.etag != first.artifact.etag) == ("store", True)
    assert contents(new) == FILES | {"weights/a.bin": b"new"}
    place.delete(T + "weights/empty")
    assert get(place.store, cache).tier == "store"
    assert cache.entries == 1


def test_the_hash_is_that_of_names_and_contents(place: Place, cache: DiskCache) -> None:
    """The same files again have the same hash, others another one."""
    place.fill({"manifest.json": b"{}", "a": b"1"})
    first = get(place.store, cache).artifact.sha256
    place.put(T + "a", b"2")
    second = get(place.store, cache).artifact.sha256
    place.put(T + "a", b"1")
    cache.remove(place.store.id, T)
    assert get(place.store, cache).artifact.sha256 == first != second


def test_a_folder_is_one_listing_and_one_get_for_each_object(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Each in the version listed; big ones in their ranges. Known: the listing alone."""
    on_s3.fill()
    get(on_s3.store, cache).lease.release()
    assert len(lists(fault_proxy)) == 2, "in pages"
    assert fault_proxy.seen[:2] == lists(fault_proxy)
    whole = [seen for seen in reads(fault_proxy) if "range" not in seen.headers]
    assert len(whole) == len({seen.path for seen in whole}) == len(FILES)
    ranges = [seen for seen in reads(fault_proxy) if "range" in seen.headers]
    assert len(ranges) == 3
    assert all(seen.headers.get("if-match") for seen in reads(fault_proxy))
    assert {seen.method for seen in fault_proxy.seen} == {"GET"}
    fault_proxy.seen.clear()
    get(on_s3.store, cache).lease.release()
    assert (len(lists(fault_proxy)), len(reads(fault_proxy))) == (2, 0)
    outcomes = on_s3.store.stats().requests
    assert outcomes["list", "ok"] == 4
    assert outcomes["get", "ok"] == len(FILES)


def test_the_listing_tells_of_the_same_version_as_the_fetch(
    place: Place, cache: DiskCache, deadline: float
) -> None:
    """Who watches a listing sees when a folder that is served has changed."""
    place.fill()
    place.put(T + ".hidden", b"x")
    (candidate,) = targets_of(place.store.list(deadline=deadline))
    fetched = get(place.store, cache)
    fetched.lease.release()
    assert (candidate.target, candidate.etag) == (T, fetched.artifact.etag)
    assert (candidate.size, candidate.objects) == (SIZE, len(FILES))


def test_what_is_hidden_or_a_marker_is_no_file_of_it(place: Place, cache: DiskCache) -> None:
    """Neither fetched nor part of its version; a folder of nothing else isn't found."""
    place.fill({"a": b"1"})
    etag = get(place.store, cache).artifact.etag
    place.fill({"": b"", ".DS_Store": b"x", "d/": b"", ".git/config": b"x", "d/._a": b"x"})
    again = get(place.store, cache)
    assert (again.tier, again.artifact.etag) == ("disk", etag)
    assert contents(again) == {"a": b"1"}
    place.delete(T + "a")
    with pytest.raises(ModelNotFound, match="nothing in this folder"):
        get(place.store, cache)


@pytest.mark.parametrize("name", ["us/ny/model", "us/ny/mod/", "us/ny/model/a/", "other/"])
def test_only_the_folder_itself_is_the_artifact(name: str, place: Place, cache: DiskCache) -> None:
    """Neither its name without the slash, nor a part of its name, nor a file's with one."""
    place.fill({"a": b"1"})
    with pytest.raises(ModelNotFound):
        get(place.store, cache, name)


def test_a_folder_asked_for_without_its_slash_is_explained(place: Place, cache: DiskCache) -> None:
    """A file's name says nothing of slashes."""
    with pytest.raises(ModelNotFound, match="no such object; a folder's name ends with a slash"):
        get(place.store, cache, "us/ny/model")
    with pytest.raises(ModelNotFound, match=r"no such object\Z"):
        get(place.store, cache, "us/ny/model.pkl")


def test_archives_in_a_folder_are_files(place: Place, cache: DiskCache) -> None:
    """What a model has beside it isn't unpacked."""
    place.fill({"m.joblib": b"m", "data.tar.gz": b"not even one"})
    assert contents(get(place.store, cache)) == {"m.joblib": b"m", "data.tar.gz": b"not even one"}


REFUSED = {
    "control character": ({"a\nb": b"1"}, "control characters", Limits()),
    "deep": ({"a/b/c/d": b"1"}, "deeper than 3", Limits(depth=3)),
    "objects": ({f"f{n}": b"1" for n in range(6)}, "more than 5 objects", Limits(members=5)),
    "hidden objects": (
        {f".f{n}": b"1" for n in range(6)} | {"~": b""},
        "than 5 obj",
        Limits(members=5),
    ),
    "bytes": ({"a": b"x" * 60, "b": b"x" * 60}, "more than 100 bytes", Limits(unpacked_bytes=100)),
    "models": (
        {"a.onnx": b"1", "b/c.pkl": b"1"},
        r"several models inside \(a.onnx, b/c.pkl",
        Limits(),
    ),
    "archives": (
        {"ny/a.tar.gz": b"1", "b.tgz": b"1"},
        r"only archives \(b.tgz, ny/a.tar.gz",
        Limits(),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_with_a_folder_is_named_and_known_again(
    case: str, on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """A fault of the artifact, by the listing where that tells; its version is remembered."""
    files, message, limits = REFUSED[case]
    on_s3.fill(files)
    with pytest.raises(ArtifactError, match=message) as caught:
        get(on_s3.store, cache, limits=limits)
    if case in {"objects", "hidden objects", "bytes", "models", "archives"}:
        assert reads(fault_proxy) == [], "before anything is fetched"
    with pytest.raises(NotModified):
        get(on_s3.store, cache, limits=limits, known_broken=caught.value.etag)


class Hostile(LocalStore):
    """A store that lists names which no disk and few servers would take."""

    def __init__(self, root: Path, names: list[str]) -> None:
        super().__init__(root)
        self._names = names

    def list(self, prefix: str = "", *, after: str = "", deadline: float) -> Iterator[Listed]:
        now = datetime.now(UTC)
        for name in self._names:
            yield Listed(key=prefix + name, etag='"1"', size=1, modified=now)

    def read_all(
        self, listed: Sequence[Listed], *, deadline: float
    ) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
        for one in listed:
            yield one, iter((b"x",))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/../../x"], "leaves its folder"),
        (["/etc/x"], "is absolute"),
        (["a/b", "a//b"], "twice"),
        (["a", "a/b"], "file and as a folder"),
        (["x" * 300], "over-long"),
        (["a\0b"], "control characters"),
        (["a\udcff"], "isn't UTF-8"),
    ],
)
def test_names_are_those_of_an_archive(
    names: list[str], message: str, tmp_path: Path, cache: DiskCache
) -> None:
    """A key may hold what a path may not: nothing is written outside."""
    with pytest.raises(ArtifactError, match=message):
        get(Hostile(tmp_path, names), cache)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_several_models_with_a_manifest_or_code_are_for_the_loader(
    place: Place, cache: DiskCache
) -> None:
    """The manifest may name one, a script may take them all."""
    for beside in ("manifest.json", "code/inference.py"):
        files = {"a.pkl": b"1", "b.pkl": b"1", beside: b""}
        place.fill(files)
        assert contents(get(place.store, cache)) == files
        place.delete(T + beside)


def test_a_long_listing_is_followed_no_further_than_the_bound(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """A prefix of a million objects costs two pages here."""
    on_s3.fill({f"{number:03}": b"x" for number in range(3 * PAGE)})
    with pytest.raises(ArtifactError, match="more than 6 objects"):
        get(on_s3.store, cache, limits=Limits(members=6))
    assert len(fault_proxy.seen) == 2


def test_a_folder_that_can_never_fit_is_not_fetched(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Nor is anything that is there evicted for it; its version is known."""
    on_s3.put("small.bin", b"x")
    get(on_s3.store, cache, "small.bin").lease.release()
    on_s3.fill({"a": bytes(3 << 20), "b": bytes(2 << 20)})
    fault_proxy.seen.clear()
    with pytest.raises(OversizeError, match="MMS_DISK_BUDGET") as caught:
        get(on_s3.store, cache)
    assert caught.value.etag
    assert reads(fault_proxy) == []
    assert cache.entries == 1


@pytest.mark.parametrize("way", ["overwritten", "deleted", "added"])
def test_a_change_in_the_middle_starts_over(
    way: str, on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Two moments are never mixed: what was listed is what was read, or it is read again."""
    on_s3.fill()
    expected = dict(FILES)

    def change(seen: Seen) -> None:
        if "model.onnx" not in seen.path:
            return
        fault_proxy.before = None
        if way == "overwritten":
            on_s3.put(T + "weights/a.bin", b"another")
            expected["weights/a.bin"] = b"another"
        elif way == "deleted":
            on_s3.delete(T + "weights/a.bin")
            del expected["weights/a.bin"]
        else:
            on_s3.put(T + "weights/c.bin", b"more")

    fault_proxy.before = change
    fetched = get(on_s3.store, cache)
    assert fetched.attempts == (1 if way == "added" else 2)
    assert contents(fetched) == expected


def test_a_file_changed_under_the_reader_is_noticed_on_disk_too(
    tmp_path: Path, cache: DiskCache
) -> None:
    """As long as it goes on, it is the store's fault."""
    root = tmp_path / "models"
    (root / T).mkdir(parents=True)
    for name in ("a.bin", "b.bin"):
        (root / T / name).write_bytes(b"x")

    class Busy(LocalStore):
        """Whose files are written to between the listing and the read."""

        def read_all(
            self, listed: Sequence[Listed], *, deadline: float
        ) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
            with (root / T / "b.bin").open("ab") as file:
                file.write(b"x")
            return super().read_all(listed, deadline=deadline)

    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        get(Busy(root), cache)
    assert (root / T / "b.bin").read_bytes() == b"x" * 4, "three times"


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ("list-type", "status:503:SlowDown"),
        ("list-type", "reset_body"),
        ("/vocabulary/", "status:503:SlowDown"),
        ("/vocabulary/", "reset"),
        ("/vocabulary/", "stall_body"),
        ("/model.onnx", "truncate"),
        ("/model.onnx", "corrupt"),
        ("/weights/a.bin", "corrupt"),
    ],
)
def test_one_fault_in_the_middle_is_survived(
    part: str, fault: str, on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """One bad answer costs a retry; nothing is still on its way afterwards."""
    on_s3.fill()
    before = threading.active_count()
    fault_proxy.fault(fault, first=1, part=part)
    fetched = get(on_s3.store, cache)
    assert fetched.attempts == 2
    assert contents(fetched) == FILES
    on_s3.store.close()
    assert gone(before)


def test_a_store_that_fails_in_the_middle_leaves_what_the_disk_has(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """The copy on disk is served, said to be stale; without one it is a 503 after three times."""
    on_s3.fill()
    get(on_s3.store, cache).lease.release()
    on_s3.put(T + "model.onnx", b"new")
    fault_proxy.fault("reset", part="/weights/")
    kept = get(on_s3.store, cache)
    assert (kept.tier, kept.stale, contents(kept)) == ("disk", True, FILES)
    cache.remove(on_s3.store.id, T)
    with pytest.raises(StoreUnavailable):
        get(on_s3.store, cache)
    assert cache.bytes == 0


def test_who_may_not_list_is_told_so(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """Once, as not found: the store doesn't tell what is missing from what is denied."""
    on_s3.fill()
    fault_proxy.fault("status:403:AccessDenied")
    with pytest.raises(ModelNotFound, match=r"missing, or no permission to list \(s3:ListBucket\)"):
        get(on_s3.store, cache)
    assert fault_proxy.count("GET") == 1


def test_no_more_than_the_window_is_read_ahead(
    on_s3: Place, fault_proxy: FaultProxy, deadline: float
) -> None:
    """A reader that stops holds the requests back, and closing early ends them."""
    on_s3.fill({f"{number:02}": b"x" * 1000 for number in range(6)})
    listed = list(on_s3.store.list(T, deadline=deadline))
    fault_proxy.seen.clear()
    before = threading.active_count()
    objects = on_s3.store.read_all(listed, deadline=deadline)
    next(objects)
    until = time.monotonic() + 5
    while fault_proxy.count("GET") < 3 and time.monotonic() < until:
        time.sleep(0.01)
    objects.close()
    on_s3.store.close()
    assert gone(before)
    assert fault_proxy.count("GET") == 3


def test_a_dripping_server_cannot_outlast_the_deadline(
    on_s3: Place, cache: DiskCache, fault_proxy: FaultProxy
) -> None:
    """The time of the load covers all of the folder's objects."""
    on_s3.fill()
    fault_proxy.fault("rate:20000", part="/weights/")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"too slow|in time"):
        fetch(on_s3.store, cache, T, deadline=began + 0.8)
    assert time.monotonic() - began < 10
    assert cache.bytes == 0
