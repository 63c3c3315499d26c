"""The invocation routes: from the request's headers to the model's answer, and nothing else.

This is the path that every paying request takes, so it is plain ASGI without a router: headers are
scanned once, a permit is taken before the body is read, and a body goes to the engine as it came.
It never looks into a body. The three doors that lead here differ in how the model is named
(``mms.api.asking``) and in what errors look like. Most requests to models that are resident take
the short way instead (``mms.api.direct``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from mms.api.asking import ENDPOINT, Asking, InvokeLimits
from mms.api.body import ClientGone, check_length, read_body
from mms.api.client_watch import ClientWatch
from mms.api.exchange import CLIENT_CLOSED, Exchange
from mms.api.ports import Backend, Observer
from mms.api.problems import InternalFailure, Problem, problem_of
from mms.api.reply import reply_headers
from mms.api.request_ids import RequestIds
from mms.api.runtime import INVOKED_VARIANT, runtime_problem_of
from mms.errors import Draining, MethodNotAllowed, MmsError, RequestTimeout
from mms.types import Answer, Invocation

ALLOW_POST = (b"allow", b"POST")

logger = logging.getLogger("mms.api")


class Invoker:
    """Answers invocations; one for the life of the server."""

    def __init__(
        self,
        backend: Backend,
        asking: Asking,
        limits: InvokeLimits,
        *,
        observer: Observer,
        ids: RequestIds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._asking = asking
        self._observer = observer
        self._ids = ids
        self._clock = clock

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
            run.watch = None  # which holds ``run``: a cycle would wait for a collection
            exchange.close()

    async def _answer(self, run: _Run, route: str, name: bytes) -> Answer:
        exchange, limits = run.exchange, self._limits
        if exchange.record.method != "POST":
            raise MethodNotAllowed("Invocations are sent with POST.")
        head = exchange.head
        head.checked()
        length = head.content_length
        check_length(length, limits.max_body)
        key = self._asking.key(route, name, head, exchange.record)
        run.is_models_side = True
        spec = self._asking.spec(head)
        permit = self._backend.admit(length or 0)
        try:
            run.watch = watch = ClientWatch(exchange.receive, run.remaining_s)
            body = await read_body(exchange.receive, limit=limits.max_body, permit=permit)
            watch.body_read()
            exchange.record.bytes_in = len(body)
            invocation = Invocation(spec=spec, body=body)
            return await self._backend.invoke(key, invocation, deadline=run.deadline)
        finally:
            run.stop()
            permit.release()

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
