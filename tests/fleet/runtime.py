"""A tiny runtime: what a request's spec says is what the worker does. No framework, no codecs."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mms.errors import ModelLoadError
from mms.fleet.payloads import Reply, Result


@dataclass
class TinyModel:
    name: str
    format: str = "tiny"
    methods: tuple[str, ...] = ("predict",)
    batchable: bool = True
    signature: dict[str, object] = field(default_factory=dict)
    weight: Any = None


def preload_modules() -> list[str]:
    return []


def load_model(folder: Path, options: dict[str, Any]) -> TinyModel:
    """``folder`` is, or has, a file with one word of what to do, and an argument."""
    file = folder / "model" if folder.is_dir() else folder
    what, _, argument = file.read_text(encoding="utf-8").partition(" ")
    model = TinyModel(name=argument)
    match what:
        case "ok":
            model.signature = {"options": options}
        case "refuse":
            raise ModelLoadError(argument)
        case "raise":
            raise ValueError(f"{folder}/model is bad\nsecond line")
        case "memory":
            raise MemoryError
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(3)
        case "sleep":
            time.sleep(float(argument))
        case "weigh":
            model.weight = [os.urandom(1000) for _ in range(int(argument) // 1000)]
        case "cycle":
            model.weight = [os.urandom(1000) for _ in range(int(argument) // 1000)]
            model.weight.append(model)
    return model


def run_batch(
    model: TinyModel, requests: Sequence[tuple[bytes, bytes]], *, max_rows: int
) -> Result:
    begun = time.perf_counter()
    replies = [_answer(model, spec.decode(), body) for spec, body in requests]
    if any(reply.code == "few" for reply in replies):
        replies = []
    return Result(replies, len(requests), time.perf_counter() - begun)


def _answer(model: TinyModel, spec: str, body: bytes) -> Reply:
    what, _, argument = spec.partition(" ")
    match what:
        case "echo":
            return Reply("", b"x/echo", body)
        case "bad":
            return Reply("ValidationError", b"", b"row 1, column 2")
        case "few":
            return Reply("few", b"", b"")
        case "type":
            return Reply("", b"", "no bytes")  # type: ignore[arg-type]
        case "name":
            return Reply("", b"", model.name.encode())
    return Reply("", b"", ACTIONS[what](argument).encode())


def _kill_self(argument: str) -> str:
    os.kill(os.getpid(), int(argument))
    time.sleep(60)
    return ""


def _out_of_memory(argument: str) -> str:
    raise MemoryError


def _print(argument: str) -> str:
    print("garbage", flush=True)  # noqa: T201
    sys.stdout.write("garbage\n")
    os.write(1, b"garbage\n")
    return "printed"


def _sleep(argument: str) -> str:
    time.sleep(float(argument))
    return "slept"


def _sockets() -> list[int]:
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_socket()]
    return [int(path.name) for path in links if int(path.name) > 2]


def _shut_channel(argument: str) -> str:
    for fd in _sockets():
        with socket.socket(fileno=os.dup(fd)) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    return _sleep("60")


def _write_garbage(argument: str) -> str:
    for fd in _sockets():
        os.write(fd, b"print would have done this" * 10)
    return _sleep("60")


def _exit(argument: str) -> str:
    os._exit(int(argument))


ACTIONS: dict[str, Callable[[str], str]] = {
    "sleep": _sleep,
    "signal": _kill_self,
    "exit": _exit,
    "sysexit": sys.exit,
    "memory": _out_of_memory,
    "print": _print,
    "shut": _shut_channel,
    "garbage": _write_garbage,
    "stdin": lambda _: repr(os.read(0, 10)),
    "random": lambda _: str(random.random()),
    "sockets": lambda _: str(len(_sockets())),
    "threads": lambda _: " ".join(sorted(t.name for t in threading.enumerate())),
}
