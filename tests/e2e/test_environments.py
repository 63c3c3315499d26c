"""Models that an older scikit-learn saved: refused, or served by that one with its own numbers."""

from __future__ import annotations

import csv
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sklearn

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.environments import OLD, OLD_VERSION, fake_environment, fit_old_models, needs_old
from tests.support.models import ROW, constant, dumped, iris
from tests.support.processes import pss
from tests.support.s3 import Bucket
from tests.support.server import until

pytestmark = [pytest.mark.e2e, needs_old]

NAMES = (
    *("logistic", "ridge", "sgd", "forest", "extra", "boosting", "histogram"),
    *("svc", "neighbours", "bayes", "mlp", "kmeans", "columns"),
)
BROKEN = "1.1.3"  # the version of an environment that doesn't start
HERE = sklearn.__version__


class Saved:
    """The old models' files, and what the old scikit-learn itself answered."""

    def __init__(self, folder: Path) -> None:
        self.answers = fit_old_models(folder)
        self.files = {p.stem: p for p in folder.iterdir() if p.suffix in {".joblib", ".pkl"}}

    def rows(self, name: str) -> list[Any]:
        rows: list[Any] = self.answers["rows"]["frame" if name == "columns" else "numbers"]
        return rows

    def target(self, name: str) -> str:
        return self.files[name].name

    def of_version(self, name: str, version: str) -> bytes:
        """The bytes of one that isn't compressed, as if another release had saved it."""
        found = self.files[name].read_bytes()
        assert OLD_VERSION.encode() in found
        return found.replace(OLD_VERSION.encode(), version.encode())

    def put_all(self, made: World) -> None:
        for path in self.files.values():
            made.put(path.name, path.read_bytes())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(tmp_path_factory.mktemp("old") / "models")


@pytest.fixture(scope="module")
def envs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment that is whole, and one that doesn't start."""
    folder = tmp_path_factory.mktemp("envs")
    (folder / "old").symlink_to(OLD)
    fake_environment(folder / "broken", scikit_learn=BROKEN)
    return folder


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: S3Server,
    bucket: Bucket,
    saved: Saved,
    envs: Path,
) -> Iterator[World]:
    """A server that has the environments, and all the models."""
    folder = tmp_path_factory.mktemp("environments")
    with world(s3_server, bucket, folder, MMS_ENVS=str(envs)) as made:
        saved.put_all(made)
        made.put("new.joblib", dumped(iris()))
        made.put("constant.joblib", dumped(constant(7.0)))
        yield made


def zygotes(home: World) -> dict[str, psutil.Process]:
    """The zygotes: of the server's own interpreter ("here"), and of the old one ("old")."""
    found = psutil.Process(home.server.pid).children()
    return {"old" if "/old/" in zygote.cmdline()[0] else "here": zygote for zygote in found}


def environment_of(home: World, target: str) -> object:
    """Where the log says that a model was loaded last."""

    def lines() -> list[dict[str, Any]]:
        return [e for e in home.server.events("model loaded") if e["target"] == target]

    until(lines, f"the load of {target} is logged")
    return lines()[-1].get("environment")


def test_without_an_environment_each_is_refused_with_both_versions(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket, saved: Saved
) -> None:
    """By default; and the message says what can be done."""
    with world(s3_server, bucket, tmp_path) as made:
        saved.put_all(made)
        for name in NAMES:
            answer = made.ask(saved.target(name), {"instances": saved.rows(name)})
            assert (answer.status, answer.code) == (422, "ModelLoadError")
            assert answer.message.startswith(
                f"the model was saved by scikit-learn {OLD_VERSION}, this server has {HERE}: load "
                "it in an environment with scikit-learn 1.2 (MMS_ENVS), re-save it, or set "
                "MMS_ENV_MATCH=warn"
            )


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_serves_each_with_its_own_numbers(
    home: World, saved: Saved, name: str
) -> None:
    """Bit for bit what the old scikit-learn itself gave, as JSON and as CSV, by every method."""
    target, rows, given = saved.target(name), saved.rows(name), saved.answers[name]
    answer = home.ask(target, {"instances": rows})
    assert (answer.status, answer.json()) == (200, {"predictions": given["predict"]})
    if "predict_proba" in given:
        answer = home.server.invoke(
            target,
            {"instances": rows},
            X_Amzn_SageMaker_Custom_Attributes="method=predict_proba",
        )
        assert answer.json() == {"predictions": given["predict_proba"]}
    answer = home.server.invoke(target, as_csv(rows), content_type="text/csv", Accept="text/csv")
    assert answer.status == 200, answer
    assert [float(cell) for cell in answer.body.split()] == given["predict"]


