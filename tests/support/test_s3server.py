"""The real S3 server starts, keeps what it should, and never outlives who started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mms.demo.s3server import S3Server

CHILD = """
import sys, threading
from mms.demo.s3server import S3Server
server = S3Server()
server.start()
print(server.pid, server._folder, *server._ports.values(), flush=True)
threading.Event().wait()
"""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_dies_with_its_parent() -> None:
    """A killed parent leaves no server behind."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert child.stdout is not None
    pid, folder, *ports = child.stdout.readline().split()
    assert _is_running(int(pid))
    child.kill()
    child.wait(30)
    child.stdout.close()
    until = time.monotonic() + 10
    while _is_running(int(pid)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _is_running(int(pid))
    shutil.rmtree(folder)
    for port in ports:  # killed with its parent, it can't have removed its sockets
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()


def test_a_folder_that_was_given_is_served_again(tmp_path: Path) -> None:
    """Objects outlive the server, on other ports and after a kill; nothing else is left."""
    with S3Server(tmp_path / "s3") as server:
        client = server.client()
        client.put_object(Bucket=server.bucket, Key="a/b", Body=b"kept")
        client.close()
        os.kill(server.pid, 9)
    with S3Server(tmp_path / "s3") as server:
        client = server.client()
        assert client.get_object(Bucket=server.bucket, Key="a/b")["Body"].read() == b"kept"
        client.close()
        port = server.endpoint_url.rpartition(":")[2]
        assert server.environ()["AWS_ENDPOINT_URL_S3"] == server.endpoint_url
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
