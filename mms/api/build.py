"""Puts the HTTP surfaces together into one ASGI application.

The invocation routes are matched first and by hand, since they carry the load; the rest goes
through Starlette's router. Every error of theirs, Starlette's own included, is answered here, in
the one format and with the request's id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Message, Receive, Scope, Send

from mms.api.asking import Asking, InvokeLimits, match
from mms.api.body import ClientGone
from mms.api.container import ContainerLimits, ContainerRoutes
from mms.api.direct import Directly
from mms.api.exchange import CLIENT_CLOSED, Exchange
from mms.api.invoke import Invoker
from mms.api.operators import OperatorRoutes
from mms.api.ports import Backend, NullObserver, Observer, RenderMetrics, SpecFor
from mms.api.problems import InternalFailure, problem_of
from mms.api.request_ids import RequestIds
from mms.errors import Draining, MethodNotAllowed, MmsError, NotFound

logger = logging.getLogger("mms.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """The settings that the HTTP layer has to know."""

    version: str
    max_body: int = 6_291_456
    request_timeout_s: float = 55.0
    default_accept: str = "application/json"
    echo_attributes: bool = False
    max_concurrent_transforms: int = 1


class Api:
    """The ASGI application."""

    def __init__(
        self,
        invoker: Invoker,
        directly: Directly,
        routes: Sequence[BaseRoute],
        *,
        observer: Observer,
        ids: RequestIds,
        clock: Callable[[], float],
    ) -> None:
        self.directly = directly  # for the server, whose connections take it before they come here
        self._invoker = invoker
        self._router = Router(routes, redirect_slashes=False)
        self._observer = observer
        self._ids = ids
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = match(scope["raw_path"])
        if found is None:
            await self._route(scope, receive, send)
        else:
            await self._invoker.serve(scope, receive, send, *found)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(
            scope,
            receive,
            send,
            route="other",
            request_id=self._ids.make(),
            observer=self._observer,
            clock=self._clock,
        )
        scope["app"] = self  # makes the router raise its 404 and 405 instead of answering
        try:
            await self._router(scope, receive, _observed(exchange))
        except MmsError as error:
            await exchange.refuse(problem_of(error), error)
        except HTTPException as error:
            await _refuse_route(exchange, error)
        except ClientGone:
            exchange.record.status = CLIENT_CLOSED
        except asyncio.CancelledError:
            # Only the server cancels, at the end of its drain.
            draining = Draining("The server is shutting down; try another one.")
            await exchange.refuse(problem_of(draining), draining)
        except Exception:
            logger.exception("request failed", extra={"request_id": exchange.id})
            failure = InternalFailure()
            await exchange.refuse(problem_of(failure), failure)
        finally:
            route = scope.get("route")
            if isinstance(route, Route):
                exchange.record.route = route.path.replace(":path", "")
            exchange.close()


def _observed(exchange: Exchange) -> Send:
    """Adds the ids to what a handler sends, and notes its status and size."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.is_started = True
            exchange.record.status = message["status"]
            message["headers"] = [*message["headers"], *exchange.id_headers()]
        else:
            exchange.record.bytes_out += len(message.get("body", b""))
        await exchange.send(message)

    return send


async def _refuse_route(exchange: Exchange, error: HTTPException) -> None:
    if error.status_code != 405:
        missing = NotFound("There is no such route.")
        await exchange.refuse(problem_of(missing), missing)
        return
    allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    refused = MethodNotAllowed(f"This route takes {allowed}.")
    await exchange.refuse(problem_of(refused, ((b"allow", allowed.encode()),)), refused)


def build_app(
    backend: Backend,
    options: ApiOptions,
    *,
    spec_for: SpecFor,
    metrics: RenderMetrics,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Api:
    """The application over ``backend``."""
    observer, ids = observer or NullObserver(), RequestIds()
    asking = Asking(
        backend, spec_for, max_body=options.max_body, default_accept=options.default_accept
    )
    limits = InvokeLimits(
        max_body=options.max_body,
        request_timeout_s=options.request_timeout_s,
        echo_attributes=options.echo_attributes,
    )
    invoker = Invoker(backend, asking, limits, observer=observer, ids=ids, clock=clock)
    directly = Directly(backend, asking, limits, observer=observer, ids=ids, clock=clock)
    container = ContainerRoutes(
        backend,
        ContainerLimits(
            max_body=options.max_body,
            request_timeout_s=options.request_timeout_s,
            max_concurrent_transforms=options.max_concurrent_transforms,
        ),
    )
    operators = OperatorRoutes(backend, metrics=metrics, version=options.version, clock=clock)
    return Api(
        invoker,
        directly,
        [*container.routes(), *operators.routes()],
        observer=observer,
        ids=ids,
        clock=clock,
    )
