"""The short way: a small request to a resident model, answered without a task of its own.

It is taken from the parser's last callback to the engine, and from the engine's reply to the
socket. Whatever isn't plain (a model that has to be loaded, a head that needs a second look, a
body that is still on its way, anything that would be refused) is left to ``mms.api.invoke``, which
says why; so this never has an opinion of its own, and does nothing that the long way doesn't.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mms.api.asking import ENDPOINT, Asking, InvokeLimits, match
from mms.api.exchange import CLIENT_CLOSED, id_headers
from mms.api.ports import Backend, Observer, Permit, RequestRecord, Submission
from mms.api.problems import Headers, Problem, problem_of
from mms.api.reply import reply_headers
from mms.api.request_head import RequestHead, scan
from mms.api.request_ids import RequestIds
from mms.api.runtime import INVOKED_VARIANT, runtime_problem_of
from mms.errors import Draining, MmsError
from mms.types import Answer, Invocation

logger = logging.getLogger("mms.api")


class Post(NamedTuple):
    """A POST that has come as a whole, over HTTP/1.1 and not as its connection's last."""

    url: bytes
    headers: Headers
    body: bytes
    client: str


class Line(Protocol):
    """The connection, as far as an answer needs it."""

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the whole answer to the request that runs; the next one may follow."""
        ...

    def go_the_long_way(self, post: Post, started: float, /) -> None:
        """Answer the request that runs by a task; its time has begun at ``started``."""
        ...

    def abort(self) -> None: ...


class Direct:
    """A request that is being answered on the short way."""

    __slots__ = (
        "_directly",
        "_line",
        "_post",
        "permit",
        "record",
        "started",
        "submission",
    )

    def __init__(
        self, directly: Directly, line: Line, post: Post, record: RequestRecord, started: float
    ) -> None:
        self._directly = directly
        self._line = line
        self._post = post
        self.record = record
        self.started = started
        self.permit: Permit
        self.submission: Submission

    def answered(self, outcome: Answer | MmsError | None) -> None:
        """What the engine says. Never raises: others of the batch are still to be told."""
        try:
            self._leave()
            if outcome is None:
                self._line.go_the_long_way(self._post, self.started)
            elif isinstance(outcome, MmsError):
                self._refuse(outcome)
            else:
                self._succeed(outcome)
        except Exception:
            logger.exception("request failed", extra={"request_id": self.record.request_id})
            self._line.abort()

    def client_gone(self) -> None:
        """The connection is lost: nobody waits for the answer."""
        self.submission.drop()
        self._leave()
        self.record.status = CLIENT_CLOSED
        self._close()

    def cut_off(self) -> None:
        """The server stops: it is told so instead of its answer."""
        self.submission.drop()
        self._leave()
        self._refuse(Draining("The server is shutting down; try another one."))

    def _leave(self) -> None:
        self.permit.release()
        self._directly.running.discard(self)

    def _succeed(self, answer: Answer) -> None:
        self.record.answer = answer
        headers = reply_headers(answer, echo_attributes=self._directly.limits.echo_attributes)
        if self.record.route is ENDPOINT:
            headers.append(INVOKED_VARIANT)
        self._respond(200, headers, answer.body)

    def _refuse(self, error: MmsError) -> None:
        record = self.record
        record.error = error
        problem: Problem = (
            runtime_problem_of(error, from_model=True)
            if record.route is ENDPOINT
            else problem_of(error)
        )
        body = problem.body(record.request_id)
        headers = [*problem.head(), (b"content-length", b"%d" % len(body))]
        self._respond(problem.status, headers, body)

    def _respond(self, status: int, headers: Headers, body: bytes) -> None:
        record = self.record
        record.status = status
        record.bytes_out = len(body)
        headers += id_headers(record)
        self._line.answer(status, headers, body)
        self._close()

    def _close(self) -> None:
        """Tell the observer; the last thing that happens."""
        self.record.seconds = self._directly.clock() - self.started
        self._directly.observer.request(self.record)


class Directly:
    """Takes requests to the short way; one for the life of the server."""

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
        self.limits = limits
        self.observer = observer
        self.clock = clock
        self.running: set[Direct] = set()
        self._backend = backend
        self._asking = asking
        self._ids = ids

    def take(self, line: Line, post: Post) -> Direct | None:
        """Send it on its way; None: nothing has happened, and it has to go the long way."""
        url = post.url
        found = match(url)
        if found is None or b"?" in url or b"#" in url or len(post.body) > self.limits.max_body:
            return None
        head = scan(post.headers)
        if not head.is_plain:
            return None
        started = self.clock()
        record = RequestRecord(
            route=found[0],
            method="POST",
            request_id=self._ids.make(),
            caller_id=head.caller_id,
            bytes_in=len(post.body),
            client=post.client,
        )
        direct = Direct(self, line, post, record, started)
        try:
            is_taken = self._submit(direct, head, found[1], post.body)
        except Exception:  # noqa: BLE001 - the long way meets it again, and says what it is
            return None
        if not is_taken:
            return None
        self.running.add(direct)
        return direct

    def _submit(self, direct: Direct, head: RequestHead, name: bytes, body: bytes) -> bool:
        """Give it its permit and its submission, or leave nothing behind."""
        record = direct.record
        key = self._asking.key(record.route, name, head, record)
        invocation = Invocation(spec=self._asking.spec(head), body=body)
        permit = self._backend.admit(len(body))
        submission = None
        try:
            permit.grow(len(body))
            deadline = direct.started + self.limits.request_timeout_s
            submission = self._backend.submit(
                key, invocation, deadline=deadline, on_answer=direct.answered
            )
        finally:
            if submission is None:
                permit.release()
        if submission is None:
            return False
        direct.permit, direct.submission = permit, submission
        return True
