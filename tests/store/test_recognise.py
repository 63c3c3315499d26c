"""Content decides among archives; what is no archive stays a file, whatever it is packed with."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mms.errors import ModelLoadError
from mms.store.limits import Limits
from mms.store.recognise import HEAD_BYTES, is_archive, tar_blocks
from tests.support.s3 import tar_of

LIMITS = Limits()
TAR = tar_of({"m.joblib": os.urandom(300_000)}, compression="")
ZSTD = zstandard.ZstdCompressor()
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0" + bytes(4)
ARCHIVES = {
    "tar": TAR,
    "gzip": gzip.compress(TAR),
    "zstd": ZSTD.compress(TAR),
    "zstd after a skippable frame": SKIPPABLE + ZSTD.compress(TAR),
}
PICKLE = pickle.dumps(list(range(500_000)))


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m.joblib", b"x")
    return out.getvalue()


def old_tar() -> bytes:
    """A tar of before POSIX, which has no magic number."""
    info = tarfile.TarInfo("m.joblib")
    info.size = 4
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[257:265] = bytes(8)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"data".ljust(512, b"\0") + bytes(1024)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(
    "name", ["m.tar.gz", "m.tar", "model", "model.tar.gz.1", "model.bin", "m.joblib", "m.zip"]
)
def test_a_tar_is_one_under_any_name_and_packing(kind: str, name: str) -> None:
    """Also where the name says another kind of archive, or none."""
    head = ARCHIVES[kind][:HEAD_BYTES]
    assert is_archive(name, head, LIMITS)
    blocks = tar_blocks(head, iter((ARCHIVES[kind],)), LIMITS)
    assert b"".join(blocks) == TAR


def test_a_tar_without_a_magic_number_is_one() -> None:
    """Its header's checksum tells."""
    assert is_archive("model", old_tar(), LIMITS)


FILES = {
    "pickle": PICKLE,
    "pickle in gzip": gzip.compress(PICKLE),
    "pickle in zstd": ZSTD.compress(PICKLE),
    "pickle in xz": lzma.compress(PICKLE),
    "zip": zipped(),
    "zeros": bytes(10_000),
    "zeros in gzip": gzip.compress(bytes(10_000)),
    "broken gzip": gzip.compress(PICKLE)[:5] + b"\xff" * 100,
    "broken zstd": ZSTD.compress(PICKLE)[:8] + b"\xff" * 100,
    "short": b"\x1f",
    "empty": b"",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ["m.joblib", "m.pkl", "m.npz", "m.skops", "model", "m.joblib.gz"])
def test_what_holds_no_tar_is_a_file(kind: str, name: str) -> None:
    """Compressed pickles, and models that are zip files within, are left as they are."""
    assert not is_archive(name, FILES[kind][:HEAD_BYTES], LIMITS)


@pytest.mark.parametrize("name", ["m.zip", "m.tar.bz2", "M.TAR.XZ", "m.7z"])
def test_an_archive_of_another_kind_is_refused_by_name(name: str) -> None:
    """And the message says what to use."""
    with pytest.raises(ModelLoadError, match=r"use \.tar\.gz, .*\.tar\.zst"):
        is_archive(name, b"x", LIMITS)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (zipped(), "zip archive: use"),
        (bz2.compress(TAR), "bzip2: use"),
        (lzma.compress(TAR), "xz: use"),
        (b"", "it is empty"),
        (b"a text", "neither gzip nor zstd nor tar"),
        (gzip.compress(PICKLE), "gzip, but with no tar inside"),
        (ZSTD.compress(PICKLE), "zstd, but with no tar inside"),
    ],
)
def test_what_is_only_named_like_an_archive_is_named(body: bytes, what: str) -> None:
    """With what it is, and for another kind of archive what to use."""
    assert is_archive("m.tar.gz", body, LIMITS)
    with pytest.raises(ModelLoadError, match=what):
        tar_blocks(body, iter((body,)), LIMITS)


@settings(max_examples=100)
@given(
    noise=st.binary(max_size=600), begins=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5/\xfd"])
)
def test_no_content_is_beyond_it(noise: bytes, begins: bytes) -> None:
    """Any bytes are an archive or a file: nothing is raised for a name that promises nothing."""
    assert is_archive("model", begins + noise, LIMITS) in {True, False}
