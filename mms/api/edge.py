"""What all connections of a server share: their bounds, who is told, and how input is refused.

``refusal`` is for what never becomes a request (it isn't HTTP, its head is too large or too slow),
so no application sees it; it looks like every other error and is observed like one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mms.api.direct import Directly
from mms.api.ports import NullObserver, Observer, RequestRecord
from mms.api.problems import problem_of
from mms.api.request_ids import RequestIds
from mms.api.whole import whole_response
from mms.errors import MmsError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may cost."""

    max_head_bytes: int = 65_536
    max_headers: int = 256
    max_pipelined: int = 64
    keep_alive_s: float = 75.0  # idle, before the first request and between two
    head_timeout_s: float = 15.0
    unread_answer_s: float = 60.0  # the client takes nothing of its answer
    linger_s: float = 5.0
    linger_bytes: int = 64 * 2**20


@dataclass(slots=True, kw_only=True)
class Edge:
    """What all connections of a server share."""

    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    observer: Observer = field(default_factory=NullObserver)
    ids: RequestIds = field(default_factory=RequestIds)
    directly: Directly | None = None  # the short way, where there is one
    is_draining: bool = False  # every answer from now on is its connection's last


def refusal(error: MmsError, edge: Edge, *, client: str) -> bytes:
    """The whole response to input that can't be parsed, observed."""
    problem, request_id = problem_of(error), edge.ids.make()
    body = problem.body(request_id)
    head = [
        *problem.head(),
        (b"content-length", b"%d" % len(body)),
        (b"x-amzn-requestid", request_id.encode()),
        (b"connection", b"close"),
    ]
    edge.observer.request(
        RequestRecord(
            route="other",
            method="",
            request_id=request_id,
            status=problem.status,
            bytes_out=len(body),
            client=client,
            error=error,
        )
    )
    return whole_response(problem.status, head, body)
