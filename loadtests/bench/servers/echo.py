"""The ceiling: a bare ASGI application that reads a body and answers ``/SIZE`` with SIZE bytes."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

_answers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}


def _answer(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    body = b"x" * int(path[1:])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    if path not in _answers:
        _answers[path] = _answer(path)
    start, body = _answers[path]
    await send(start)
    await send(body)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
