"""The invocation routes: from the request's headers to the model's answer, and nothing else.

This is the path that every paying request takes, so it is plain ASGI without a router: headers are
scanned once, a permit is taken before the body is read, and a body goes to the engine as it came.
It never looks into a body. Three doors lead to the same sequence; they differ in how the model is
named and in what errors look like.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from mms.api.body import ClientGone, check_length, read_body
from mms.api.client_watch import ClientWatch
from mms.api.exchange import CLIENT_CLOSED, Exchange
from mms.api.model_name import model_name_in
from mms.api.ports import Backend, Observer, SpecFor
from mms.api.problems import InternalFailure, Problem, problem_of
from mms.api.reply import reply_headers
from mms.api.request_head import ATTRIBUTES
from mms.api.request_ids import RequestIds
from mms.api.runtime import INVOKED_VARIANT, check_endpoint_name, runtime_problem_of
from mms.errors import Draining, MethodNotAllowed, MmsError, RequestTimeout
from mms.types import Answer, Invocation

ALLOW_POST = (b"allow", b"POST")
INVOCATIONS = "/invocations"
NAMED = "/models/{name}/invoke"
ENDPOINT = "/endpoints/{EndpointName}/invocations"

Call = Callable[[Invocation, float], Awaitable[Answer]]

logger = logging.getLogger("mms.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeLimits:
    """What bounds one invocation."""

    max_body: int = 6_291_456
    request_timeout_s: float = 55.0
    default_accept: str = "application/json"
    echo_attributes: bool = False


class Invoker:
    """Answers invocations; one for the life of the server."""

    def __init__(
        self,
        backend: Backend,
        limits: InvokeLimits,
        *,
        spec_for: SpecFor,
        observer: Observer,
        ids: RequestIds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._spec_for = spec_for
        self._observer = observer
        self._ids = ids
        self._clock = clock

    def match(self, raw_path: bytes) -> tuple[str, bytes] | None:
        """The route and the raw name in it, if the path is one of ours."""
        if raw_path == b"/invocations":
            return INVOCATIONS, b""
        if raw_path.startswith(b"/models/") and raw_path.endswith(b"/invoke"):
            name = raw_path[8:-7]
            return (NAMED, name) if name else None
        if raw_path.startswith(b"/endpoints/") and raw_path.endswith(b"/invocations"):
            name = raw_path[11:-12]
            return (ENDPOINT, name) if name and b"/" not in name else None
        return None

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, route: str, name: bytes
    ) -> None:
        """Answer one request, whatever happens."""
        exchange = Exchange(
            scope,
            receive,
            send,
            route=route,
            request_id=self._ids.make(),
            observer=self._observer,
            clock=self._clock,
        )
        run = _Run(exchange, self._clock, self._limits.request_timeout_s)
        try:
            await self._succeed(run, await self._answer(run, route, name))
        except MmsError as error:
            await self._fail(run, error)
        except ClientGone:
            exchange.record.status = CLIENT_CLOSED
        except asyncio.CancelledError:
            await self._cancelled(run)
        except Exception:
            logger.exception("request failed", extra={"request_id": exchange.id, "route": route})
            await self._fail(run, InternalFailure())
        finally:
            run.stop()
            exchange.close()

    async def _answer(self, run: _Run, route: str, name: bytes) -> Answer:
        exchange, limits = run.exchange, self._limits
        if exchange.record.method != "POST":
            raise MethodNotAllowed("Invocations are sent with POST.")
        head = exchange.head
        head.checked()
        length = head.content_length
        check_length(length, limits.max_body)
        call = self._call(run, route, name)
        run.is_models_side = True
        values = head.values
        spec = self._spec_for(
            values.get(b"content-type"),
            values.get(b"accept"),
            values.get(ATTRIBUTES),
            limits.default_accept,
            coding=head.coding(),
            max_body=limits.max_body,
        )
        permit = self._backend.admit(length or 0)
        try:
            run.watch = watch = ClientWatch(exchange.receive, run.remaining_s)
            body = await read_body(exchange.receive, limit=limits.max_body, permit=permit)
            watch.body_read()
            exchange.record.bytes_in = len(body)
            return await call(Invocation(spec=spec, body=body), run.deadline)
        finally:
            run.stop()
            permit.release()

    def _call(self, run: _Run, route: str, name: bytes) -> Call:
        """Find out which model is meant, before anything is spent on it."""
        backend, record = self._backend, run.exchange.record
        target = run.exchange.head.target()
        if route is NAMED:
            record.model = model = model_name_in(name)
            return lambda invocation, deadline: backend.invoke_name(
                model, target, invocation, deadline=deadline
            )
        if route is ENDPOINT:
            check_endpoint_name(unquote(name.decode("ascii"), errors="replace"))
        key = backend.resolve(target)
        record.model = target or key
        return lambda invocation, deadline: backend.invoke(key, invocation, deadline=deadline)

    async def _succeed(self, run: _Run, answer: Answer) -> None:
        exchange = run.exchange
        exchange.record.answer = answer
        headers = reply_headers(answer, echo_attributes=self._limits.echo_attributes)
        if exchange.record.route is ENDPOINT:
            headers.append(INVOKED_VARIANT)
        await exchange.respond(200, headers, answer.body)

    async def _fail(self, run: _Run, error: MmsError) -> None:
        await run.exchange.refuse(_problem(run, error), error)

    async def _cancelled(self, run: _Run) -> None:
        """The watch cancelled the task, or the server did, at the end of its drain."""
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        watch = run.watch
        if watch is not None and watch.is_gone:
            run.exchange.record.status = CLIENT_CLOSED
        elif watch is not None and watch.is_late:
            seconds = f"{self._limits.request_timeout_s:g}"
            await self._fail(
                run, RequestTimeout(f"The body did not arrive within {seconds} s of the request.")
            )
        else:
            await self._fail(run, Draining("The server is shutting down; try another one."))


class _Run:
    """What the sequence of one invocation has to remember."""

    __slots__ = ("_clock", "deadline", "exchange", "is_models_side", "watch")

    def __init__(self, exchange: Exchange, clock: Callable[[], float], timeout_s: float) -> None:
        self.exchange = exchange
        self.deadline = exchange.started + timeout_s
        self.watch: ClientWatch | None = None
        self.is_models_side = False  # past what a platform in front of a model would refuse
        self._clock = clock

    def remaining_s(self) -> float:
        return self.deadline - self._clock()

    def stop(self) -> None:
        if self.watch is not None:
            self.watch.stop()


def _problem(run: _Run, error: MmsError) -> Problem:
    headers = (ALLOW_POST,) if isinstance(error, MethodNotAllowed) else ()
    if run.exchange.record.route is ENDPOINT and not headers:
        return runtime_problem_of(error, from_model=run.is_models_side)
    return problem_of(error, headers)
