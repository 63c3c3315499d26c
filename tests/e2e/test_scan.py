"""``mms scan`` on a real bucket and a real folder: what it says is what the server would do."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from mms.demo.s3server import S3Server
from tests.support.s3 import Bucket, tar_of
from tests.support.server import ROOT, until

pytestmark = pytest.mark.e2e

X = np.random.default_rng(0).random((60, 3))
Y = X[:, 0] > 0.5


class Gadget:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def _artifacts(canary: Path) -> dict[str, bytes]:
    model = pickle.dumps(LogisticRegression().fit(X, Y))
    from sklearn import __version__ as here

    wants = b"nosuchthing>=2\n"
    writes = f"open({str(canary)!r}, 'w')\ndef model_fn(d): return 1\n".encode()
    return {
        "us/ny/plain.pkl": model,
        "us/ny/forest.tar.gz": tar_of(
            {"model.joblib": pickle.dumps(RandomForestClassifier(20).fit(X, Y))}
        ),
        "us/ca/old.pkl": model.replace(here.encode(), b"1.2.2"),
        "us/ca/evil.pkl": pickle.dumps([Gadget(canary), pickle.loads]),
        "us/ca/script.tar.gz": tar_of({"code/inference.py": writes, "model.pkl": model}),
        "us/ca/wants.tar.gz": tar_of({"code/inference.py": writes, "code/requirements.txt": wants}),
        "us/broken.onnx": b"no model at all",
        "us/net.pt": b"PK\x03\x04",
        "us/notes.txt": b"not an artifact",
    }


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "ran"


@pytest.fixture(scope="module")
def artifacts(canary: Path) -> dict[str, bytes]:
    return _artifacts(canary)


@pytest.fixture(scope="module")
def folder(artifacts: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, data in artifacts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def _command(prefix: str | Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "mms", "scan", str(prefix), *args]


def _environ(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MMS_", "AWS_"))}
    own = {"PYTHONPATH": str(ROOT), "MMS_WORKERS": "2", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**kept, **own, **more}


def scan(prefix: str | Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(prefix, *args),
        env=_environ(**environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    document = json.loads(done.stdout)
    return {one["target"]: one for one in document["models"]}


def test_each_artifact_of_a_bucket_is_told_apart(
    artifacts: dict[str, bytes], canary: Path, s3_server: S3Server, bucket: Bucket
) -> None:
    """Who serves, who needs what and who can't; nothing of theirs runs, and the status says no."""
    for name, data in artifacts.items():
        bucket.put(f"scan/{name}", data)
    done = scan(
        f"s3://{s3_server.bucket}/scan/",
        "--json",
        MMS_S3_ENDPOINT_URL=s3_server.endpoint_url,
        **s3_server.environ(),
    )
    assert (done.returncode, done.stderr) == (1, "")
    found = verdicts(done)
    assert {name: (v["status"], v["needs"]) for name, v in found.items()} == {
        "us/ny/plain.pkl": ("serves", []),
        "us/ny/forest.tar.gz": ("serves", []),
        "us/ca/old.pkl": ("needs", ["scikit-learn 1.2"]),
        "us/ca/evil.pkl": ("needs", ["trust"]),
        "us/ca/script.tar.gz": ("needs", ["trust"]),
        "us/ca/wants.tar.gz": ("needs", ["trust"]),
        "us/broken.onnx": ("fails", []),
        "us/net.pt": ("fails", []),
    }
    assert found["us/ca/evil.pkl"]["refused"] == ["posix:system", "_pickle:loads"]
    assert found["us/ca/old.pkl"]["versions"] == {"scikit-learn": "1.2.2"}
    assert found["us/ca/wants.tar.gz"]["unmet"] == ["nosuchthing>=2, which isn't installed here"]
    assert found["us/ca/script.tar.gz"]["script"] == "code/inference.py"
    assert found["us/ny/plain.pkl"]["bytes"] == len(artifacts["us/ny/plain.pkl"])
    assert json.loads(done.stdout)["summary"]["others"] == 1
    assert json.loads(done.stdout)["others"] == ["us/notes.txt"]
    assert not canary.exists()


def test_a_load_measures_and_predicts(folder: Path, canary: Path) -> None:
    """With --load memory, time and a first predict are known; still nothing of theirs runs."""
    found = verdicts(scan(folder, "--json", "--load"))
    forest = found["us/ny/forest.tar.gz"]
    assert forest["probe"] == "ok"
    assert 20_000 < forest["memory_bytes"] < 20_000_000
    assert 0 < forest["load_s"] < 60
    assert "probe" not in found["us/ca/evil.pkl"]
    assert not canary.exists()


