"""Workers that die, hang and fail: what the requests get, and what nobody else notices."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant, dumped
from tests.support.odd_models import DiesOnLoad, Odd, SlowToLoad
from tests.support.s3 import Bucket
from tests.support.server import until

pytestmark = pytest.mark.e2e

WELL = [[0, 0]]
ODD = [f"odd{number}.joblib" for number in range(6)]
DIE, RAISE, NO_MEMORY = 1, 2, 3


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, bucket: Bucket
) -> Iterator[World]:
    """Two workers and a prefix that is trusted, with models that do what their rows say."""
    folder = tmp_path_factory.mktemp("workers")
    with world(s3_server, bucket, folder, MMS_TRUST="all") as made:
        for name in ODD:
            made.put(name, dumped(Odd()))
        made.put("plain.joblib", dumped(constant(7.0)))
        yield made


@pytest.fixture(autouse=True)
def both_live(home: World) -> None:
    """Every test begins with two workers."""
    until(home.all_live, "both workers are ready")


def pid_of(home: World, target: str) -> int:
    answer = home.ask(target, WELL)
    assert answer.status == 200, answer
    return int(answer.json()[0])


def two_apart(home: World) -> tuple[str, int, str, int]:
    """Two resident models in different workers, with the processes they are in."""
    pids = {pid_of(home, name): name for name in ODD}
    while len(pids) < 2:  # all in one: the other was away when they were loaded
        for name in ODD[:3]:
            home.unload(name)
        pids = {pid_of(home, name): name for name in ODD}
    (one_pid, one), (other_pid, other) = pids.items()
    return one, one_pid, other, other_pid


def printed(home: World) -> int:
    """How often an odd model has begun to predict."""
    return home.server.log.read_text().count("a model that prints")


def counted(home: World) -> dict[str, float]:
    """What the metric says of lost workers, by reason."""
    names = set(home.losses())
    return {n: home.server.metric("mms_worker_restarts_total", reason=n) for n in names}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_an_idle_workers_death_costs_one_reload(home: World) -> None:
    """Its models reload from the disk on demand; the other worker's stay where they are."""
    one, one_pid, other, other_pid = two_apart(home)
    before, gets = len(home.losses()), len(home.gets(one))
    os.kill(one_pid, signal.SIGKILL)
    until(lambda: is_gone(one_pid), "the worker is gone")
    assert home.server.get("/ping").status == home.server.get("/readyz").status == 200
    assert (home.ask(other, WELL).tier, pid_of(home, other)) == ("memory", other_pid)
    until(lambda: home.losses()[before:] == ["oom"], "the loss is logged")
    until(lambda: counted(home) == Counter(home.losses()), "and counted")
    again = home.ask(one, WELL)
    assert (again.status, again.tier) == (200, "disk")
    assert again.json() != [one_pid]
    assert [seen.headers.get("if-none-match") is not None for seen in home.gets(one)[gets:]] == [
        True
    ]
    until(home.all_live, "it is replaced")
    assert len(home.server.workers()) == 2


def test_a_batchs_death_is_a_500_and_what_had_not_begun_runs_elsewhere(home: World) -> None:
    """Only the request that was running fails; those behind it succeed in another process."""
    one, one_pid, _, _ = two_apart(home)
    before, begun = len(home.losses()), printed(home)
    running = home.asking(one, [[30, 0]])
    until(lambda: printed(home) == begun + 1, "it runs")
    behind = [home.asking(one, WELL) for _ in range(5)]
    until(lambda: home.server.metric("mms_inflight_requests") >= 6, "five wait behind it")
    os.kill(one_pid, signal.SIGKILL)
    lost = running.result()
    assert (lost.status, lost.code) == (500, "ModelError")
    assert "process" in lost.message
    answers = [future.result() for future in behind]
    assert {answer.status for answer in answers} == {200}
    assert one_pid not in {answer.json()[0] for answer in answers}
    until(lambda: len(home.losses()) == before + 1, "one was lost")


