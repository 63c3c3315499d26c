"""A program that serves a fake backend, for tests that send it signals.

``python -m tests.api.serve_fake DELAY_S TIMEOUT_S [START_S]``: events go to stdout, a line each.
The model ``stuck`` never answers; ``START_S`` is how long the start takes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from mms.api.build import ApiOptions, build_app
from mms.api.server import ServerOptions, bind, serve
from tests.api.fake_backend import FakeBackend, stub_spec_for


@asynccontextmanager
async def life(start_s: float) -> AsyncIterator[None]:
    logging.getLogger("mms.test").info("starting")
    await asyncio.sleep(start_s)
    yield
    logging.getLogger("mms.test").info("stopped")


async def main(delay_s: float, timeout_s: float, start_s: float = 0.0) -> None:
    backend = FakeBackend(slow={"stuck": asyncio.Event()})
    app = build_app(
        backend,
        ApiOptions(version="0"),
        spec_for=stub_spec_for,
        metrics=lambda: (b"", "text/plain"),
    )
    await serve(
        app,
        ServerOptions(drain_delay_s=delay_s, drain_timeout_s=timeout_s),
        sock=bind("127.0.0.1", 0),
        drainable=backend,
        lifespan=life(start_s),
    )


class Events(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.getMessage()} {vars(record).get('url', '')}".strip()


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Events())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*map(float, sys.argv[1:])))
