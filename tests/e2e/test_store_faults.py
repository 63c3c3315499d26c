"""A store that is down, slow or lying: what is here goes on, what isn't gets the reason."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant, constant_archive, dumped, weighty
from tests.support.s3 import Bucket
from tests.support.server import Response, until

pytestmark = pytest.mark.e2e

ONE = {"instances": ROW}
ATTEMPTS = 3


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, bucket: Bucket
) -> Iterator[World]:
    """A server with one model in memory, and one on the disk only."""
    folder = tmp_path_factory.mktemp("store")
    with world(s3_server, bucket, folder) as made:
        made.put("warm.tar.gz", constant_archive(1.0))
        made.put("kept.tar.gz", constant_archive(2.0))
        yield made
        assert made.losses() == []


@pytest.fixture(autouse=True)
def mended(home: World) -> Iterator[None]:
    """No test leaves the store broken."""
    yield
    home.proxy.fault("")


def answers(home: World, target: str, value: float, tier: str) -> None:
    answer = home.ask(target, ONE)
    assert (answer.status, answer.tier) == (200, tier), answer
    assert answer.json() == {"predictions": [value]}


def lay_out(home: World) -> None:
    """One model in memory, one on the disk."""
    for target in ("warm.tar.gz", "kept.tar.gz"):
        assert home.ask(target, ONE).status == 200
    home.unload("kept.tar.gz")


def assert_unavailable(answer: Response, says: str) -> None:
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert int(answer.headers["x-amz-retry-after"]) <= 10_000
    assert says in answer.message


FAULTS = {
    "status:503:SlowDown": "throttling (503 SlowDown)",
    "status:429:TooManyRequests": "throttling (429 TooManyRequests)",
    "status:500:InternalError": "answered 500 (InternalError)",
    "reset": "broke off",
    "reset_body": "broke off",
    "truncate": "cut an answer short",
}


@pytest.mark.parametrize("spec", FAULTS)
def test_what_is_here_goes_on_and_the_rest_says_why(home: World, spec: str) -> None:
    """503 after three attempts, remembered for a while and then over; no part is ever loaded."""
    lay_out(home)
    cold = f"cold-{spec.replace(':', '-')}.tar.gz"
    home.put(cold, constant_archive(3.0))
    home.proxy.fault(spec)
    first = home.ask(cold, ONE)
    assert_unavailable(first, FAULTS[spec])
    assert len(home.gets(cold)) == ATTEMPTS
    assert_unavailable(home.ask(cold, ONE), FAULTS[spec])
    assert len(home.gets(cold)) == ATTEMPTS, "the fault is remembered"
    answers(home, "warm.tar.gz", 1.0, "memory")
    answers(home, "kept.tar.gz", 2.0, "disk")
    assert home.server.get("/readyz").status == 200
    assert not {cold, ""} & home.on_disk()
    home.proxy.fault("")
    until(lambda: home.ask(cold, ONE).status == 200, "it recovers", 15)
    answers(home, cold, 3.0, "memory")


@pytest.mark.parametrize("spec", ["status:503:SlowDown", "reset", "reset_body", "truncate"])
def test_one_fault_is_survived(home: World, spec: str) -> None:
    """One that comes once costs a second GET and nothing else."""
    cold = f"once-{spec.replace(':', '-')}.tar.gz"
    home.put(cold, constant_archive(4.0))
    home.proxy.fault(spec, first=1)
    answers(home, cold, 4.0, "store")
    assert len(home.gets(cold)) == 2


@pytest.mark.parametrize("spec", ["reset_body", "truncate"])
def test_a_big_artifact_survives_a_fault_in_one_of_its_ranges(home: World, spec: str) -> None:
    """Its ranges are of one version, and what is loaded is whole."""
    cold = f"big-{spec}.joblib"
    home.put(cold, dumped(weighty(5.0, 20 << 20)))
    home.proxy.fault(spec, first=2)
    answers(home, cold, 5.0, "store")
    ranges = [seen for seen in home.gets(cold) if "range" in seen.headers]
    assert len(ranges) >= 2
    assert all("if-match" in seen.headers for seen in ranges)


def test_bytes_that_change_on_the_way_are_noticed(home: World) -> None:
    """What doesn't match its checksum is fetched again, and never loaded."""
    home.put("changed.joblib", dumped(constant(6.0)))
    home.proxy.fault("corrupt", first=1)
    answers(home, "changed.joblib", 6.0, "store")
    assert len(home.gets("changed.joblib")) == 2
    home.put("spoilt.joblib", dumped(constant(6.0)))
    home.proxy.fault("corrupt")
    assert_unavailable(home.ask("spoilt.joblib", ONE), "damaged on its way")
    assert not {"spoilt.joblib", ""} & home.on_disk()