def as_csv(rows: list[Any]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    if isinstance(rows[0], dict):
        writer.writerow(rows[0])
        rows = [list(row.values()) for row in rows]
    writer.writerows(rows)
    return out.getvalue().encode()


def test_requests_are_batched_there_too(home: World, saved: Saved) -> None:
    """Many at once, each gets its own row's answer."""
    for name in ("forest", "boosting", "columns"):
        rows, alone = saved.rows(name), saved.answers[name]["alone"]
        asked = [home.asking(saved.target(name), {"instances": [row]}) for row in rows]
        assert [a.result().json()["predictions"] for a in asked] == [[one] for one in alone]


def test_models_of_this_version_stay_in_the_servers_own_workers(home: World, saved: Saved) -> None:
    """Beside those in the environment, whose workers are few and their own."""
    assert home.ask(saved.target("ridge"), {"instances": ROW}).status == 200
    for target in ("new.joblib", "constant.joblib"):
        assert home.ask(target, {"instances": ROW}).status == 200
        assert environment_of(home, target) is None
    assert environment_of(home, saved.target("ridge")) == "old"
    both = zygotes(home)
    assert [len(both[name].children()) for name in ("here", "old")] == [2, 2]
    until(lambda: home.server.metric("mms_workers") == 4, "all workers are counted")


def test_a_reload_goes_straight_there(home: World, saved: Saved) -> None:
    """What was found out about an artifact is remembered: no second look in another worker."""
    target = saved.target("bayes")
    assert home.ask(target, {"instances": ROW}).status == 200
    home.unload(target)
    before = {p.pid: p.cpu_times().user for p in zygotes(home)["here"].children()}
    answer = home.ask(target, {"instances": ROW})
    assert (answer.status, answer.tier) == (200, "disk")
    after = {p.pid: p.cpu_times().user for p in zygotes(home)["here"].children()}
    assert after == before


def test_a_worker_that_is_killed_there_comes_back(home: World, saved: Saved) -> None:
    """Its models are loaded again, in the environment."""
    target = saved.target("forest")
    assert home.ask(target, {"instances": ROW}).status == 200
    losses = len(home.losses())
    for worker in zygotes(home)["old"].children():
        os.kill(worker.pid, signal.SIGKILL)
    until(lambda: len(home.losses()) == losses + 2, "both losses are logged")
    assert home.server.get("/readyz").status == 200
    answer = home.ask(target, {"instances": saved.rows("forest")})
    assert answer.json() == {"predictions": saved.answers["forest"]["predict"]}
    until(lambda: len(zygotes(home)["old"].children()) == 2, "there are two again")


def test_what_an_environment_takes_is_part_of_the_budget(home: World, saved: Saved) -> None:
    """Its processes' memory is counted with the others'."""
    assert home.ask(saved.target("ridge"), {"instances": ROW}).status == 200

    def is_counted() -> bool:
        here, there = (z.children(recursive=True) for z in zygotes(home).values())
        real = sum(pss(process.pid) for process in (*here, *there, *zygotes(home).values()))
        return abs(home.server.metric("mms_process_memory_bytes") - real) < 0.1 * real

    until(is_counted, "the metric says what the kernel says")


def test_an_environment_that_does_not_start_costs_only_its_own_models(
    home: World, saved: Saved
) -> None:
    """They get a 503 that says so, soon; all others are served."""
    home.put("lost.joblib", saved.of_version("logistic", BROKEN))
    answer = home.ask("lost.joblib", {"instances": ROW})
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert "environment broken (MMS_ENVS) doesn't start" in answer.message
    assert home.ask("lost.joblib", {"instances": ROW}).status == 503
    for target in ("new.joblib", saved.target("logistic")):
        assert home.ask(target, {"instances": ROW}).status == 200
    assert home.server.get("/readyz").status == 200
    until(lambda: home.server.events("no worker starts: given up"), "it is logged")
    assert len(home.server.events("no worker starts: given up")) == 1


def test_exact_wants_the_very_same_version(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket, saved: Saved, envs: Path
) -> None:
    """A fix release more or less is refused, here as in every environment."""
    with world(s3_server, bucket, tmp_path, MMS_ENVS=str(envs), MMS_ENV_MATCH="exact") as made:
        saved.put_all(made)
        made.put("near.joblib", saved.of_version("logistic", "1.2.1"))
        made.put("new.joblib", dumped(iris()))
        refused = made.ask("near.joblib", {"instances": ROW})
        assert refused.status == 422
        assert "scikit-learn 1.2.1, this server has" in refused.message
        for target in ("new.joblib", saved.target("logistic")):
            assert made.ask(target, {"instances": ROW}).status == 200


def test_a_mismatch_may_be_let_pass(
    tmp_path: Path, s3_server: S3Server, bucket: Bucket, saved: Saved
) -> None:
    """What loads is served by this version, with a line in the log each."""
    with world(s3_server, bucket, tmp_path, MMS_ENV_MATCH="warn") as made:
        saved.put_all(made)
        served = {n for n in NAMES if is_served(made, saved, n)}
        assert {"logistic", "ridge", "bayes", "kmeans"} <= served
        made.server.stop()
        lines = made.server.events("model saved by other versions than are installed")
        versions = (f"scikit-learn {OLD_VERSION}", f"scikit-learn {HERE}")
        assert [(line["saved_by"], line["installed"]) for line in lines] == [versions] * len(NAMES)


def is_served(made: World, saved: Saved, name: str) -> bool:
    answer = made.ask(saved.target(name), {"instances": saved.rows(name)})
    assert answer.status in {200, 422, 500}
    return answer.status == 200


def test_the_end_takes_every_process_with_it(home: World, saved: Saved) -> None:
    """The drain ends with exit code 0, and no process of any interpreter is left."""
    assert home.ask(saved.target("svc"), {"instances": ROW}).status == 200
    below = psutil.Process(home.server.pid).children(recursive=True)
    assert len(below) == 6
    assert home.server.stop() == 0
    until(lambda: not any(process.is_running() for process in below), "all have ended")
