"""Artifacts that are broken or hostile: refused by name, once, and with nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant, constant_archive, dumped
from tests.support.odd_models import Odd, SlowToLoad
from tests.support.s3 import Bucket, tar_of
from tests.support.server import until

pytestmark = pytest.mark.e2e

GOOD = dumped(constant(1.0))
ZSTD = tar_of({"model.joblib": GOOD}, compression="zst")
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, bucket: Bucket
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("artifacts")
    with world(s3_server, bucket, folder) as made:
        yield made
        assert made.losses() == [], "no worker was lost on any of it"


def member(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar_with(odd: tarfile.TarInfo) -> bytes:
    """An archive of a good model and one odd member without data."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        model = member("model.joblib", size=len(GOOD))
        archive.addfile(model, io.BytesIO(GOOD))
        archive.addfile(odd)
    return out.getvalue()


def many_members() -> bytes:
    return tar_of({f"f{number}": b"" for number in range(10_001)})


def announcing(size: int) -> bytes:
    """A header that says how big its file is, and nothing more."""
    return member("model.joblib", size=size).tobuf() + b"\0" * 1024


def corrupt_gzip() -> bytes:
    whole = bytearray(constant_archive(1.0))
    whole[-8] ^= 0xFF  # of the checksum
    return bytes(whole)


def zeros() -> bytes:
    """A gzip that unpacks to a thousand times its size, with a tar header in front."""
    size = 100 << 20
    packer = zlib.compressobj(wbits=31)
    head = packer.compress(member("model.joblib", size=size).tobuf())
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20))
    return head + body + packer.flush()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model.joblib", GOOD)
    return out.getvalue()


def corrupt_zstd() -> bytes:
    return ZSTD[:-1] + bytes([ZSTD[-1] ^ 0xFF])  # of the checksum


def zstd_window() -> bytes:
    """A frame that asks for two gigabytes of memory."""
    return b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(100)


def zstd_zeros() -> bytes:
    head = member("model.joblib", size=200 << 20).tobuf()
    return zstandard.ZstdCompressor().compress(head + bytes(200 << 20))


