"""The disk tier: bounded, whole after any kill, and never without what is in use."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mms.errors import InsufficientStorage, NoRoom, ValidationError
from mms.store.archive import unpack
from mms.store.disk import DiskCache, short_version
from mms.store.layout import CacheInUseError
from mms.store.limits import Limits
from tests.store.streams import BytesStream

if TYPE_CHECKING:
    from mms.store.leases import Lease, Reservation

STORE = "s3://b/p/"
BUDGET = 1 << 20
ENTRY = 100_000 + 5 * 4096 + 1000  # at most what an entry of 100,000 bytes takes


def put(cache: DiskCache, target: str, *, etag: str = '"1"', body: bytes = b"x" * 100_000) -> Lease:
    with cache.reserve(0) as room:
        unpacked = unpack(BytesStream(body), "m.joblib", room.folder, Limits(), room=room)
        return room.commit(STORE, target, etag, unpacked)


def open_cache(root: Path, budget: int = BUDGET) -> DiskCache:
    ticks = itertools.count(time.time_ns(), 1000)
    return DiskCache(root, budget_bytes=budget, clock=lambda: next(ticks))


def found(cache: DiskCache, target: str) -> bool:
    lease = cache.lookup(STORE, target)
    if lease is not None:
        assert (lease.artifact.path / "m.joblib").exists()
        lease.release()
    return lease is not None


def disk_use(root: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*"))


def test_what_was_put_is_found_also_after_a_restart(tmp_path: Path) -> None:
    """An entry comes back with its etag, hash and files, from the next server too."""
    cache = open_cache(tmp_path)
    with put(cache, "a", etag='"abc-1"') as lease:
        first = lease.artifact
        assert first.version == "abc1"
        assert first.unpacked_bytes == 100_000
    assert cache.bytes <= ENTRY
    cache.close()
    again = open_cache(tmp_path)
    with again.lookup(STORE, "a") or pytest.fail("lost") as lease:
        assert lease.artifact == first
        assert (lease.artifact.path / "m.joblib").read_bytes() == b"x" * 100_000
    assert again.lookup("s3://other/", "a") is None
    assert again.lookup(STORE, "b") is None
    again.close()


def test_the_least_recently_used_goes_also_across_a_restart(tmp_path: Path) -> None:
    """The order of use decides what is evicted, and survives a restart."""
    cache = open_cache(tmp_path, 4 * ENTRY)
    for name in "abcd":
        put(cache, name).release()
    assert found(cache, "a")
    cache.close()
    cache = open_cache(tmp_path, 4 * ENTRY)
    put(cache, "e").release()
    assert [name for name in "abcde" if found(cache, name)] == ["a", "c", "d", "e"]
    cache.close()
    cache = open_cache(tmp_path, 2 * ENTRY)  # with a smaller budget the oldest go at once
    assert [name for name in "abcde" if found(cache, name)] == ["d", "e"]
    cache.close()


def test_what_is_leased_stays(tmp_path: Path) -> None:
    """Room that is all in use is NoRoom, what is over the whole budget InsufficientStorage."""
    cache = open_cache(tmp_path, 2 * ENTRY)
    held, second = put(cache, "a"), put(cache, "b")
    with pytest.raises(NoRoom):
        put(cache, "c")
    with pytest.raises(InsufficientStorage, match="MMS_DISK_BUDGET"):
        put(cache, "c", body=b"x" * 300_000)
    assert repr(cache).startswith("<DiskCache [0 idle, 2 leased")
    second.release()
    second.release()  # twice is once
    put(cache, "c").release()
    assert (held.artifact.path / "m.joblib").exists()
    assert not second.artifact.path.exists()
    held.release()
    cache.check_valid()
    cache.close()


def test_evictions_are_told(tmp_path: Path) -> None:
    """Who needed room hears what went for it."""
    cache = open_cache(tmp_path, 2 * ENTRY)
    put(cache, "a").release()
    put(cache, "b").release()
    with cache.reserve(150_000) as room:
        assert [entry.target for entry in room.evicted] == ["a", "b"]
        assert disk_use(tmp_path) < 50_000
    assert cache.bytes == 0
    put(cache, "c").release()
    assert [entry.target for entry in cache.shed(1)] == ["c"]
    assert cache.shed(1) == []
    cache.close()


def test_a_newer_version_replaces_the_older(tmp_path: Path) -> None:
    """The old version goes at once, or when its last lease ends; never before."""
    cache = open_cache(tmp_path)
    old = put(cache, "a", etag='"1"')
    new = put(cache, "a", etag='"2"')
    assert (old.artifact.path / "m.joblib").exists()
    with cache.lookup(STORE, "a") or pytest.fail("lost") as lease:
        assert lease.etag == '"2"'
    old.release()
    assert not old.artifact.path.exists()
    new.release()
    put(cache, "a", etag='"3"').release()
    assert not new.artifact.path.exists()
    assert cache.entries == 1
    cache.close()


def test_removed_is_gone(tmp_path: Path) -> None:
    """Remove takes an idle entry from the disk, and a leased one from the index."""
    cache = open_cache(tmp_path)
    held = put(cache, "a")
    assert cache.remove(STORE, "a")
    assert cache.lookup(STORE, "a") is None
    assert (held.artifact.path / "m.joblib").exists()
    held.release()
    assert not held.artifact.path.exists()
    assert not cache.remove(STORE, "a")
    assert cache.bytes == 0
    cache.close()


def test_an_unfinished_reservation_leaves_nothing(tmp_path: Path) -> None:
    """Left without a commit, space and files are given back."""
    cache = open_cache(tmp_path)
    with pytest.raises(RuntimeError), cache.reserve(5000) as room:  # noqa: PT012
        (room.folder / "part").write_bytes(b"x" * 5000)
        raise RuntimeError
    assert not room.folder.exists()
    assert cache.bytes == 0
    cache.close()


@pytest.mark.parametrize("damage", ["file gone", "file cut", "no meta", "bad meta", "odd meta"])
def test_a_damaged_entry_is_no_entry(damage: str, tmp_path: Path) -> None:
    """A cleaner of temporary files or a crash of the machine can't make a half model load."""
    cache = open_cache(tmp_path)
    with put(cache, "a") as lease:
        folder = lease.artifact.path.parent
    restart = "meta" in damage
    if restart:
        cache.close()
    match damage:
        case "file gone":
            (folder / "files/m.joblib").unlink()
        case "file cut":
            os.truncate(folder / "files/m.joblib", 5)
        case "no meta":
            (folder / "meta.json").unlink()
        case "bad meta":
            (folder / "meta.json").write_text('{"id": ')
        case _:
            meta = json.loads((folder / "meta.json").read_text())
            (folder / "meta.json").write_text(json.dumps({**meta, "bytes": -1}))
    if restart:
        cache = open_cache(tmp_path)
    assert cache.lookup(STORE, "a") is None
    assert not folder.exists()
    assert cache.bytes == 0
    cache.check_valid()
    cache.close()


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second is told so in one line that names the setting; the first's end frees it."""
    cache = open_cache(tmp_path)
    with pytest.raises(CacheInUseError, match="MMS_CACHE_DIR"):
        open_cache(tmp_path)
    cache.close()
    open_cache(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """No cache folder is a wrong setting, said in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(ValidationError, match="MMS_CACHE_DIR"):
        open_cache(tmp_path / "file" / "cache")


def test_a_folder_in_memory_is_known(tmp_path: Path) -> None:
    """A cache on tmpfs is memory and says so."""
    cache = open_cache(tmp_path)
    kinds = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout
    assert cache.is_memory() == (kinds.strip() in {"tmpfs", "ramfs"})
    cache.close()
    if os.access("/dev/shm", os.W_OK):
        shm = Path("/dev/shm") / f"mms-test-{os.getpid()}"
        cache = open_cache(shm)
        assert cache.is_memory()
        cache.close()
        for path in sorted(shm.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        shm.rmdir()


CROWD = """
import sys, threading
from contextlib import suppress
from pathlib import Path
from mms.errors import NoRoom
from tests.store.test_disk import BUDGET, put, open_cache
cache = open_cache(Path(sys.argv[1]), BUDGET)
print("up", flush=True)
def work(who):
    for n in range(1_000_000):
        with suppress(NoRoom):
            put(cache, f"{who}-{n % 5}", etag=str(n), body=b"x" * (n * 31_337 % 250_000)).release()
for who in range(3):
    threading.Thread(target=work, args=(who,)).start()
"""


def test_the_budget_holds_on_the_disk_itself(tmp_path: Path) -> None:
    """Whenever one stops threads that all put at once, the disk holds no more than the budget."""
    child = subprocess.Popen(
        [sys.executable, "-c", CROWD, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    uses = [0]
    deadline = time.monotonic() + 60
    while len(uses) <= 60 or (max(uses) <= BUDGET / 3 and time.monotonic() < deadline):
        threading.Event().wait(0.005)
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        uses.append(disk_use(tmp_path / "v1"))
        child.send_signal(signal.SIGCONT)
    child.kill()
    child.wait(30)
    child.stdout.close()
    assert BUDGET / 3 < max(uses) <= BUDGET


CHILD = """
import sys, itertools
from pathlib import Path
from tests.store.test_disk import put, open_cache
cache = open_cache(Path(sys.argv[1]))
print("up", flush=True)
for n in itertools.count():
    put(cache, f"m{n % 7}", etag=str(n), body=bytes([n % 256]) * (50_000 + n % 1000)).release()
"""


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.12])
def test_a_kill_at_any_instant_leaves_whole_models_only(delay: float, tmp_path: Path) -> None:
    """After SIGKILL in the middle of work, the next start finds whole entries and no leftovers."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    threading.Event().wait(delay)  # any instant will do
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    cache = open_cache(tmp_path)
    assert list((tmp_path / "v1/tmp").iterdir()) == []
    for n in range(7):
        lease = cache.lookup(STORE, f"m{n}")
        if lease is not None:
            serial = int(lease.etag)
            body = (lease.artifact.path / "m.joblib").read_bytes()
            assert body == bytes([serial % 256]) * (50_000 + serial % 1000)
            lease.release()
    cache.check_valid()
    put(cache, "later").release()
    cache.close()


@pytest.mark.parametrize(
    ("etag", "version"),
    [('"d41d8cd98f00b204e9800998ecf8427e-25"', "d41d8cd98f00"), ('""', "0"), ("ü-é", "0")],
)
def test_a_version_is_short_and_plain(etag: str, version: str) -> None:
    """The public form of an ETag has one to twelve letters and digits."""
    assert short_version(etag) == version


class DiskCacheMachine(RuleBasedStateMachine):
    """Any order of calls keeps the accounting right, the budget, and what is leased."""

    leases: Bundle[Lease] = Bundle("leases")
    rooms: Bundle[Reservation] = Bundle("rooms")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.cache = open_cache(self.root, 5 * ENTRY)
        self.held: dict[int, Lease] = {}
        self.etags = itertools.count()

    def keep(self, lease: Lease) -> Lease:
        self.held[id(lease)] = lease
        return lease

    @rule(target=leases, name=st.sampled_from("abcdefg"), size=st.integers(0, 250_000))
    def put(self, name: str, size: int) -> Lease:
        try:
            lease = put(self.cache, name, etag=str(next(self.etags)), body=b"x" * size)
        except NoRoom:
            assert self.held or self.cache.bytes
            return multiple()  # type: ignore[return-value]
        assert found(self.cache, name)
        return self.keep(lease)

    @rule(target=leases, name=st.sampled_from("abcdefg"))
    def look(self, name: str) -> Lease:
        lease = self.cache.lookup(STORE, name)
        return multiple() if lease is None else self.keep(lease)  # type: ignore[return-value]

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        lease.release()
        self.held.pop(id(lease), None)

    @rule(target=rooms, size=st.integers(0, 6 * ENTRY))
    def reserve(self, size: int) -> Reservation:
        try:
            return self.cache.reserve(size)
        except NoRoom:
            assert self.held or self.cache.bytes
        except InsufficientStorage:
            assert size > 5 * ENTRY
        return multiple()  # type: ignore[return-value]

    @rule(room=rooms)
    def give_up(self, room: Reservation) -> None:
        with room:
            pass

    @rule(name=st.sampled_from("abcdefg"))
    def remove(self, name: str) -> None:
        self.cache.remove(STORE, name)
        assert self.cache.lookup(STORE, name) is None

    @invariant()
    def valid(self) -> None:
        self.cache.check_valid()
        for lease in self.held.values():
            assert (lease.artifact.path / "m.joblib").exists()

    def teardown(self) -> None:
        for lease in self.held.values():
            lease.release()
        names = {name for name in "abcdefg" if found(self.cache, name)}
        self.cache.close()
        again = open_cache(self.root, 5 * ENTRY)
        assert {name for name in "abcdefg" if found(again, name)} == names
        again.close()
        self.folder.cleanup()


TestDiskCacheMachine = DiskCacheMachine.TestCase
TestDiskCacheMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
