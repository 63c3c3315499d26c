"""The SageMaker container's routes other than invocations: health, models, batch parameters.

Thin: what a request may ask for is checked in ``paging``, ``load_request`` and ``model_name``; what
happens is the backend's. Raises ``mms.errors``; ``mms.api.build`` answers for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mms.api.body import check_length, read_body
from mms.api.load_request import MAX_BODY, load_request_in
from mms.api.model_name import model_name_in
from mms.api.paging import limit_of, name_in, page_of
from mms.api.ports import Backend
from mms.api.request_head import scan
from mms.errors import (
    Draining,
    NotFound,
    RequestTimeout,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from mms.types import ModelListing

_MODELS = b"/models/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLimits:
    """What the container's routes have to know."""

    max_body: int = 6_291_456
    request_timeout_s: float = 55.0
    max_concurrent_transforms: int = 1


class ContainerRoutes:
    """Handlers over one backend."""

    def __init__(self, backend: Backend, limits: ContainerLimits) -> None:
        self._backend = backend
        self._limits = limits

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/ping", self.ping, methods=["GET"]),
            Route("/execution-parameters", self.execution_parameters, methods=["GET"]),
            Route("/models", self.models, methods=["GET", "POST"]),
            Route("/models/{name:path}", self.model, methods=["GET", "DELETE"]),
        ]

    async def ping(self, _request: Request) -> Response:
        backend = self._backend
        if backend.is_draining:
            raise Draining("The server is shutting down.")
        if not (backend.is_ready if backend.mode == "single" else backend.is_live):
            raise ServiceUnavailable("The server is not ready yet.")
        return Response()

    async def execution_parameters(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "MaxConcurrentTransforms": self._limits.max_concurrent_transforms,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": max(1, self._limits.max_body // 2**20),
            }
        )

    async def models(self, request: Request) -> Response:
        return await self._load(request) if request.method == "POST" else self._list(request)

    def _list(self, request: Request) -> Response:
        query = request.query_params
        token = query.get("next_page_token")
        page = page_of(
            self._backend.models(),
            limit=limit_of(query.get("limit", query.get("models_page_size"))),
            after=name_in(token) if token else None,
        )
        document: dict[str, object] = {"models": [_shown(model) for model in page.models]}
        if page.next_token is not None:
            document["nextPageToken"] = page.next_token
        return JSONResponse(document)

    async def _load(self, request: Request) -> Response:
        head = scan(request.scope["headers"])
        head.checked()
        if head.coding():
            raise UnsupportedMediaType("Encoded bodies are read by the invocation routes only.")
        check_length(head.content_length, MAX_BODY)
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                body = await read_body(request.receive, limit=MAX_BODY)
        except TimeoutError:
            raise RequestTimeout("The body did not arrive in time.") from None
        load = load_request_in(body, self._backend.mode)
        await self._backend.load(load.name, load.url, head.target())
        return JSONResponse({"status": f'Model "{load.name}" loaded'})

    async def model(self, request: Request) -> Response:
        name = _name(request)
        if request.method == "DELETE":
            await self._backend.unload(name)
            return JSONResponse({"status": f'Model "{name}" unloaded'})
        return JSONResponse(_shown(self._backend.model(name)))


def _name(request: Request) -> str:
    """From the raw path: the router's is decoded already, so that ``%252F`` would be a slash."""
    raw: bytes = request.scope["raw_path"]
    name = raw.removeprefix(_MODELS)
    if name == raw or not name or name.startswith(b"/"):
        raise NotFound("There is no such route.")
    return model_name_in(name)


def _shown(model: ModelListing) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": model.url}
