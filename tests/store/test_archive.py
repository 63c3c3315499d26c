"""Unpacking: what is right comes out whole, what is wrong is named, nothing leaves the folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms.errors import ModelLoadError, StoreUnavailable
from mms.store.archive import Unpacked, unpack
from mms.store.limits import Limits
from tests.store.streams import BytesStream
from tests.support.s3 import tar_of

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"model/model.joblib": b"m" * 5000, "model/manifest.json": b"{}", "a": b""}


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar_with(*members: tarfile.TarInfo, fmt: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed archive of any members, files filled with their size in ``x``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for one in members:
            archive.addfile(one, io.BytesIO(b"x" * one.size))
    return out.getvalue()


def unpack_bytes(
    body: bytes, dest: Path, name: str = "m.tar.gz", limits: Limits | None = None
) -> Unpacked:
    return unpack(BytesStream(body), name, dest, limits or Limits())


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", ["a/b/m.tar.gz", "m.tgz", "m.tar", "M.TAR.GZ", "m.tzst"])
@pytest.mark.parametrize("packed", ["gz", "zst", ""])
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_an_archive_is_unpacked_whatever_its_compression(
    name: str, packed: Literal["", "gz", "zst"], piece: int, tmp_path: Path
) -> None:
    """A name says that it is an archive, its content says of which kind; the hash is of the raw."""
    body = tar_of(FILES, compression=packed)
    unpacked = unpack(BytesStream(body, piece=piece), name, tmp_path, Limits())
    assert contents(tmp_path) == FILES
    assert unpacked.sha256 == hashlib.sha256(body).hexdigest()
    assert unpacked.bytes == sum(map(len, FILES.values()))
    assert unpacked.files == {name: len(data) for name, data in FILES.items()}


@pytest.mark.parametrize("name", ["x/m.joblib", "m.onnx", "m.npz", "m.gz", "tar", "m.keras"])
def test_any_other_file_is_written_as_it_is(name: str, tmp_path: Path) -> None:
    """What isn't an archive is one file under its own base name; the hash is of its bytes."""
    body = gzip.compress(b"a pickle")
    unpacked = unpack_bytes(body, tmp_path, name)
    assert contents(tmp_path) == {name.rpartition("/")[2]: body}
    assert unpacked.members == 1
    assert unpacked.sha256 == hashlib.sha256(body).hexdigest()


def test_long_names_links_and_modes(tmp_path: Path) -> None:
    """GNU and pax long names are read, links become the files they lead to, set-id bits go."""
    for number, fmt in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        dest = tmp_path / str(number)
        dest.mkdir()
        long = "/".join(["long" * 20] * 4) + "/ü.bin"
        body = tar_with(
            member("z-link", tarfile.SYMTYPE, linkname="d/../d/file"),
            member("d/up", tarfile.SYMTYPE, linkname="../z-link"),
            member(long, size=3),
            member("d/file", size=9, mode=0o6777),
            member("hard", tarfile.LNKTYPE, linkname="./d/file"),
            fmt=fmt,
        )
        assert unpack_bytes(body, dest).bytes == 12
        whole = b"x" * 9
        expected = {"z-link": whole, "d/up": whole, "hard": whole, "d/file": whole, long: b"xxx"}
        assert contents(dest) == expected
        assert not any(path.is_symlink() for path in dest.rglob("*"))
        assert (dest / "d/file").stat().st_mode & 0o7777 == 0o600
        assert (dest / "d").stat().st_mode & 0o7777 == 0o700


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    """What a Mac or a notebook adds is not unpacked, and its data is skipped rightly."""
    hidden = {"._m.joblib": b"x" * 700, ".DS_Store": b"y", ".git/config": b"z", "d/._x": b"w"}
    unpack_bytes(tar_of({**hidden, **FILES}), tmp_path)
    assert contents(tmp_path) == FILES


