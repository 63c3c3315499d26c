"""The operators' routes: is the loop alive, is it ready, what does it count, what is it.

``/livez`` says only that the event loop turns. ``/readyz`` says whether to send requests here; a
store that is down is no reason not to. ``/`` names no models, since anybody may ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mms.api.ports import Backend, RenderMetrics
from mms.errors import Draining, ServiceUnavailable


class OperatorRoutes:
    """Handlers over one backend."""

    def __init__(
        self,
        backend: Backend,
        *,
        metrics: RenderMetrics,
        version: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._version = version
        self._clock = clock
        self._started = clock()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/livez", self.livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/", self.about, methods=["GET"]),
        ]

    async def livez(self, _request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def readyz(self, _request: Request) -> Response:
        if self._backend.is_draining:
            raise Draining("The server is shutting down.")
        if not (self._backend.is_live and self._backend.is_ready):
            raise ServiceUnavailable("The server is not ready.")
        return JSONResponse({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        body, content_type = self._metrics()
        return Response(body, headers={"content-type": content_type})

    async def about(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "name": "mms",
                "version": self._version,
                "mode": self._backend.mode,
                "uptime_s": round(self._clock() - self._started, 3),
            }
        )
