"""How a server starts: where it listens, and what it says of settings that are wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_bad_starts import last_words
from tests.support.server import HOST, Server

pytestmark = pytest.mark.e2e

_UNTIL_FROZEN = """
import gc, os, threading, time

def look():
    while not gc.get_freeze_count():
        time.sleep(0.01)
    os._exit(7)

threading.Thread(target=look, daemon=True).start()
from mms.cli import main
main(["serve"])
"""


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("MMS_WORKRS", "2", "did you mean MMS_WORKERS?"),
        ("MMS_MEMORY_BUDGET", "lots", "MMS_MEMORY_BUDGET=lots"),
        ("MMS_DRAIN_TIMEOUT", "-3s", "MMS_DRAIN_TIMEOUT=-3s"),
        ("MMS_TRUST", "everyone", "restricted"),
        ("SAGEMAKER_BIND_TO_PORT", "eighty", "SAGEMAKER_BIND_TO_PORT=eighty"),
    ],
)
def test_a_wrong_setting_stops_the_start(
    tmp_path: Path, setting: str, value: str, says: str
) -> None:
    """Status 2, and one line that names it, its value and what is allowed."""
    (tmp_path / "models").mkdir()
    settings = {"MMS_MODELS": str(tmp_path / "models"), setting: value}
    code, line = last_words(tmp_path / "server", settings)
    assert code == 2
    assert setting in line
    assert says in line


def test_the_platforms_port_wins(tmp_path: Path) -> None:
    """SAGEMAKER_BIND_TO_PORT over MMS_PORT; /ping is 200 there with no model loaded."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    settings = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": str(port)}
    with Server(tmp_path, settings) as server:
        assert server.port == port
        assert server.get("/ping").status == 200


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    """Status 3, and the line names the folder and the setting."""
    (tmp_path / "models").mkdir()
    (tmp_path / "cache").write_bytes(b"")
    settings = {"MMS_MODELS": str(tmp_path / "models"), "MMS_CACHE_DIR": str(tmp_path / "cache")}
    code, line = last_words(tmp_path / "server", settings)
    assert code == 3
    assert str(tmp_path / "cache") in line
    assert "MMS_CACHE_DIR" in line


def test_what_is_there_from_the_start_is_no_business_of_the_garbage_collector(
    tmp_path: Path,
) -> None:
    """Else a full collection holds up every request, and the more the more was imported."""
    (tmp_path / "models").mkdir()
    server = Server(tmp_path, {"MMS_MODELS": str(tmp_path / "models")})
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FROZEN],
        env=server.environ,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7, done.stderr
