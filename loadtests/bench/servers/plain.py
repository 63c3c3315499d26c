"""What one would write by hand: Starlette, the model loaded at start, predict in the thread pool.

``BENCH_INLINE`` calls predict on the event loop instead: faster where a call is short, and every
other request waits while it runs.
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from loadtests.bench.servers.model import load

_convert, _predict = load()
_is_inline = bool(os.environ.get("BENCH_INLINE"))


async def _invocations(request: Request) -> JSONResponse:
    given = _convert((await request.json())["instances"])
    found = _predict(given) if _is_inline else await run_in_threadpool(_predict, given)
    return JSONResponse({"predictions": found.tolist()})


app = Starlette(routes=[Route("/invocations", _invocations, methods=["POST"])])
