"""Every kind of artifact, from a bucket and from a local folder, and what it costs to get it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, assert_log_is_clean, world
from tests.support.external_onnx import WEIGHTS, external_onnx, with_digests
from tests.support.faults import FaultProxy, Seen
from tests.support.models import ROW, constant, constant_archive, dumped
from tests.support.processes import file_bytes
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e

MODEL = {"model.joblib": dumped(constant(7.0))}
ONNX = with_digests(external_onnx(7.0), entry="model.onnx", format="onnx")
LOOSE = {
    "model.joblib": MODEL["model.joblib"],
    "manifest.json": b'{"entry": "model.joblib"}',
    "second.joblib": dumped(constant(9.0)),
    "data/table.tar.gz": b"not an archive at all",
    ".DS_Store": b"x",
}

OBJECTS: dict[str, tuple[str, bytes]] = {
    "tar.gz": ("m.tar.gz", tar_of(MODEL)),
    "tgz": ("m.tgz", tar_of(MODEL)),
    "tar": ("m.tar", tar_of(MODEL, compression="")),
    "tar.zst": ("m.tar.zst", tar_of(MODEL, compression="zst")),
    "tzst": ("m.tzst", tar_of(MODEL, compression="zst")),
    "tar named tar.gz": ("m.tar.gz", tar_of(MODEL, compression="")),
    "zstd named tar.gz": ("m.tar.gz", tar_of(MODEL, compression="zst")),
    "gzip named tar": ("m.tar", tar_of(MODEL)),
    "gzip named zip": ("m.zip", tar_of(MODEL)),
    "archive without an ending": ("model", tar_of(MODEL)),
    "archive of a version": ("model.tar.gz.1", tar_of(MODEL)),
    "archive named bin": ("deep/er/model.bin", tar_of(MODEL, compression="zst")),
    "archive named joblib": ("m.joblib", tar_of(MODEL)),
    "joblib": ("m.joblib", MODEL["model.joblib"]),
    "joblib without an ending": ("model", MODEL["model.joblib"]),
    "compressed joblib": ("m.joblib", dumped(constant(7.0), compress=3)),
    "pickle in gzip": ("m.pkl.gz", gzip.compress(MODEL["model.joblib"])),
    "external data in an archive": ("m.tar.zst", tar_of(ONNX, compression="zst")),
}
FOLDERS: dict[str, dict[str, bytes]] = {
    "one file": MODEL,
    "deep": {"a/b/model.joblib": MODEL["model.joblib"], "README.md": b"hello"},
    "manifest": LOOSE,
    "external data": ONNX,
    "unicode ü+&": {"mödel +.joblib": MODEL["model.joblib"]},
}
TARGETS = {
    **{f"{kind}/{name}": {"": body} for kind, (name, body) in OBJECTS.items()},
    **{f"folder {kind}/": files for kind, files in FOLDERS.items()},
}


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, bucket: Bucket
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("every-artifact")
    with world(s3_server, bucket, folder) as made:
        yield made
        assert made.losses() == []


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a folder that holds every artifact."""
    folder = tmp_path_factory.mktemp("local")
    for target, files in TARGETS.items():
        for name, body in files.items():
            path = folder / "models" / f"{target}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    with Server(folder / "server", {"MMS_MODELS": str(folder / "models")}) as server:
        yield server
    assert_log_is_clean(server)