def test_a_poison_request_costs_one_worker(home: World) -> None:
    """A request that ends its process is not tried in a second one."""
    one, one_pid, other, other_pid = two_apart(home)
    before = len(home.losses())
    lost = home.ask(one, [[0, DIE]])
    assert (lost.status, lost.code) == (500, "ModelError")
    assert pid_of(home, one) != one_pid
    assert pid_of(home, other) == other_pid
    until(lambda: home.losses()[before:] == ["crashed"], "one was lost")
    until(home.all_live, "it is replaced")
    assert len(home.losses()) == before + 1


def test_a_worker_that_dies_under_a_load_costs_nothing(home: World) -> None:
    """The load is done once more, in another worker, without asking the store again."""

    def loaders() -> list[int]:
        return [int(pid) for pid in re.findall(r"unpickled by (\d+)", home.server.log.read_text())]

    before = len(home.losses())
    home.put("slow.joblib", dumped(SlowToLoad(1.5)))
    cold = home.asking("slow.joblib", WELL)
    until(lambda: len(loaders()) == 1, "it loads")
    os.kill(loaders()[0], signal.SIGKILL)
    answer = cold.result()
    assert (answer.status, answer.json(), answer.tier) == (200, [1.5], "store")
    first, second = loaders()
    until(lambda: len(home.losses()) == before + 1, "one was lost")
    assert first != second
    assert len(home.gets("slow.joblib")) == 1


def test_a_model_that_kills_its_loader_is_tried_twice_and_remembered(home: World) -> None:
    """422 that says so; the next request kills nobody, and others are served again at once."""
    home.put("deadly.joblib", dumped(DiesOnLoad()))
    before = len(home.losses())
    first = home.ask("deadly.joblib", WELL)
    assert (first.status, first.code) == (422, "ModelLoadError")
    assert "killed the process that loaded it" in first.message
    until(lambda: home.losses()[before:] == ["crashed"] * 2, "two workers were lost")
    second = home.ask("deadly.joblib", WELL)
    assert (second.status, second.message) == (422, first.message)
    assert home.ask("odd0.joblib", WELL).status == 200
    until(home.all_live, "both are replaced")
    assert len(home.losses()) == before + 2
    assert len(home.gets("deadly.joblib")) == 1


def test_a_stopped_worker_is_replaced(home: World) -> None:
    """A heart that is silent for 5 s: in flight 504, not begun elsewhere, others undisturbed."""
    one, one_pid, other, other_pid = two_apart(home)
    before, begun = len(home.losses()), printed(home)
    running = home.asking(one, [[1, 0]])
    until(lambda: printed(home) == begun + 1, "it runs")
    os.kill(one_pid, signal.SIGSTOP)
    behind = home.asking(one, WELL)
    while not running.done():
        assert home.server.get("/ping").status == 200
        assert pid_of(home, other) == other_pid
    lost = running.result()
    assert (lost.status, lost.code) == (504, "ModelTimeout")
    assert behind.result().status == 200
    assert behind.result().json() != [one_pid]
    assert is_gone(one_pid)
    until(lambda: len(home.losses()) == before + 1, "one was lost")


def test_an_idle_stopped_worker_is_found(home: World) -> None:
    """Nobody has to ask it anything."""
    one, one_pid, _, _ = two_apart(home)
    before = len(home.losses())
    os.kill(one_pid, signal.SIGSTOP)
    until(lambda: is_gone(one_pid), "it is killed")
    until(lambda: home.losses()[before:] == ["hung"], "for its silence")
    assert pid_of(home, one) != one_pid


def test_a_model_that_hangs_is_stopped(home: World) -> None:
    """504 after its limit, far below the request's own; the worker is replaced."""
    one, one_pid, other, other_pid = two_apart(home)
    before = len(home.losses())
    answer = home.ask(one, [[300, 0]])
    assert (answer.status, answer.code) == (504, "ModelTimeout")
    assert "stopped" in answer.message
    until(lambda: is_gone(one_pid), "its worker is gone")
    until(lambda: home.losses()[before:] == ["timeout"], "for its time")
    assert pid_of(home, other) == other_pid
    assert pid_of(home, one) != one_pid


