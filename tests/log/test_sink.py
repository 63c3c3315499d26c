"""The sink: nothing blocks, nothing is lost unless it must be, and then it is said."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mms.log.sink import LogSink, configure
from mms.settings import load_settings
from mms.settings.host import Host

HOST = Host(cores=2, memory_bytes=1 << 33, terminal=False)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen within 10 s"
        time.sleep(0.002)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """Give the process its logging back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("boto3", "botocore", "s3transfer", "urllib3", "asyncio")
    uvicorns = ("uvicorn", "uvicorn.error", "uvicorn.access")
    levels = {name: logging.getLogger(name).level for name in (*names, *uvicorns)}
    for name in uvicorns:  # a server that another test has run may have set them
        logging.getLogger(name).setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    for name in uvicorns:
        logging.getLogger(name).propagate = True
    logging.captureWarnings(capture=False)


def test_lines_come_out_whole_and_in_order(tmp_path: Path) -> None:
    """What was written before the end is on disk after it."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        sink = LogSink(file.fileno())
        for number in range(5000):
            sink.write(f"line {number} é \ud800")
        sink.close()
    lines = path.read_bytes().decode().splitlines()
    assert lines == [f"line {number} é \\ud800" for number in range(5000)]
    assert sink.dropped == 0


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    """Threads may log side by side."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        sink = LogSink(file.fileno())

        def log() -> None:
            for _ in range(500):
                sink.write("x" * 50)

        threads = [threading.Thread(target=log) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sink.close()
    assert path.read_text().splitlines() == ["x" * 50] * 2000


def test_lines_are_written_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A burst costs few writes, not one a line."""
    sizes: list[int] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    with (tmp_path / "log").open("wb") as file:
        sink = LogSink(file.fileno())
        for _ in range(1000):
            sink.write("x" * 9)
        sink.close()
    assert sum(sizes) == 10_000
    assert len(sizes) < 100


def test_a_line_is_seen_without_an_end(pipe: tuple[int, int]) -> None:
    """A single line is written within the batch's time."""
    reader, writer = pipe
    sink = LogSink(writer)
    sink.write("hello")
    assert os.read(reader, 100) == b"hello\n"
    sink.close()


@pytest.mark.usefixtures("_own_logging")
def test_a_stuck_stderr_blocks_nobody_and_the_loss_is_said(pipe: tuple[int, int]) -> None:
    """With nobody reading, lines are dropped and counted; when it moves again, the log says so."""
    reader, writer = pipe
    sink = configure(load_settings({}, {}, HOST), fd=writer)
    sink._max_held_bytes = 300_000  # more than a pipe takes
    started = time.monotonic()
    for _ in range(100_000):
        sink.write("x" * 99)
    assert time.monotonic() - started < 10
    assert sink.dropped > 0
    seen = b""
    with os.fdopen(os.dup(reader), "rb", buffering=0) as stream:
        while b"log lines dropped" not in seen:
            seen += stream.read(1 << 16) or b""
    report = json.loads(seen.decode().splitlines()[-1])
    assert report["dropped"] == sink.dropped
    until(lambda: sink._held_bytes == 0)
    sink.close()


def test_the_end_comes_even_if_stderr_is_stuck(pipe: tuple[int, int]) -> None:
    """Closing gives up after a second."""
    sink = LogSink(pipe[1])
    for _ in range(20_000):
        sink.write("x" * 99)
    started = time.monotonic()
    sink.close()
    assert time.monotonic() - started < 10
    assert sink._thread.is_alive()
    os.close(pipe[0])
    sink._thread.join()


def test_a_line_after_the_end_is_written_at_once(pipe: tuple[int, int]) -> None:
    """What ends the process may have to be said after all else has been."""
    reader, writer = pipe
    sink = LogSink(writer)
    sink.close()
    sink.write("last words")
    assert os.read(reader, 100) == b"last words\n"


def test_a_stderr_that_is_gone_is_survived(pipe: tuple[int, int]) -> None:
    """Writing to a closed pipe loses the lines and nothing else."""
    reader, writer = pipe
    os.close(reader)
    sink = LogSink(writer)
    sink.write("nobody hears")
    sink.close()
    assert not sink._thread.is_alive()


def test_a_non_blocking_stderr_loses_nothing(pipe: tuple[int, int]) -> None:
    """Someone else's O_NONBLOCK on the shared stderr makes writes slow, not short."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    sink = LogSink(writer)
    for _ in range(3000):
        sink.write("x" * 99)
    seen = 0
    while seen < 300_000:
        seen += len(os.read(reader, 1 << 16))
    sink.close()
    assert seen == 300_000


def configured(path: Path, emit: Callable[[], object], **flags: str) -> str:
    with path.open("wb") as file:
        sink = configure(load_settings(flags, {}, HOST), fd=file.fileno())
        emit()
        sink.close()
    return path.read_text()


@pytest.mark.usefixtures("_own_logging")
def test_everybodys_events_go_one_way(tmp_path: Path) -> None:
    """Ours, uvicorn's and warnings come out as JSON; chatty libraries only from warning on."""

    def emit() -> None:
        logging.getLogger("mms.engine").info("loaded", extra={"target": "a"})
        logging.getLogger("mms.engine").debug("unseen")
        logging.getLogger("uvicorn.error").info("up on %d", 8080)
        logging.getLogger("uvicorn.access").info("unseen")
        logging.getLogger("botocore.hooks").info("unseen")
        logging.getLogger("urllib3.connectionpool").warning("seen")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            # catch_warnings puts its own hook in place: call ours by hand.
            logging._showwarning("old", UserWarning, "f.py", 1)  # type: ignore[attr-defined]

    lines = [json.loads(line) for line in configured(tmp_path / "log", emit).splitlines()]
    assert [line["event"] for line in lines[:3]] == ["loaded", "up on 8080", "seen"]
    assert "old" in lines[3]["event"]
    assert len(lines) == 4


@pytest.mark.usefixtures("_own_logging")
def test_text_and_level(tmp_path: Path) -> None:
    """As the settings say."""
    log = logging.getLogger("mms.engine")
    text = configured(
        tmp_path / "log", lambda: log.debug("x"), log_format="text", log_level="debug"
    )
    assert text.endswith(" DEBUG x\n")
    assert configured(tmp_path / "log", lambda: log.warning("x"), log_level="error") == ""


@pytest.mark.usefixtures("_own_logging")
def test_logging_never_fails_its_caller(tmp_path: Path) -> None:
    """An event that can't be made into a line becomes one that says so."""

    class Hostile(io.StringIO):
        def __getattribute__(self, name: str) -> object:
            raise MemoryError

    def emit() -> None:
        logging.getLogger("mms.x").info("x", extra={"value": Hostile(), "levelname2": 1})
        logging.getLogger("mms.x").error("after")

    lines = configured(tmp_path / "log", emit).splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "after"
    assert len(lines) == 2


@pytest.mark.usefixtures("_own_logging")
def test_an_error_hurries(pipe: tuple[int, int]) -> None:
    """The last words of a dying process are written without an end."""
    reader, writer = pipe
    sink = configure(load_settings({}, {}, HOST), fd=writer)
    logging.getLogger("mms.x").error("dying")
    assert json.loads(os.read(reader, 1000))["event"] == "dying"
    sink.close()
