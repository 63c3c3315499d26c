"""Starts that would fail the same way again: one line that says what to do, and status 3."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mms.demo.s3server import S3Server
from tests.support.server import Server

pytestmark = pytest.mark.e2e


def last_words(folder: Path, settings: dict[str, str]) -> tuple[int, str]:
    """Exit code, and what it said that is no event; a server that goes on is a failure."""
    server = Server(folder, settings)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "mms", "serve"],
        env=server.environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    assert S3Server.secret_key not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0]


WRONG = {
    "secret-key": ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-key"}, r"secret key is wrong"),
    "access-key": ({"AWS_ACCESS_KEY_ID": "AKIAWRONGWRONGWRONG0"}, r"access key is unknown"),
    "no-bucket": ({"MMS_MODELS": "s3://no-such-bucket/models/"}, r"the bucket doesn't exist"),
    "no-bucket-name": (
        {"MMS_MODELS": "s3://A_B/models/"},
        r"MMS_MODELS=s3://A_B/models/: must be .*a-z",
    ),
    "no-url": (
        {"MMS_S3_ENDPOINT_URL": "nonsense"},
        r"MMS_S3_ENDPOINT_URL|endpoint URL isn't valid",
    ),
    "no-profile": ({"AWS_PROFILE": "nobody"}, r"AWS_PROFILE names no profile"),
    "no-folder": ({"MMS_MODELS": "/nowhere/at/all"}, r"/nowhere/at/all"),
    "no-envs": ({"MMS_ENVS": "/nowhere/at/all"}, r"MMS_ENVS=/nowhere/at/all: No such file"),
    "cache-folder": ({"MMS_CACHE_DIR": "/proc/mms"}, r"cache folder /proc/mms .*MMS_CACHE_DIR"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_start_that_cannot_work_says_so(tmp_path: Path, s3_server: S3Server, kind: str) -> None:
    """One line on stderr that names what is wrong; status 3 (2 for a setting's own text)."""
    wrong, says = WRONG[kind]
    settings = {
        **s3_server.environ(),
        "MMS_MODELS": f"s3://{s3_server.bucket}/any/",
        "MMS_S3_ENDPOINT_URL": s3_server.endpoint_url,
        **wrong,
    }
    code, line = last_words(tmp_path / "server", settings)
    assert code in {2, 3}
    if kind in {"secret-key", "access-key", "no-bucket", "cache-folder"}:
        assert code == 3
    assert re.search(says, line), line


def test_a_port_that_is_taken(tmp_path: Path, s3_server: S3Server) -> None:
    """The line names the port and the setting."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = {"MMS_MODELS": f"s3://{s3_server.bucket}/any/", "MMS_PORT": port}
        code, line = last_words(tmp_path / "server", settings)
    assert code == 3
    assert port in line
