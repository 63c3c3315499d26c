"""One request on its way to one answer: its ids, its record, and the writing of the response.

Every answer that a task gives goes out through here, so that each has its ids and is observed
exactly once (``mms.api.direct`` sees to its own). Whether the connection outlives the answer is the
protocol's business (``mms.api.protocol``).
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from mms.api.ports import Observer, RequestRecord
from mms.api.problems import Headers, Problem
from mms.api.request_head import RequestHead, scan
from mms.errors import MmsError

CLIENT_CLOSED = 499  # never sent: the record of a request whose client had gone
ARRIVED = "mms.arrived"  # in a scope's state: when the request came, if that was before its scope


class Exchange:
    """A request and what becomes of it."""

    __slots__ = (
        "_clock",
        "_observer",
        "head",
        "id",
        "is_started",
        "receive",
        "record",
        "send",
        "started",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        route: str,
        request_id: str,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.started = scope.get("state", {}).get(ARRIVED) or clock()
        self.receive = receive
        self.send = send
        self.id = request_id
        self.is_started = False
        self.head: RequestHead = scan(scope["headers"])
        client = scope.get("client")
        self.record = RequestRecord(
            route=route,
            method=scope["method"],
            request_id=request_id,
            caller_id=self.head.caller_id,
            client=client[0] if client else "",
        )
        self._observer = observer
        self._clock = clock

    def id_headers(self) -> Headers:
        return id_headers(self.record)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the whole answer; ``headers`` has its length."""
        self.record.status = status
        self.record.bytes_out = len(body)
        self.is_started = True
        headers += self.id_headers()
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, problem: Problem, error: MmsError) -> None:
        """Write an error, unless an answer has begun already."""
        # Its frames hold this exchange and the body: a cycle, which would wait for a collection.
        self.record.error = error.with_traceback(None)
        if self.is_started:
            return
        body = problem.body(self.id)
        headers = problem.head()
        headers.append((b"content-length", b"%d" % len(body)))
        await self.respond(problem.status, headers, body)

    def close(self) -> None:
        """Tell the observer; the last thing that happens."""
        self.record.seconds = self._clock() - self.started
        self._observer.request(self.record)


def id_headers(record: RequestRecord) -> Headers:
    """The ids that every answer carries: ours, and the caller's if there is one."""
    ids: Headers = [(b"x-amzn-requestid", record.request_id.encode())]
    if record.caller_id:
        ids.append((b"x-request-id", record.caller_id.encode()))
    return ids
