"""The limit without a server: the model's own calls a second, on one core, input ready.

``python -m loadtests.bench.servers.inprocess BODY.json SECONDS`` prints one number.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from loadtests.bench.servers.model import load


def main(body: Path, seconds: float) -> float:
    convert, predict = load()
    given = convert(json.loads(body.read_text())["instances"])
    for _ in range(3):
        predict(given)
    calls, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        predict(given)
        calls += 1
    return calls / taken


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), float(sys.argv[2])):.6f}\n")