def pickled_call(function: object, *args: object) -> bytes:
    class Call:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return function, args

    return pickle.dumps({"model": Call()})


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "corrupt-gzip": ("m.tar.gz", corrupt_gzip(), "corrupt"),
    "truncated-gzip": ("m.tar.gz", constant_archive(1.0)[:-20], "truncated"),
    "truncated-tar": ("m.tar", tar_of({"a": GOOD}, compression="")[:700], "truncated"),
    "no-archive": ("m.tar.gz", b"this is a text", "not an archive"),
    "html-archive": ("m.tar.gz", HTML, "not an archive"),
    "gzip-of-text": ("m.tar.gz", gzip.compress(b"a text" * 200), "no tar inside"),
    "empty-archive": ("m.tar.gz", tar_of({}), "no model inside"),
    "no-model": ("m.tar.gz", tar_of({"README.md": b"hello"}), "README.md"),
    "several-models": ("m.tar.gz", tar_of({"a.joblib": GOOD, "b.joblib": GOOD}), "a.joblib, b.job"),
    "parent": ("m.tar.gz", tar_with(member("../escaped")), "'../escaped'"),
    "deep-parent": ("m.tar.gz", tar_with(member("a/../../escaped")), "leaves its folder"),
    "absolute": ("m.tar.gz", tar_with(member("/tmp/mms-escaped")), "escaped' is absolute"),
    "symlink": (
        "m.tar.gz",
        tar_with(member("x.joblib", type=tarfile.SYMTYPE, linkname="../../../../etc/passwd")),
        "leaves its folder",
    ),
    "absolute-symlink": (
        "m.tar.gz",
        tar_with(member("x.joblib", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "leaves its folder",
    ),
    "hardlink": (
        "m.tar.gz",
        tar_with(member("x.joblib", type=tarfile.LNKTYPE, linkname="../escaped")),
        "leaves its folder",
    ),
    "dangling-link": (
        "m.tar.gz",
        tar_with(member("x.joblib", type=tarfile.LNKTYPE, linkname="nowhere")),
        "leads to none of its files",
    ),
    "device": ("m.tar.gz", tar_with(member("null", type=tarfile.CHRTYPE)), "device"),
    "fifo": ("m.tar.gz", tar_with(member("pipe", type=tarfile.FIFOTYPE)), "device or pipe"),
    "bomb-ratio": ("m.tar.gz", zeros(), "200 times its size"),
    "bomb-members": ("m.tar.gz", many_members(), "more than 10,000 members"),
    "bomb-bytes": ("m.tar", announcing(1 << 37), "unpacks to more than"),
    "short-of-announced": ("m.tar", announcing(1 << 20), "truncated"),
    "own-code": (
        "m.tar.gz",
        tar_of({"model.joblib": GOOD, "code/inference.py": b"raise SystemExit"}),
        "code/inference.py",
    ),
    "own-code-only": ("m.tar.gz", tar_of({"code/inference.py": b"1/0"}), "code/inference.py"),
    "empty-object": ("m.joblib", b"", "empty file"),
    "empty-onnx": ("m.onnx", b"", "empty file"),
    "empty-archive-object": ("m.tar.gz", b"", "not an archive"),
    "html": ("m.joblib", HTML, "an HTML page"),
    "xml-error": ("m.onnx", b"<?xml version='1.0'?><Error/>", "error page"),
    "wrong-suffix": ("m.joblib", zipped(), "a zip archive"),
    "zip": ("m.zip", zipped(), "use .tar.gz"),
    "zip-named-archive": ("m.tar.gz", zipped(), "a zip archive: use .tar.gz"),
    "bzip2": ("m.tar.bz2", bz2.compress(tar_of({"m.joblib": GOOD})), "use .tar.gz"),
    "corrupt-zstd": ("m.tar.zst", corrupt_zstd(), "checksum is wrong"),
    "truncated-zstd": ("m.tar.zst", ZSTD[:-5], "truncated"),
    "zstd-window": ("m.tar.zst", zstd_window(), "zstd window of 2,147,483,648 bytes"),
    "bomb-zstd": ("m.tar.zst", zstd_zeros(), "200 times its size"),
    "manifest-syntax": (
        "m.tar.gz",
        tar_of({"model.joblib": GOOD, "manifest.json": b'{"entry": '}),
        "manifest.json",
    ),
    "manifest-entry-missing": (
        "m.tar.gz",
        tar_of({"model.joblib": GOOD, "manifest.json": b'{"entry": "other.joblib"}'}),
        "other.joblib",
    ),
    "manifest-entry-outside": (
        "m.tar.gz",
        tar_of({"model.joblib": GOOD, "manifest.json": b'{"entry": "../../x"}'}),
        "../../x",
    ),
    "manifest-format": (
        "m.tar.gz",
        tar_of({"model.joblib": GOOD, "manifest.json": b'{"format": "nonsense"}'}),
        "'nonsense'",
    ),
    "onnx-garbage": ("m.onnx", os.urandom(4096), "m.onnx"),
    "onnx-text": ("m.onnx", b"hello " * 100, "a text"),
    "truncated-joblib": ("m.joblib", GOOD[: len(GOOD) // 2], "is corrupt"),
    "not-a-model": ("m.joblib", dumped({"just": "a dict"}), "dict"),
    "unfitted": ("m.joblib", dumped(type(constant(1.0))()), "fitted"),
    "system": ("m.joblib", pickled_call(os.system, "true"), "system"),
    "own-class": ("m.joblib", dumped(Odd()), "MMS_ALLOW_GLOBALS=tests.support.odd_models:Odd"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_artifact_is_refused_by_name_and_once(home: World, kind: str) -> None:
    """422 that says which; the next request doesn't fetch it again; nothing stays in the making."""
    name, body, says = BROKEN[kind]
    target = f"{kind}/{name}"
    home.put(target, body)
    first = home.ask(target, {"instances": ROW})
    assert (first.status, first.code) == (422, "ModelLoadError"), first
    assert says in first.message
    second = home.ask(target, {"instances": ROW})
    assert (second.status, second.message) == (422, first.message)
    assert len(home.gets(target)) == 1
    assert "" not in home.on_disk()
    assert not Path("/tmp/mms-escaped").exists()
    assert not list(home.server.folder.rglob("*escaped*"))


@pytest.mark.parametrize("wrapped", ["bare", "gzip", "archive", "protocol-0"])
def test_a_pickle_that_would_run_something_runs_nothing(
    home: World, tmp_path: Path, wrapped: str
) -> None:
    """The canary stays absent; the message names what was asked for and how to allow it."""
    canary = tmp_path / "canary"
    body = pickled_call(os.system, f"touch {canary}")
    target = f"evil-{wrapped}/m.joblib"
    if wrapped == "gzip":
        body = gzip.compress(body)
    elif wrapped == "archive":
        target, body = f"evil-{wrapped}/m.tar.gz", tar_of({"model.joblib": body})
    elif wrapped == "protocol-0":
        body = f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()
    home.put(target, body)
    answer = home.ask(target, {"instances": ROW})
    assert (answer.status, answer.code) == (422, "ModelLoadError")
    assert "posix:system" in answer.message
    assert "MMS_ALLOW_GLOBALS=posix:system" in answer.message
    assert not canary.exists()


def test_a_mended_artifact_is_served_without_waiting(home: World) -> None:
    """Under a new ETag it starts afresh, though the old one's failure is still remembered."""
    target = "mended/m.tar.gz"
    home.put(target, b"broken")
    assert home.ask(target, {"instances": ROW}).status == 422
    home.put(target, constant_archive(2.0))
    until(lambda: home.ask(target, {"instances": ROW}).status == 200, "it is served")
    assert home.ask(target, {"instances": ROW}).json() == {"predictions": [2.0]}
    first, second = home.gets(target)
    assert "if-none-match" not in first.headers
    assert "if-none-match" in second.headers, "it was looked for while the failure was remembered"


def test_a_mended_artifact_that_was_on_disk_is_served(home: World) -> None:
    """The same where the broken one could be unpacked, and fails only in the worker."""
    target = "mended-deeper/m.tar.gz"
    home.put(target, tar_of({"model.joblib": dumped(Odd())}))
    assert home.ask(target, {"instances": ROW}).status == 422
    home.put(target, constant_archive(3.0))
    until(lambda: home.ask(target, {"instances": ROW}).status == 200, "it is served")
    assert home.ask(target, {"instances": ROW}).json() == {"predictions": [3.0]}


def test_a_broken_artifact_that_is_removed_is_not_found(home: World) -> None:
    """The memory of its failure doesn't outlive it for long."""
    target = "removed/m.tar.gz"
    home.put(target, b"broken")
    assert home.ask(target, {"instances": ROW}).status == 422
    home.bucket.delete(home.prefix + target)
    until(lambda: home.ask(target, {"instances": ROW}).status == 404, "it is gone")


def test_a_directory_marker_is_no_model(home: World) -> None:
    """The empty object that consoles make of a folder is neither served nor in the way."""
    home.put("marker/", b"")
    assert home.ask("marker/", {"instances": ROW}).status == 404
    home.put("folder/", b"")
    home.put("folder/m.joblib", GOOD)
    assert home.ask("folder/m.joblib", {"instances": ROW}).status == 200
    assert home.ask("folder/", {"instances": ROW}).status == 200
    assert home.ask("folder", {"instances": ROW}).status == 404


def test_allowed_names_let_one_through(tmp_path: Path, s3_server: S3Server, bucket: Bucket) -> None:
    """MMS_ALLOW_GLOBALS admits exactly what it names."""
    allowed = {"MMS_ALLOW_GLOBALS": "tests.support.odd_models:Odd"}
    with world(s3_server, bucket, tmp_path, **allowed) as made:
        made.put("odd.joblib", dumped(Odd()))
        made.put("slow.joblib", dumped(SlowToLoad(0.0)))
        assert made.ask("odd.joblib", [[0, 0]]).status == 200
        refused = made.ask("slow.joblib", [[0, 0]])
        assert refused.status == 422
        assert "tests.support.odd_models:SlowToLoad" in refused.message
