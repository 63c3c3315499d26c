"""Artifacts: a trained model as the bytes that lie in the bucket.

Owns the formats: joblib, pickle or ONNX, bare or in an archive, by the target's ending. The same
model gives the same bytes, so that an upload that is there already can be told from its ETag.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from typing import Any

_ARCHIVES = (".tar.gz", ".tgz", ".tar")


def pack(target: str, name: str, content: bytes) -> bytes:
    """The artifact of this target, out of its one file."""
    if not target.endswith(_ARCHIVES):
        return content
    plain = _tar(name, content)
    return plain if target.endswith(".tar") else gzip.compress(plain, 6, mtime=0)


def dump_sklearn(target: str, model: Any) -> tuple[str, bytes]:
    """File name and bytes."""
    import joblib  # only the training has it

    if target.endswith(".pkl"):
        return "model.pkl", pickle.dumps(model, protocol=5)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return "model.joblib", buffer.getvalue()


def dump_onnx(model: Any, x: Any) -> tuple[str, bytes]:
    """The same model as ONNX: float32, probabilities as one tensor."""
    import numpy as np
    from skl2onnx import to_onnx  # takes seconds, so only where it is needed
    from sklearn.base import is_classifier

    options = {"zipmap": False} if is_classifier(model) else None
    exported = to_onnx(model, x[:1].astype(np.float32), options=options)
    return "model.onnx", exported.SerializeToString()


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = 0o644
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
