"""Samples let loose in processes of their own, whose memory and time are bounded.

``python -m tests.hostile.bounded`` imports everything once and forks for each sample it is told of,
a line of JSON on standard input: ``name``, ``file``. It answers with a line: what became of it, the
most memory it took, or that it died and of what.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

MEMORY: Final = 1 << 29
"""Beyond what it begins with."""
SECONDS: Final = 10
ROOT: Final = Path(__file__).parent.parent.parent


class Bounded:
    """A context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.bounded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(SECONDS * 2)
        self._process.stdout.close()

    def load(self, name: str, file: Path) -> dict[str, Any]:
        """Unpack and load an artifact; the answer has one of made, refused, fault, died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"name": name, "file": str(file)}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def main() -> None:
    import sklearn.ensemble
    import sklearn.pipeline  # noqa: F401 - the same

    from tests.hostile import entrances  # with it the loaders, once

    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _in_child(entrances, order, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        told = json.loads(text) if text and not code else {"died": str(code)}
        told["peak"] = used.ru_maxrss << 10
        entrances.say(told)


def _in_child(entrances: Any, order: dict[str, str], writing: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of its own time: the machine may be busy
    gc.disable()  # as a worker does while it loads
    with tempfile.TemporaryDirectory() as made:
        body = Path(order["file"]).read_bytes()
        told = entrances.outcome(lambda: entrances.artifact(order["name"], body, Path(made)))
        os.write(writing, json.dumps(told)[:60_000].encode())
    os._exit(0)


if __name__ == "__main__":
    main()
