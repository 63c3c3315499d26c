"""SageMaker's single-model container: one folder, loaded at start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.models import ROW, constant, dumped
from tests.support.odd_models import SlowToLoad
from tests.support.server import Server, until

pytestmark = pytest.mark.e2e


def container(folder: Path, model: object | None) -> Server:
    (folder / "ml" / "model").mkdir(parents=True)
    if model is not None:
        (folder / "ml" / "model" / "model.joblib").write_bytes(dumped(model))
    settings = {"SAGEMAKER_BASE_DIR": str(folder / "ml"), "MMS_TRUST": "all"}
    return Server(folder, settings)


def test_it_serves_its_model_and_nothing_else(tmp_path: Path) -> None:
    """No target is needed, none is allowed; models neither come nor go."""
    with container(tmp_path, constant(6.0)) as server:
        files = [(path, path.stat().st_mtime_ns) for path in (tmp_path / "ml").rglob("*")]
        assert server.get("/ping").status == 200
        assert server.invoke(None, ROW).json() == [6.0]
        answer = server.invoke("some.tar.gz", ROW)
        assert (answer.status, answer.code) == (400, "ValidationError")
        assert "multi-model" in answer.message
        parameters = server.get("/execution-parameters").json()
        assert parameters["BatchStrategy"] == "MULTI_RECORD"
        assert len(server.get("/models").json()["models"]) == 1
        body = json.dumps({"model_name": "x", "url": str(tmp_path)}).encode()
        assert server.request("POST", "/models", body).status == 400
        assert server.request("DELETE", "/models/model").status == 400
        assert server.stop() == 0
        assert files == [(path, path.stat().st_mtime_ns) for path in (tmp_path / "ml").rglob("*")]


def test_it_is_healthy_only_once_the_model_is_loaded(tmp_path: Path) -> None:
    """/ping says 503 while it loads, then 200."""
    server = container(tmp_path, SlowToLoad(2.0)).start()
    try:
        assert server.get("/ping").status == 503
        assert server.get("/livez").status == 200
        until(lambda: server.get("/ping").status == 200, "the model is loaded")
        assert server.invoke(None, [[1, 2]]).json() == [2.0]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no model inside"), (b"nonsense", "model.joblib")]
)
def test_without_a_model_it_ends_with_status_3(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    """It would fail the same way again: one line says why."""
    server = container(tmp_path, None)
    if content is not None:
        (tmp_path / "ml" / "model" / "model.joblib").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "mms", "serve"],
        env=server.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    words = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(words) == 1
    assert says in words[0]
