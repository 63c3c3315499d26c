"""What one would write by hand instead: boto3, tarfile, joblib and onnxruntime in this process.

Every way to bring a big artifact leaves the unpacked model on disk, as the server does.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
import numpy as np
import onnxruntime
from boto3.s3.transfer import TransferConfig

from loadtests.bench.many.models import ROW
from loadtests.bench.many.seaweed import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 1 << 20
# The best of those tried on two cores: fewer and larger parts, written in larger pieces.
TUNED = TransferConfig(
    multipart_threshold=16 * CHUNK,
    multipart_chunksize=16 * CHUNK,
    max_concurrency=4,
    io_chunksize=CHUNK,
)


class Found(NamedTuple):
    answer: Any  # to ``ROW``
    model: Any  # held, so that its end isn't on the clock


Way = Callable[["S3Client", str, Path], Found]
"""Brings a key's model into a folder, loads it and asks it."""


def by_stream(client: S3Client, key: str, folder: Path) -> Found:
    """``get_object``, unpacked or written while it comes."""
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"]
    if key.endswith(".onnx"):
        path = folder / "model.onnx"
        with path.open("wb") as out:
            for chunk in body.iter_chunks(CHUNK):
                out.write(chunk)
        return by_onnx(path)
    with tarfile.open(fileobj=body, mode="r|*", bufsize=CHUNK) as tar:
        tar.extractall(folder, filter="data")
    return by_joblib(_only_file(folder))


def by_read(client: S3Client, key: str, folder: Path) -> Found:
    """``get_object``, unpacked or written once all of it is in memory."""
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    if key.endswith(".onnx"):
        path = folder / "model.onnx"
        path.write_bytes(body)
        return by_onnx(path)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        tar.extractall(folder, filter="data")
    return by_joblib(_only_file(folder))


def in_memory(client: S3Client, key: str, _: Path) -> Found:
    """``get_object``, unpacked and loaded without a file: the least for a small model."""
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        member = tar.next()
        data = member and tar.extractfile(member)
        assert data
        return by_joblib(io.BytesIO(data.read()))


def _by_transfer(config: TransferConfig) -> Way:
    """boto3's transfer manager: ranges side by side into a file, which is then unpacked."""

    def way(client: S3Client, key: str, folder: Path) -> Found:
        path = folder / key
        client.download_file(BUCKET, key, str(path), Config=config)
        if key.endswith(".onnx"):
            return by_onnx(path)
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
        return by_joblib(_only_file(folder))

    return way


SMALL_WAYS: dict[str, Way] = {"stream": by_stream, "memory": in_memory}
BIG_WAYS: dict[str, Way] = {
    "stream": by_stream,
    "read": by_read,
    "transfer": _by_transfer(TransferConfig()),
    "tuned transfer": _by_transfer(TUNED),
}


def _only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.joblib")
    return path


def by_joblib(source: Path | io.BytesIO) -> Found:
    model = joblib.load(source)
    return Found(model.predict(np.array(ROW)).tolist(), model)


def by_onnx(path: Path) -> Found:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as the server's; more threads spin on beside its rounds
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    answer: Any = session.run(None, {"rows": np.array(ROW, np.float32)})[0]
    return Found(answer.tolist(), session)


def timed(load: Callable[[], Found]) -> tuple[float, Any]:
    """Seconds until the answer, and the answer."""
    began = time.perf_counter()
    found = load()
    return time.perf_counter() - began, found.answer


def timed_way(way: Way, client: S3Client, key: str) -> tuple[float, Any]:
    """The same for a key; the folder is made and removed off the clock."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: way(client, key, Path(folder)))
