"""The whole corpus against a running server: a clear no to each, and the neighbours notice nothing.

One server, with little memory to give away. A healthy model is asked all the time, a canary sits
beside the cache folder, and at the end the log holds no traceback and no worker was lost; one that
a bomb left fat may have been replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import LEAKS, World, world
from tests.hostile import archives, bodies, bombs, machinery, models, names, onnx_models
from tests.hostile.sample import Canary, Sample, by_name
from tests.support.models import constant_archive, dumped, iris
from tests.support.processes import Peak, everything
from tests.support.s3 import Bucket
from tests.support.server import Response

pytestmark = pytest.mark.e2e

GROUPS: dict[str, dict[str, Sample]] = {
    "names": by_name([*names.samples(), *names.old_calls()]),
    "machinery": by_name(machinery.samples()),
    "models": by_name(models.samples()),
    "bombs": by_name(bombs.samples()),
    "archives": by_name(archives.samples()),
    "onnx": by_name(onnx_models.samples()),
}
BODIES = {body.name: body for body in bodies.bodies()}
ROW = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
HANG_S = 60.0
GROWTH = 900 << 20
"""One worker may take the memory budget and half a gigabyte above it for a moment."""


class Neighbour:
    """Asks a healthy model over and over; a context manager that says what it was answered."""

    def __init__(self, home: World) -> None:
        self._home = home
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="neighbour")
        self.wrong: list[Response] = []
        self.answered = 0

    def _run(self) -> None:
        while not self._end.wait(0.02):
            answer = self._home.server.invoke("good.tar.gz", ROW)
            if answer.status == 200 and answer.json() == {"predictions": [4.0]}:
                self.answered += 1
            else:
                self.wrong.append(answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    return Canary(tmp_path_factory.mktemp("hostile-canary") / "canary")


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: S3Server,
    bucket: Bucket,
    canary: Canary,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    with world(s3_server, bucket, folder, MMS_MEMORY_BUDGET="1GiB") as made:
        made.put("good.tar.gz", constant_archive(4.0))
        made.put("iris.joblib", dumped(iris()))
        assert made.ask("good.tar.gz", ROW).status == 200
        assert made.ask("iris.joblib", ROW).status == 200
        processes = len(made.server.workers())
        base = everything(made.server)
        with Peak(lambda: everything(made.server)) as peak, Neighbour(made) as neighbour:
            yield made
        assert neighbour.wrong == []
        assert neighbour.answered > 10
        assert peak.value < base + GROWTH, (peak.value - base) >> 20
        assert set(made.losses()) <= {"retired"}, "a worker was lost"
        assert len(made.server.workers()) == processes
        _assert_tidy(folder)
    canary.assert_silent()


def _assert_tidy(folder: Path) -> None:
    """Beside the log there is the cache folder, and nothing that somebody else could run."""
    found = {path.name for path in folder.iterdir()}
    assert found <= {"cache", "server.log"}
    for path in (folder / "cache").rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or not path.stat().st_mode & 0o6111


@pytest.mark.parametrize("group", GROUPS)
def test_hostile_artifacts_are_refused(group: str, home: World, canary: Canary) -> None:
    """A 4xx that says what is wrong, soon, without a trace of us; the canary is as it was."""
    tasks = [
        (sample, f"{group}/{number}/model{sample.suffix}")
        for number, sample in enumerate(GROUPS[group].values())
    ]
    with ThreadPoolExecutor(1 if group == "bombs" else 2) as pool:
        faults = pool.map(lambda task: _fault(home, canary, *task), tasks)
        assert [fault for fault in faults if fault] == []
    canary.assert_silent()


def _fault(home: World, canary: Canary, sample: Sample, target: str) -> str:
    """What is wrong with the answer to it, or ""."""
    home.put(target, sample.make(str(canary.folder)))
    answer = home.server.invoke(target, ROW, timeout_s=HANG_S)
    said = answer.body.decode().replace(str(canary.folder), "")
    if answer.status not in sample.statuses:
        return f"{sample.name}: {answer.status} {said[:300]}"
    if LEAKS.search(said) or str(home.server.folder) in said:
        return f"{sample.name}: leaks: {said}"
    if answer.status == 422 and sample.says not in answer.message:
        return f"{sample.name}: says {answer.message[:300]}"
    return ""


@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies_are_refused(name: str, home: World, canary: Canary) -> None:
    """A 4xx (or an answer, where it only looks hostile), never a 5xx."""
    sent = BODIES[name]
    headers = {"Content-Encoding": sent.encoding} if sent.encoding else {}
    answer = home.server.invoke(
        "iris.joblib",
        sent.make(str(canary.folder)),
        content_type=sent.content_type,
        timeout_s=HANG_S,
        **headers,
    )
    assert answer.status == 200 or 400 <= answer.status < 500, answer
    if answer.status == 400:
        assert sent.says in answer.message
    canary.assert_silent()


@pytest.mark.parametrize("name", bodies.TARGETS)
def test_hostile_targets_are_refused(name: str, home: World) -> None:
    """No name leads out of the prefix: 400, or 404 as for any model that isn't there."""
    sent = {"X-Amzn-SageMaker-Target-Model": bodies.TARGETS[name]}
    answer = home.server.request("POST", "/invocations", b"[[1,2,3,4]]", sent, HANG_S)
    assert answer.status in {400, 404}, answer
    assert not LEAKS.search(answer.body.decode())