BIG = Limits(unpacked_bytes=10_000, members=5, depth=3, path_bytes=100)
REFUSED = {
    "absolute": (tar_with(member("/etc/x", size=1)), "absolute"),
    "dot-dot": (tar_with(member("a/../../x", size=1)), "leaves its folder"),
    "inner dot-dot": (tar_with(member("a/../x", size=1)), "leaves its folder"),
    "symlink out": (tar_with(member("l", tarfile.SYMTYPE, linkname="../x")), "leaves its folder"),
    "symlink absolute": (tar_with(member("l", tarfile.SYMTYPE, linkname="/etc")), "absolute"),
    "hardlink out": (tar_with(member("l", tarfile.LNKTYPE, linkname="../x")), "leaves its folder"),
    "link to nothing": (tar_with(member("l", tarfile.LNKTYPE, linkname="x")), "none of its files"),
    "link to itself": (tar_with(member("l", tarfile.SYMTYPE, linkname="l")), "none of its files"),
    "a few headers and no member": (
        b"".join(
            member("x", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) for _ in range(20)
        ),
        "without a member",
    ),
    "link to folder": (
        tar_with(member("d", tarfile.DIRTYPE), member("l", tarfile.SYMTYPE, linkname="d")),
        "none of its files",
    ),
    "through a link": (
        tar_with(member("l", tarfile.SYMTYPE, linkname="."), member("l/x", size=1)),
        "file and as a folder",
    ),
    "device": (tar_with(member("d", tarfile.CHRTYPE)), "device or pipe"),
    "fifo": (tar_with(member("d", tarfile.FIFOTYPE)), "device or pipe"),
    "unknown type": (tar_with(member("d", b"Z")), "unknown type"),
    "twice": (tar_with(member("a", size=1), member("./a", size=1)), "twice"),
    "file and folder": (tar_with(member("a", size=1), member("a/b", size=1)), "as a folder"),
    "folder and file": (tar_with(member("a/b", size=1), member("a", size=1)), "twice"),
    "newline": (tar_with(member("a\nb", size=1)), "control characters"),
    "NUL": (tar_with(member("a", size=1, pax_headers={"path": "a\0b"})), "control characters"),
    "not UTF-8": (
        tar_with(member("a\udcffb", size=1), fmt=tarfile.GNU_FORMAT).replace(b"\xed\xb3", b"\xff"),
        "UTF-8",
    ),
    "over-long": (tar_with(member("a/" * 20 + "x" * 90, size=1)), "over-long"),
    "too deep": (tar_with(member("a/b/c/d", size=1)), "deeper"),
    "too many": (tar_with(*(member(f"f{n}", size=1) for n in range(6))), "more than 5 members"),
    "too big": (tar_with(member("a", size=10_001)), "more than 10,000 bytes"),
    "too big in all": (tar_with(member("a", size=6000), member("b", size=6000)), "10,000 bytes"),
    "too big, hidden": (tar_with(member(".a", size=6000), member(".b", size=6000)), "10,000 byt"),
    "huge claim": (
        tar_with(member("a", size=1, pax_headers={"size": str(1 << 60)})),
        "10,000 bytes",
    ),
    "odd size": (tar_with(member("a", size=1, pax_headers={"size": "-5"})), "no number"),
    "sparse": (tar_with(member("a", pax_headers={"GNU.sparse.major": "1"})), "sparse"),
    "old sparse": (tar_with(member("a", tarfile.GNUTYPE_SPARSE)), "sparse"),
    "huge pax": (tar_with(member("a", pax_headers={"x": "y" * (2 << 20)})), "extended header"),
    "garbage after": (tar_with(member("a", size=1)) + b"garbage", "after its end"),
    "not an archive": (b"\x80\x04model", "neither gzip nor zstd nor tar"),
    "empty": (b"", "it is empty|no tar inside"),
    "gzip of no tar": (gzip.compress(b"x" * 2000), "no tar inside"),
    "gzip garbage after": (gzip.compress(tar_of({}, compression="")) + b"junk", "no gzip"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_and_named(case: str, packed: bool, tmp_path: Path) -> None:
    """Every way to be hostile or broken is a ModelLoadError that says which."""
    body, message = REFUSED[case]
    if packed and not message.startswith(("neither", "no ")):
        body = gzip.compress(body)
    (dest := tmp_path / "dest").mkdir()
    with pytest.raises(ModelLoadError, match=message):
        unpack_bytes(body, dest, limits=BIG)
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]
    assert not any(path.is_symlink() for path in dest.rglob("*"))


def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    """What grows beyond all measure is stopped long before it is unpacked."""
    bomb = gzip.compress(tar_with(member("zeros", size=20 << 20)))
    with pytest.raises(ModelLoadError, match="200 times"):
        unpack_bytes(bomb, tmp_path, limits=Limits(ratio_floor_bytes=1 << 20))
    assert sum(map(len, contents(tmp_path).values())) < 4 << 20


def test_gzip_members_and_padding(tmp_path: Path) -> None:
    """Gzip streams that follow each other are one; zeros after the last are padding."""
    tar = tar_of(FILES, compression="")
    body = gzip.compress(tar[:700]) + gzip.compress(tar[700:]) + b"\0" * 1000
    unpack(BytesStream(body, piece=100), "m.tgz", tmp_path, Limits())
    assert contents(tmp_path) == FILES


def test_a_wrong_gzip_checksum_is_corrupt(tmp_path: Path) -> None:
    """A flipped bit is found, at the latest by the checksum."""
    body = bytearray(tar_of({"m": os.urandom(3000)}))
    body[-6] ^= 1
    with pytest.raises(ModelLoadError, match=r"corrupt.*checksum"):
        unpack_bytes(bytes(body), tmp_path)


def test_a_fault_of_the_store_is_not_the_artifact_s(tmp_path: Path) -> None:
    """StoreUnavailable passes through from any point of the stream."""
    for body in (tar_of(FILES), tar_of(FILES, compression="")):
        for fails_at in (0, 100, len(body) - 1, len(body)):
            (dest := tmp_path / f"{len(body)}-{fails_at}").mkdir()
            with pytest.raises(StoreUnavailable):
                unpack(BytesStream(body, piece=50, fails_at=fails_at), "m.tar", dest, Limits())


class Full:
    """A disk of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.needed = 0

    def expect(self, total: int) -> None:
        if total > self.size:
            raise MemoryError

    def need(self, total: int) -> None:
        self.needed = max(self.needed, total)


def test_room_is_asked_for_before_it_is_taken(tmp_path: Path) -> None:
    """The disk hears of a file that can't fit before its data comes, and never too little."""
    body = tar_of({"a": b"x" * 9000, "b": b"x"}, compression="")
    room = Full(1 << 20)
    unpacked = unpack(BytesStream(body), "m.tar", tmp_path, Limits(), room=room)
    assert room.needed == unpacked.disk_bytes
    assert unpacked.disk_bytes >= sum(f.stat().st_blocks * 512 for f in tmp_path.rglob("*"))
    (dest := tmp_path / "second").mkdir()
    with pytest.raises(MemoryError):
        unpack(BytesStream(body), "m.tar", dest, Limits(), room=Full(100))
    assert contents(dest) == {}


_part = st.sampled_from(["a", "b", "..", ".", "", ".h", "c" * 300, "ü", "\n", "x y"])
_name = st.lists(_part, min_size=1, max_size=5).map("/".join)
_kind = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
_members = st.lists(st.tuples(_name, _kind, _name, st.integers(0, 600)), max_size=6)


@settings(max_examples=100)
@given(members=_members, gnu=st.booleans())
def test_nothing_is_ever_written_outside(
    members: list[tuple[str, bytes, str, int]], gnu: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever names, types and targets an archive has, it stays inside and has no links out."""
    base = tmp_path_factory.mktemp("any")
    (dest := base / "dest").mkdir()
    (base / "a").write_bytes(b"secret")
    body = tar_with(
        *(
            member(name, kind, linkname=link, size=size if kind == tarfile.REGTYPE else 0)
            for name, kind, link, size in members
        ),
        fmt=tarfile.GNU_FORMAT if gnu else tarfile.PAX_FORMAT,
    )
    try:
        unpacked = unpack_bytes(body, dest)
    except ModelLoadError:
        pass
    else:
        assert contents(dest).keys() == unpacked.files.keys()
    assert {path.name for path in base.iterdir()} == {"dest", "a"}
    assert (base / "a").stat().st_nlink == 1
    assert not any(path.is_symlink() for path in base.rglob("*"))


@settings(max_examples=60)
@given(noise=st.binary(max_size=2000), packed=st.booleans())
def test_noise_is_refused_or_unpacked_but_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, packed: bool
) -> None:
    """Any bytes are an archive or a ModelLoadError."""
    head = tar_of({"m": b"x" * 600}, compression="")[:1536]
    body = gzip.compress(head + noise) if packed else head + noise
    with suppress(ModelLoadError):
        unpack_bytes(body, tmp_path_factory.mktemp("noise"))


@pytest.mark.parametrize("packed", [True, False])
def test_no_truncation_passes_for_whole(packed: bool, tmp_path: Path) -> None:
    """Cut anywhere, an archive is refused, or (in a tar's padding only) has lost nothing."""
    body = tar_of({"a": b"x" * 600, "b": b"y"}, compression="gz" if packed else "")
    for cut in range(0, len(body), 1 if packed else 61):
        (dest := tmp_path / str(cut)).mkdir()
        try:
            unpack_bytes(body[:cut], dest)
        except ModelLoadError:
            continue
        assert not packed
        assert contents(dest) == {"a": b"x" * 600, "b": b"y"}


def test_a_chain_of_links_takes_linear_time(tmp_path: Path) -> None:
    """Links that lead to each other one by one are as quick to make as any others."""
    links = [member(f"l{i}", tarfile.SYMTYPE, linkname=f"l{i + 1}") for i in range(9000)]
    begun = time.process_time()
    found = unpack_bytes(tar_with(*links, member("l9000", size=3)), tmp_path, "m.tar")
    assert time.process_time() - begun < 10
    assert found.files["l0"] == 3


def test_folders_that_only_names_bring_are_counted(tmp_path: Path) -> None:
    """Thousands of members could bring thirty folders each."""
    body = tar_with(*(member(f"{i}/a/a/a/a", tarfile.DIRTYPE) for i in range(5)))
    with pytest.raises(ModelLoadError, match="more than 20 folders"):
        unpack_bytes(body, tmp_path, "m.tar", Limits(members=20))


def test_many_tiny_gzip_members_are_refused(tmp_path: Path) -> None:
    """Each costs a new decompressor: a gigabyte of them would take an hour."""
    with pytest.raises(ModelLoadError, match="many gzip members"):
        unpack_bytes(gzip.compress(b"") * 1100, tmp_path)