def test_a_key_that_is_denied_is_not_found(home: World) -> None:
    """S3 says 403 for a missing key to a role that may not list; it is remembered like a 404."""
    home.put("denied.tar.gz", constant_archive(7.0))
    home.proxy.fault("status:403:AccessDenied")
    first = home.ask("denied.tar.gz", ONE)
    assert (first.status, first.code) == (404, "ModelNotFound")
    assert "missing, or no permission" in first.message
    assert home.ask("denied.tar.gz", ONE).status == 404
    assert len(home.gets("denied.tar.gz")) == 1
    home.proxy.fault("")
    until(lambda: home.ask("denied.tar.gz", ONE).status == 200, "permission is given", 10)


def test_an_unknown_target_is_cheap_when_repeated(home: World) -> None:
    """One GET for many requests; uploaded, it is found soon."""
    for _ in range(20):
        answer = home.ask("nowhere.tar.gz", ONE)
        assert (answer.status, answer.code) == (404, "ModelNotFound")
        assert "nowhere.tar.gz" in answer.message
    assert len(home.gets("nowhere.tar.gz")) == 1
    home.put("nowhere.tar.gz", constant_archive(8.0))
    until(lambda: home.ask("nowhere.tar.gz", ONE).status == 200, "it is found", 10)


def test_credentials_that_stop_working_are_named(home: World) -> None:
    """503 at once, since trying again won't help; what is here goes on."""
    lay_out(home)
    home.put("locked.tar.gz", constant_archive(9.0))
    home.proxy.fault("status:400:ExpiredToken")
    assert_unavailable(home.ask("locked.tar.gz", ONE), "session token has expired")
    assert len(home.gets("locked.tar.gz")) == 1
    answers(home, "warm.tar.gz", 1.0, "memory")
    answers(home, "kept.tar.gz", 2.0, "disk")


def is_given_up(home: World, target: str) -> bool:
    answer = home.ask(target, ONE)
    if answer.status == 429:
        return False
    assert_unavailable(answer, f"{target} was not fetched within 4 s (MMS_LOAD_TIMEOUT)")
    return True


def test_a_store_that_is_slow_to_no_end_is_given_up(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Stalled or dripping: 429 while it lasts, 503 after MMS_LOAD_TIMEOUT; nobody else waits."""
    slow = {"MMS_LOAD_WAIT": "1s", "MMS_LOAD_TIMEOUT": "4s"}
    with world(s3_server, bucket, tmp_path, **slow) as made:
        made.put("warm.tar.gz", constant_archive(1.0))
        made.put("kept.tar.gz", constant_archive(2.0))
        lay_out(made)
        for spec, cold in (("stall", "a.tar.gz"), ("stall_body", "b.tar.gz"), ("rate:50", "c.pkl")):
            made.put(cold, constant_archive(3.0))
            made.proxy.fault(spec)
            first = made.ask(cold, ONE)
            assert (first.status, first.code) == (429, "ModelNotReadyException")
            assert int(first.headers["retry-after"]) >= 1
            answers(made, "warm.tar.gz", 1.0, "memory")
            assert len(made.gets(cold)) == 1, "those who ask again join the same fetch"
        for cold in ("a.tar.gz", "b.tar.gz", "c.pkl"):
            until(partial(is_given_up, made, cold), "it is given up")
        made.proxy.fault("")
        until(lambda: made.on_disk() == {"warm.tar.gz", "kept.tar.gz"}, "no part is left")
        until(lambda: made.ask("a.tar.gz", ONE).status == 200, "it recovers")


def test_the_disk_is_served_while_the_store_stalls(home: World) -> None:
    """The first to ask finds out that the store is away; after that nobody waits for it."""
    for number in range(4):
        home.put(f"stalled{number}.tar.gz", constant_archive(float(number)))
        assert home.ask(f"stalled{number}.tar.gz", ONE).status == 200
        home.unload(f"stalled{number}.tar.gz")
    home.proxy.fault("stall")
    for number in range(4):
        answers(home, f"stalled{number}.tar.gz", float(number), "disk")
    asked = [len(home.gets(f"stalled{number}.tar.gz")) for number in range(4)]
    assert asked == [2, 1, 1, 1]


def test_a_server_starts_without_its_store(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Ready, with what its disk has; the rest is a 503 that says so until the store is back."""
    with world(s3_server, bucket, tmp_path) as made:
        made.put("kept.tar.gz", constant_archive(2.0))
        made.put("cold.tar.gz", constant_archive(3.0))
        answers(made, "kept.tar.gz", 2.0, "store")
        assert made.server.stop() == 0
        made.proxy.fault("reset")
        made.server.__enter__()
        assert made.server.get("/ping").status == made.server.get("/readyz").status == 200
        answers(made, "kept.tar.gz", 2.0, "disk")
        assert_unavailable(made.ask("cold.tar.gz", ONE), "the model store broke off")
        assert made.server.events("store out of reach at start")
        made.proxy.fault("")
        until(lambda: made.ask("cold.tar.gz", ONE).status == 200, "it comes back", 15)


def test_an_address_where_nobody_listens_is_no_reason_to_end(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Connection refused: the server is ready, and says that the store can't be reached."""
    nobody = {"MMS_S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    with world(s3_server, bucket, tmp_path, **nobody) as made:
        assert_unavailable(made.ask("cold.tar.gz", ONE), "can't be reached")
