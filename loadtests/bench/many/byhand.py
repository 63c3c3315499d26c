"""What one would write by hand instead: boto3, tarfile, joblib and onnxruntime in this process."""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import onnxruntime

from loadtests.bench.many.models import ROW
from loadtests.bench.many.seaweed import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 1 << 20
Way = Callable[["S3Client", str, Path], Any]
"""Brings a key's model into a folder, loads it and gives its answer to ``ROW``."""


def by_stream(client: S3Client, key: str, folder: Path) -> Any:
    """``get_object``, unpacked or written while it comes."""
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"]
    if key.endswith(".onnx"):
        path = folder / "model.onnx"
        with path.open("wb") as out:
            for chunk in body.iter_chunks(CHUNK):
                out.write(chunk)
        return onnx_answer(path)
    with tarfile.open(fileobj=body, mode="r|*", bufsize=CHUNK) as tar:
        tar.extractall(folder, filter="data")
    return joblib_answer(folder)


def by_transfer(client: S3Client, key: str, folder: Path) -> Any:
    """boto3's transfer manager: ranges side by side into a file, which is then unpacked."""
    path = folder / Path(key).name
    client.download_file(BUCKET, key, str(path))
    if key.endswith(".onnx"):
        return onnx_answer(path)
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
    return joblib_answer(folder)


def joblib_answer(folder: Path) -> Any:
    (path,) = folder.glob("*.joblib")
    return joblib.load(path).predict(np.array(ROW)).tolist()


def onnx_answer(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as the server's; more threads spin on beside its rounds
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"rows": np.array(ROW, np.float32)})[0].tolist()


def timed(way: Way, client: S3Client, key: str) -> tuple[float, Any]:
    """Seconds and the answer; the folder is removed off the clock."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        answer = way(client, key, Path(folder))
        return time.perf_counter() - began, answer
