"""A pretrained model in the bucket: Google's Magika, which tells a file's type from its bytes.

Owns finding the model in the installed package and turning a file into what the model reads. The
model itself (Apache-2.0, 3 MB of ONNX) comes with the package ``magika``; only its file is used.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

TARGET = "shared/file-type.onnx"
INPUT = "bytes"

_EDGE = 1024  # bytes of each end that the model reads
_BLOCK = 4096  # bytes of each end in which blanks are skipped first
_PADDING = 256

SOURCE = '''\
import csv
from pathlib import Path


def total(path: Path) -> float:
    """What all orders in the file come to."""
    with path.open(newline="") as file:
        return sum(float(row["price"]) * int(row["count"]) for row in csv.DictReader(file))


if __name__ == "__main__":
    print(f"{total(Path('orders.csv')):.2f}")
'''


def features(content: bytes) -> list[int]:
    """The two ends of a file as the model was trained on them."""
    head = list(content[:_BLOCK].lstrip()[:_EDGE])
    tail = list(content[-_BLOCK:].rstrip()[-_EDGE:])
    padding = [_PADDING]
    return head + padding * (_EDGE - len(head)) + padding * (_EDGE - len(tail)) + tail


def model_file() -> Path:
    return _folder() / "model.onnx"


def labels() -> list[str]:
    """What each place of the model's answer stands for."""
    config = json.loads((_folder() / "config.min.json").read_text(encoding="utf-8"))
    return list(config["target_labels_space"])


def _folder() -> Path:
    # Found without importing: the package brings a command line of its own.
    spec = find_spec("magika")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package 'magika' is missing")
    return Path(spec.origin).parent / "models" / "standard_v3_3"