def test_a_model_that_cannot_be_batched_is_given_time_for_each_request(home: World) -> None:
    """Requests that run one by one are together no hang, and one's death isn't another's."""
    one, one_pid, _, _ = two_apart(home)
    waiting = [home.asking(one, [[0.7, 0]]) for _ in range(10)]
    assert [future.result().json() for future in waiting] == [[one_pid]] * 10
    before = len(home.losses())
    waiting = [home.asking(one, WELL) for _ in range(8)]
    poison = home.asking(one, [[0, DIE]])
    waiting += [home.asking(one, [[0.05, 0]]) for _ in range(8)]
    assert poison.result().status == 500
    assert {future.result().status for future in waiting} == {200}
    until(lambda: len(home.losses()) == before + 1, "one was lost")


def test_a_model_that_raises_is_a_500_with_one_line(home: World) -> None:
    """Type and first line, no more; its worker lives, and its log line is one JSON line."""
    one, one_pid, _, _ = two_apart(home)
    answer = home.ask(one, [[0, RAISE]])
    assert (answer.status, answer.code) == (500, "ModelError")
    assert answer.message == "RuntimeError: this model failed"
    assert pid_of(home, one) == one_pid
    until(lambda: home.server.events("model failed"), "it is logged")
    (event,) = home.server.events("model failed")
    assert event["error"] == "RuntimeError"
    assert event["where"].startswith("predict (odd_models.py:")


def test_a_model_without_memory_is_a_507(home: World) -> None:
    """MemoryError in predict; its worker lives."""
    one, one_pid, _, _ = two_apart(home)
    answer = home.ask(one, [[0, NO_MEMORY]])
    assert (answer.status, answer.code) == (507, "InsufficientStorage")
    assert pid_of(home, one) == one_pid


def test_workers_hold_no_secrets(tmp_path: Path, s3_server: S3Server, bucket: Bucket) -> None:
    """Neither credentials nor tokens are in the environment of what runs models."""
    secrets = {
        "HF_TOKEN": "canary-1",
        "DB_PASSWORD": "canary-2",
        "DATABASE_URL": "postgres://me:canary-3@db/x",
        "SIGNING_KEY": "canary-4",
    }
    with world(s3_server, bucket, tmp_path, **secrets) as made:
        zygotes = psutil.Process(made.server.pid).children()
        for process in [*zygotes, *made.server.workers()]:
            environ = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert b"OMP_NUM_THREADS" in environ
            for secret in (b"AWS_", b"MMS_", b"canary", s3_server.secret_key.encode()):
                assert secret not in environ


def test_the_zygotes_death_is_survived(home: World) -> None:
    """Workers go with it; another is started, and a request that comes meanwhile waits for it."""
    one, _, _, _ = two_apart(home)
    (zygote,) = psutil.Process(home.server.pid).children()
    workers = {worker.pid for worker in home.server.workers()}
    zygote.kill()
    until(lambda: all(map(is_gone, workers)), "its workers are gone")
    assert home.server.get("/ping").status == 200
    answer = home.ask(one, WELL)
    assert (answer.status, answer.tier) == (200, "disk")
    until(lambda: len(home.server.workers()) == 2, "there are two again")
    assert not workers & {worker.pid for worker in home.server.workers()}
    assert home.ask("plain.joblib", {"instances": ROW}).json() == {"predictions": [7.0]}


def test_nothing_outlives_the_front(tmp_path: Path, s3_server: S3Server, bucket: Bucket) -> None:
    """Killed, it takes zygote and workers with it, and a next start uses its cache."""
    with world(s3_server, bucket, tmp_path, MMS_TRUST="all") as made:
        made.put("plain.joblib", dumped(constant(7.0)))
        made.put("odd.joblib", dumped(Odd()))
        assert made.ask("plain.joblib", {"instances": ROW}).status == 200
        begun = printed(made)
        busy = made.asking("odd.joblib", [[300, 0]])
        until(lambda: printed(made) == begun + 1, "a worker is busy")
        below = psutil.Process(made.server.pid).children(recursive=True)
        assert len(below) == 3
        made.server.kill()
        until(lambda: all(is_gone(process.pid) for process in below), "all are gone", 15)
        assert busy.exception() is not None
        made.server.start()
        until(lambda: made.server.get("/readyz").status == 200, "it is ready again")
        answer = made.ask("plain.joblib", {"instances": ROW})
        assert (answer.json(), answer.tier) == ({"predictions": [7.0]}, "disk")