def put(home: World, target: str, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        home.put(target + name, body)


def listings(proxy: FaultProxy, target: str) -> list[Seen]:
    wanted = quote(target, safe="")
    return [seen for seen in proxy.seen if "list-type=2" in seen.path and wanted in seen.path]


def reads(home: World, target: str) -> list[Seen]:
    """The GETs for this artifact's objects."""
    path = quote(home.prefix + target)
    return [seen for seen in home.proxy.seen if path in seen.path.partition("?")[0]]


def ask(server: Server, target: str) -> Response:
    header = target.encode().decode("latin-1")  # a target's bytes are UTF-8
    return server.invoke(header, {"instances": ROW})


def answers(server: Server, target: str, value: float = 7.0) -> Response:
    answer = ask(server, target)
    assert answer.status == 200, (target, answer)
    assert answer.json()["predictions"] in ([value], [[value]])
    return answer


def unload(server: Server, target: str) -> None:
    """Out of memory; it stays on the disk."""
    assert server.request("DELETE", f"/models/{quote(target, safe='')}").status == 200


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_one_get_and_known_again(home: World, kind: str) -> None:
    """Whatever it is, under whatever name; from the disk tier after one conditional GET."""
    target = f"{kind}/{OBJECTS[kind][0]}"
    put(home, target, TARGETS[target])
    cold = answers(home.server, target)
    unload(home.server, target)
    warm = answers(home.server, target)
    assert (cold.tier, warm.tier) == ("store", "disk")
    first, second = reads(home, target)
    assert "if-none-match" not in first.headers
    assert "if-none-match" in second.headers
    assert listings(home.proxy, target) == []


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_one_listing_and_a_get_an_object(home: World, kind: str) -> None:
    """From the disk tier after the listing alone; a new object makes it another version."""
    target = f"folder {kind}/"
    put(home, target, TARGETS[target])
    cold = answers(home.server, target)
    files = [name for name in FOLDERS[kind] if not name.startswith(".")]
    assert len(listings(home.proxy, target)) == 1
    assert len(reads(home, target)) == len(files)
    assert all("if-match" in seen.headers for seen in reads(home, target))
    unload(home.server, target)
    warm = answers(home.server, target)
    assert len(listings(home.proxy, target)) == 2
    assert len(reads(home, target)) == len(files)
    home.put(f"{target}notes.txt", b"new")
    unload(home.server, target)
    new = answers(home.server, target)
    assert (cold.tier, warm.tier, new.tier) == ("store", "disk", "store")
    version = "x-mms-model-version"
    assert cold.headers[version] == warm.headers[version] != new.headers[version]


@pytest.mark.parametrize("target", TARGETS)
def test_a_local_folder_has_the_same_artifacts(local: Server, target: str) -> None:
    """The same answers, and the disk tier between."""
    cold = answers(local, target)
    unload(local, target)
    assert (cold.tier, answers(local, target).tier) == ("store", "disk")


def test_a_folder_without_its_slash_is_not_found(home: World, local: Server) -> None:
    """One target has one name; and an empty folder is none."""
    put(home, "folder one file/", FOLDERS["one file"])
    home.put("empty/", b"")
    for server in (home.server, local):
        for target in ("folder one file", "folder one/", "empty/"):
            answer = ask(server, target)
            assert (answer.status, answer.code) == (404, "ModelNotFound"), target


def test_a_file_that_is_not_what_the_manifest_says_is_refused(home: World) -> None:
    """Weights beside an ONNX model as much as any other file, in a folder and in an archive."""
    spoilt = bytearray(ONNX[WEIGHTS])
    spoilt[0] ^= 1
    files = ONNX | {WEIGHTS: bytes(spoilt)}
    put(home, "spoilt/", files)
    home.put("spoilt.tar.zst", tar_of(files, compression="zst"))
    missing = {name: body for name, body in ONNX.items() if name != WEIGHTS}
    put(home, "missing/", missing)
    for target in ("spoilt/", "spoilt.tar.zst"):
        answer = home.ask(target, {"instances": ROW})
        assert (answer.status, answer.code) == (422, "ModelLoadError")
        assert "'weights.bin' has another SHA-256 than the manifest says" in answer.message
    answer = home.ask("missing/", {"instances": ROW})
    assert answer.status == 422
    assert "'weights.bin' is in 'files', but not in the artifact" in answer.message


def test_a_link_to_the_model_is_no_second_model(home: World) -> None:
    """As `latest.joblib -> v1/model.joblib` in an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        model = tarfile.TarInfo("v1/model.joblib")
        model.size = len(MODEL["model.joblib"])
        archive.addfile(model, io.BytesIO(MODEL["model.joblib"]))
        link = tarfile.TarInfo("latest.joblib")
        link.type, link.linkname = tarfile.SYMTYPE, "v1/model.joblib"
        archive.addfile(link)
    home.put("linked.tar", out.getvalue())
    answers(home.server, "linked.tar")


def test_a_prefix_full_of_models_is_refused_before_it_is_fetched(home: World) -> None:
    """Its listing tells that it is no model, however many gigabytes it holds."""
    put(home, "collection/", {f"{n}.tar.gz": constant_archive(7.0) for n in range(3)})
    for _ in range(2):
        answer = home.ask("collection/", {"instances": ROW})
        assert (answer.status, answer.code) == (422, "ModelLoadError")
        assert "ask for one by its own name" in answer.message
    assert len(listings(home.proxy, "collection/")) == 1, "it is remembered"
    assert reads(home, "collection/") == []


def test_who_may_not_list_is_told_which_permission_is_missing(home: World) -> None:
    """404, as for a key that isn't there."""
    put(home, "denied/", FOLDERS["one file"])
    home.proxy.fault("status:403:AccessDenied", part="list-type=2")
    answer = home.ask("denied/", {"instances": ROW})
    home.proxy.fault("")
    assert (answer.status, answer.code) == (404, "ModelNotFound")
    assert "missing, or no permission to list (s3:ListBucket)" in answer.message


@pytest.mark.parametrize("fault", ["reset_body", "truncate", "status:503:SlowDown"])
def test_a_fault_in_the_middle_of_a_folder_is_survived(home: World, fault: str) -> None:
    """One costs a retry; a lasting one is a 503 that leaves nothing, and ends when it ends."""
    target = f"faulty {fault[:6]}/"
    put(home, target, ONNX)
    home.proxy.fault(fault, first=1, part=f"/{WEIGHTS}")
    answers(home.server, target)
    assert len(listings(home.proxy, target)) == 2
    assert len(home.on_disk() & {target, ""}) == 1
    lasting = f"lasting {fault[:6]}/"
    put(home, lasting, ONNX)
    home.proxy.fault(fault, part=f"/{WEIGHTS}")
    answer = home.ask(lasting, {"instances": ROW})
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert not home.on_disk() & {lasting, ""}
    home.proxy.fault("")
    until(lambda: ask(home.server, lasting).status == 200, "it is served")


def test_an_object_overwritten_in_the_middle_of_a_fetch_is_never_mixed(home: World) -> None:
    """What is served is of one moment: the digests of the manifest would tell."""
    put(home, "moving/", ONNX)
    newer = with_digests(external_onnx(8.0), entry="model.onnx")

    def overwrite(seen: Seen) -> None:
        if seen.path.partition("?")[0].endswith(f"moving/{WEIGHTS}"):
            home.proxy.before = None
            put(home, "moving/", newer)

    home.proxy.before = overwrite
    answers(home.server, "moving/", 8.0)
    assert len(listings(home.proxy, "moving/")) == 2


def test_a_kill_in_the_middle_of_a_folder_leaves_a_usable_cache(
    serve: Callable[..., Server],
    bucket: Bucket,
    bucket_prefix: str,
    fault_proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    """The next start has what was whole, nothing of the half, and serves both."""
    settings = {
        "MMS_CACHE_DIR": str(tmp_path / "kept"),
        "MMS_S3_ENDPOINT_URL": fault_proxy.endpoint_url,
    }
    files = external_onnx(7.0, padding=3 << 20)
    for target in ("whole/", "half/"):
        for name, body in files.items():
            bucket.put(f"{bucket_prefix}{target}{name}", body)
    bucket.put(f"{bucket_prefix}half/a.txt", b"x" * 100)
    first = serve(**settings)
    answers(first, "whole/")
    whole = file_bytes(tmp_path / "kept")
    fault_proxy.fault("stall_body", part=f"half/{WEIGHTS}")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, first, "half/")
        until(lambda: file_bytes(tmp_path / "kept") > whole, "a part of it is written")
        first.kill()
        assert asked.exception() is not None
    fault_proxy.fault("")
    second = serve(**settings)
    assert list((tmp_path / "kept/v1/tmp").iterdir()) == []
    assert file_bytes(tmp_path / "kept") <= whole
    assert answers(second, "whole/").tier == "disk"
    assert answers(second, "half/").tier == "store"
