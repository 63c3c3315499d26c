"""The disk tier end to end: its budget, and what restarts and kills leave of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.faults import FaultProxy
from tests.support.models import ROW, constant, constant_archive, dumped, weighty
from tests.support.processes import Peak, file_bytes
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e
MB = 1 << 20
BUDGET = 8 * MB
Serve = Callable[..., Server]


def put(bucket: Bucket, prefix: str, count: int, nbytes: int = MB) -> list[str]:
    """Archives of this size; the answer of ``N.tar`` is N."""
    for number in range(count):
        body = tar_of({"m.joblib": dumped(weighty(float(number), nbytes))}, compression="")
        bucket.put(f"{prefix}{number}.tar", body)
    return [f"{number}.tar" for number in range(count)]


def ask(server: Server, name: str) -> Response:
    """The model's own number, or the test fails."""
    answer = server.invoke(name, {"instances": ROW})
    assert answer.status == 200, (name, answer)
    assert answer.json() == {"predictions": [float(name.removesuffix(".tar"))]}
    return answer


def forget(server: Server, name: str) -> None:
    """Out of memory, so that the next request shows what the disk has."""
    assert server.request("DELETE", f"/models/{name}").status == 200


def test_the_cache_never_holds_more_than_its_budget(
    serve: Serve, bucket: Bucket, bucket_prefix: str
) -> None:
    """Downloads under way included; who was evicted comes from the store again, and right."""
    names = put(bucket, bucket_prefix, 16)
    server = serve(MMS_DISK_BUDGET=str(BUDGET))
    order = random.Random(1)
    cache = server.folder / "cache"
    tiers = []
    with Peak(lambda: file_bytes(cache)) as peak:
        for _ in range(3):
            with ThreadPoolExecutor(4) as pool:
                shuffled = order.sample(names, len(names))
                tiers += [answer.tier for answer in pool.map(lambda n: ask(server, n), shuffled)]
            for name in names:
                forget(server, name)
    assert peak.readings > 20
    # A walk takes a while: an artifact may leave after it was counted, and another come.
    assert 2 * MB < peak.value <= BUDGET + 2 * MB
    assert file_bytes(cache) <= BUDGET
    assert tiers.count("store") > 2 * len(names)
    until(lambda: server.metric("mms_evictions_total", tier="disk") > 10, "evictions count")
    assert 0 < server.metric("mms_disk_cache_bytes") <= BUDGET


def test_the_least_recently_used_leaves_the_disk_first(
    serve: Serve, bucket: Bucket, bucket_prefix: str
) -> None:
    """One that is used between all the others stays."""
    hot, *others = put(bucket, bucket_prefix, 16)
    server = serve(MMS_DISK_BUDGET=str(BUDGET))
    ask(server, hot)
    for name in others:
        forget(server, hot)
        assert ask(server, name).tier == "store"
        assert ask(server, hot).tier == "disk"
    forget(server, others[0])
    assert ask(server, others[0]).tier == "store"
    forget(server, others[-1])
    assert ask(server, others[-1]).tier == "disk"


def test_an_artifact_beyond_the_whole_disk_budget_is_a_507(
    serve: Serve, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy
) -> None:
    """Also when only unpacking shows it; nobody else is evicted for it."""
    ask_name = put(bucket, bucket_prefix, 1)[0]
    bucket.put(f"{bucket_prefix}large.joblib", dumped(weighty(1.0, 2 * BUDGET)))
    bomb = tar_of({"m.joblib": bytes(2 * BUDGET)})
    bucket.put(f"{bucket_prefix}bomb.tar.gz", bomb)
    server = serve(MMS_DISK_BUDGET=str(BUDGET), MMS_S3_ENDPOINT_URL=fault_proxy.endpoint_url)
    ask(server, ask_name)
    for name in ("large.joblib", "bomb.tar.gz"):
        for _ in range(2):
            refused = server.invoke(name, {"instances": ROW})
            assert (refused.status, refused.code) == (507, "InsufficientStorage")
            assert "MMS_DISK_BUDGET" in refused.message
        assert fault_proxy.count("GET", name) == 1
    forget(server, ask_name)
    assert ask(server, ask_name).tier == "disk"


