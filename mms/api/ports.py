"""What the HTTP layer needs from the rest: the seam between ``mms.api`` and the engine.

Protocols and plain records only. The API parses, bounds and answers; which model is where, what is
admitted and how long a model may take is decided behind ``Backend``. Errors are ``mms.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mms.errors import MmsError
from mms.types import Answer, Invocation, ModelListing, TargetModel

Mode = Literal["self", "multi", "single"]
"""Who brings models: the server itself, the platform by ``POST /models``, or ``/opt/ml/model``."""

RenderMetrics = Callable[[], tuple[bytes, str]]
"""The exposition and its content type."""


class SpecFor(Protocol):
    """``mms.media.headers.spec_for``."""

    def __call__(
        self,
        content_type: bytes | None,
        accept: bytes | None,
        attributes: bytes | None,
        default_accept: str,
        /,
        *,
        coding: str,
        max_body: int,
    ) -> bytes:
        """What the worker has to know of a request; ``coding`` is its body's."""
        ...


class Permit(Protocol):
    """Leave to hold a request and its body in memory."""

    def grow(self, nbytes: int, /) -> None:
        """Count ``nbytes`` of the body that have come; raises Overloaded."""
        ...

    def release(self) -> None:
        """Give everything back; again is harmless."""
        ...


OnAnswer = Callable[[Answer | MmsError | None], None]
"""Told how a submission ended; None: not at all, and it may be tried again by ``invoke``."""


class Submission(Protocol):
    """A request on its way that no task waits for."""

    def drop(self) -> None:
        """Nobody waits for it any more: ``on_answer`` isn't called; again is harmless."""
        ...


class Backend(Protocol):
    """The engine, as the API sees it. Deadlines are on ``time.monotonic``'s clock."""

    @property
    def mode(self) -> Mode: ...

    @property
    def is_live(self) -> bool:
        """Whether ``/ping`` may say yes; doesn't depend on models in ``self`` and ``multi``."""
        ...

    @property
    def is_ready(self) -> bool:
        """Live, and what must be loaded is loaded. In ``single`` mode: the model is."""
        ...

    @property
    def is_draining(self) -> bool: ...

    def begin_drain(self) -> None:
        """From now on not ready, but still serving. Again is harmless."""
        ...

    def admit(self, nbytes: int, /) -> Permit:
        """Admit a request that announces ``nbytes``; raises ServiceUnavailable's classes."""
        ...

    def resolve(self, target: TargetModel | None, /) -> str:
        """The key of the model ``/invocations`` means; raises ValidationError, ModelNotFound."""
        ...

    def resolve_name(self, name: str, target: TargetModel | None, /) -> str:
        """The key of the model loaded as ``name``.

        Raises ValidationError when it was loaded under another target than ``target``.
        """
        ...

    async def invoke(self, key: str, invocation: Invocation, /, *, deadline: float) -> Answer:
        """Answer for a key that was resolved. Cancelling it drops the work."""
        ...

    def submit(
        self, key: str, invocation: Invocation, /, *, deadline: float, on_answer: OnAnswer
    ) -> Submission | None:
        """The same without a task, if the model is resident; else None: ask ``invoke``.

        Raises Overloaded. ``on_answer`` is called once, later, on the loop.
        """
        ...

    async def load(self, name: str, url: str | None, target: TargetModel | None, /) -> None:
        """Return when ``name`` serves. Cancelling it doesn't stop the load."""
        ...

    async def unload(self, name: str, /) -> None:
        """Return when ``name`` is gone and its memory is free."""
        ...

    def models(self) -> Sequence[ModelListing]:
        """What is loaded, in any order."""
        ...

    def model(self, name: str, /) -> ModelListing:
        """Raises ModelNotFound."""
        ...


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """All that metrics and the access log have to know of one answered request."""

    route: str  # a template such as "/models/{name}": a fixed, small set
    method: str
    request_id: str
    caller_id: str = ""  # the caller's X-Request-Id
    model: str = ""  # target or name, once it is known to be well-formed
    status: int = 0  # 499: the client had gone before the answer
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    client: str = ""
    answer: Answer | None = None
    error: MmsError | None = None


class Observer(Protocol):
    """Told once of every request, after its answer was written. Must be quick and never raise."""

    def request(self, record: RequestRecord, /) -> None: ...


class NullObserver:
    """Looks away."""

    def request(self, record: RequestRecord, /) -> None:
        pass