def test_trust_is_told_without_being_used(folder: Path, canary: Path) -> None:
    """Trusted models serve, and yet a scan that doesn't load them runs nothing of theirs."""
    done = scan(folder, "--json", "--trust", "all")
    found = verdicts(done)
    assert found["us/ca/evil.pkl"]["status"] == "serves"
    assert found["us/ca/script.tar.gz"]["status"] == "serves"
    assert found["us/ca/wants.tar.gz"]["needs"] == ["what its script requires"]
    assert found["us/ca/old.pkl"]["needs"] == ["scikit-learn 1.2"]
    assert not canary.exists()


def test_people_get_lines_and_a_summary(folder: Path) -> None:
    """Only what doesn't serve is listed unless all is asked for; the summary ends it."""
    done = scan(folder)
    lines = done.stdout.splitlines()
    assert lines[-1] == (
        f"{folder}: 2 serve as they are, 3 need trust, 1 needs scikit-learn 1.2, 2 can't be served"
    )
    assert "us/ny/plain.pkl" not in done.stdout
    assert lines[-2].endswith("left out: us/notes.txt")
    assert any(line.startswith("us/broken.onnx") and "it is a text" in line for line in lines)


def test_a_prefix_where_all_serves_is_a_success(folder: Path) -> None:
    """The status is 0 then, so that a script may go on."""
    done = scan(folder / "us" / "ny", "--all")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("2 serve as they are")


def test_what_kills_its_reader_costs_nobody_else(folder: Path, tmp_path: Path) -> None:
    """A script that ends the process has its verdict, and the others have theirs."""
    killer = b"import os\ndef model_fn(d): os._exit(3)\n"
    (tmp_path / "killer.tar.gz").write_bytes(tar_of({"code/inference.py": killer}))
    joblib.dump(LogisticRegression().fit(X, Y), tmp_path / "fine.joblib")
    done = scan(tmp_path, "--load", "--trust", "all", "--json")
    found = verdicts(done)
    assert found["killer.tar.gz"]["status"] == "fails"
    assert "killed the process" in found["killer.tar.gz"]["message"]
    assert found["fine.joblib"]["probe"] == "ok"


def test_an_environment_that_isnt_what_it_says_is_tried_once(tmp_path: Path) -> None:
    """Its own worker finds that out, and says what the model needs."""
    from sklearn import __version__ as here

    (models := tmp_path / "models").mkdir()
    old = pickle.dumps(LogisticRegression().fit(X, Y)).replace(here.encode(), b"1.2.2")
    (models / "old.pkl").write_bytes(old)
    library = tmp_path / "envs/liar/lib/python3.11/site-packages"
    for name in ("numpy-1.26.4", "scikit_learn-1.2.2"):
        (library / f"{name}.dist-info").mkdir(parents=True)
    python = tmp_path / "envs/liar/bin/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for path in (tmp_path / "envs").rglob("*"):
        path.chmod(0o755)
    done = scan(models, "--load", "--json", MMS_ENVS=str(tmp_path / "envs"))
    found = verdicts(done)["old.pkl"]
    assert (found["status"], found["needs"]) == ("needs", ["scikit-learn 1.2"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_scan_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """While a worker hangs in a load: no process stays, no folder, and it isn't a success."""
    (models := tmp_path / "models").mkdir()
    (own := tmp_path / "tmp").mkdir()
    mark = tmp_path / "mark"
    hangs = f"import time\nopen({str(mark)!r}, 'w')\ntime.sleep(1000)\n".encode()
    (models / "hangs.tar.gz").write_bytes(tar_of({"code/inference.py": hangs}))
    process = subprocess.Popen(
        _command(models, "--load", "--trust", "all"),
        env=_environ(TMPDIR=str(own)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(mark.exists, "a load")
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        assert list(own.iterdir())
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1].startswith("the scan was interrupted")
    assert "Traceback" not in errors
    assert psutil.wait_procs(below, timeout=10)[1] == []
    assert list(own.iterdir()) == []


def test_a_prefix_that_cant_be_read_is_one_line(tmp_path: Path) -> None:
    """Status 3, as for a server that can't start."""
    done = scan(tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert "can't be scanned" in done.stderr