def test_the_disk_tier_survives_a_restart(
    serve: Serve, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    """One conditional GET shows that the copy is current; its bytes don't come again."""
    names = put(bucket, bucket_prefix, 3)
    settings = {
        "MMS_CACHE_DIR": str(tmp_path / "kept"),
        "MMS_S3_ENDPOINT_URL": fault_proxy.endpoint_url,
    }
    first = serve(**settings)
    versions = [ask(first, name).headers["x-mms-model-version"] for name in names]
    assert first.stop() == 0
    fault_proxy.seen.clear()
    second = serve(**settings)
    for name, version in zip(names, versions, strict=True):
        answer = ask(second, name)
        assert (answer.tier, answer.headers["x-mms-model-version"]) == ("disk", version)
        gets = [seen for seen in fault_proxy.seen if name in seen.path]
        assert [(seen.method, "if-none-match" in seen.headers) for seen in gets] == [("GET", True)]
    assert second.metric("mms_store_bytes_total") == 0


def test_a_kill_in_the_middle_of_downloads_leaves_a_cache_of_whole_models(
    serve: Serve, bucket: Bucket, bucket_prefix: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    """The next start has what was finished, nothing of what wasn't, and serves it all."""
    done, *cut = put(bucket, bucket_prefix, 5)
    settings = {
        "MMS_CACHE_DIR": str(tmp_path / "kept"),
        "MMS_S3_ENDPOINT_URL": fault_proxy.endpoint_url,
    }
    first = serve(**settings)
    ask(first, done)
    whole = file_bytes(tmp_path / "kept")
    fault_proxy.fault("stall_body")
    with ThreadPoolExecutor(len(cut)) as pool:
        for name in cut:
            pool.submit(first.invoke, name, {"instances": ROW}).add_done_callback(
                lambda asked: asked.exception()
            )
        halves = len(cut) * MB // 2
        until(lambda: file_bytes(tmp_path / "kept") > whole + halves, "all are half written")
        first.kill()
    fault_proxy.fault("")
    second = serve(**settings)
    ask(second, done)
    assert file_bytes(tmp_path / "kept") < whole + MB // 2
    tiers = {name: ask(second, name).tier for name in cut}
    assert set(tiers.values()) == {"store"}
    forget(second, done)
    assert ask(second, done).tier == "disk"


def test_a_second_server_on_the_same_cache_does_not_start(
    serve: Serve, bucket: Bucket, bucket_prefix: str, tmp_path: Path
) -> None:
    """Exit code 3, and a line that names the setting; the first one goes on."""
    names = put(bucket, bucket_prefix, 1)
    settings = {"MMS_CACHE_DIR": str(tmp_path / "shared")}
    first = serve(**settings)
    second = Server(tmp_path / "second", first.environ | settings)
    second.start()
    assert second.process is not None
    assert second.process.wait(60) == 3
    said = [line for line in second.log.read_text().splitlines() if "MMS_CACHE_DIR" in line]
    assert len(said) == 1
    assert "Traceback" not in second.log.read_text()
    ask(first, names[0])


def test_what_is_overwritten_while_it_is_only_on_disk_comes_anew(
    serve: Serve, bucket: Bucket, bucket_prefix: str
) -> None:
    """Another answer, another version, from the store; and the old bytes go."""
    key = f"{bucket_prefix}m.tar.gz"
    bucket.put(key, constant_archive(1.0))
    server = serve()
    old = server.invoke("m.tar.gz", {"instances": ROW})
    forget(server, "m.tar.gz")
    bucket.put(key, constant_archive(2.0))
    new = server.invoke("m.tar.gz", {"instances": ROW})
    assert (old.json(), new.json()) == ({"predictions": [1.0]}, {"predictions": [2.0]})
    assert (old.tier, new.tier) == ("store", "store")
    version = "x-mms-model-version"
    assert old.headers[version] != new.headers[version]
    entries = list((server.folder / "cache").rglob("*.joblib"))
    assert len(entries) == 1
    assert entries[0].read_bytes() == dumped(constant(2.0))
