"""The engine's stand-in at the API's seam: a small, in-memory ``Backend`` that tests can steer.

Models answer with the body they got. A key in ``errors`` raises; a key in ``slow`` waits for its
event. What was started, cancelled, admitted and released is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mms.api.ports import Mode, OnAnswer, Permit
from mms.errors import (
    MmsError,
    ModelAlreadyLoaded,
    ModelNotFound,
    NotAcceptable,
    Overloaded,
    UnsupportedMediaType,
    ValidationError,
)
from mms.types import Answer, Invocation, ModelListing, TargetModel


def stub_spec_for(
    content_type: bytes | None,
    accept: bytes | None,
    attributes: bytes | None,
    default: str,
    /,
    *,
    coding: str,
    max_body: int,
) -> bytes:
    """As strict as ``mms.media`` where the API's tests look."""
    if content_type not in {None, b"application/json", b"text/csv"}:
        raise UnsupportedMediaType("Send JSON or CSV.")
    if accept not in {None, b"*/*", b"application/json", b"text/csv"}:
        raise NotAcceptable("JSON and CSV are offered.")
    if attributes is not None and attributes.startswith(b"method=nonsense"):
        raise ValidationError("There is no such method.")
    fields = [content_type or b"", accept or default.encode(), attributes or b""]
    if coding:
        fields.append(b"%s to %d" % (coding.encode(), max_body))
    return b"|".join(fields)


class FakePermit:
    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend
        self._nbytes = 0
        self._is_released = False
        backend.inflight += 1

    def grow(self, nbytes: int, /) -> None:
        self._nbytes += nbytes
        self._backend.inflight_bytes += nbytes
        self._backend.peak_bytes = max(self._backend.peak_bytes, self._backend.inflight_bytes)
        if self._backend.inflight_bytes > self._backend.max_bytes:
            self.release()
            raise Overloaded("Too many bytes are in flight.", retry_after_s=0.25)

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._backend.inflight -= 1
            self._backend.inflight_bytes -= self._nbytes


class FakeSubmission:
    def __init__(self, answer: Coroutine[Any, Any, Answer], on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._task = asyncio.create_task(answer)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Answer]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._on_answer(task.result())
        else:
            self._on_answer(error if isinstance(error, MmsError) else None)

    def drop(self) -> None:
        self._task.cancel()


@dataclass(kw_only=True)
class FakeBackend:
    is_resident: ClassVar[bool] = False  # whether requests may go the short way

    mode: Mode = "self"
    is_live: bool = True
    is_ready: bool = True
    is_draining: bool = False
    max_bytes: int = 64 * 2**20
    errors: dict[str, Exception] = field(default_factory=dict)
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    loaded: dict[str, tuple[str, TargetModel | None]] = field(default_factory=dict)
    answer: Answer | None = None  # instead of the echo
    admit_error: MmsError | None = None

    inflight: int = 0
    inflight_bytes: int = 0
    peak_bytes: int = 0
    started: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)

    def begin_drain(self) -> None:
        self.is_draining = True

    def admit(self, nbytes: int, /) -> Permit:
        if self.admit_error is not None:
            raise self.admit_error
        del nbytes
        return FakePermit(self)

    def resolve(self, target: TargetModel | None, /) -> str:
        if self.mode == "single":
            if target is not None:
                raise ValidationError("This endpoint has one model and takes no target model.")
            return "model"
        if target is None:
            raise ValidationError("The request is missing a target model header.")
        return target

    async def invoke(self, key: str, invocation: Invocation, /, *, deadline: float) -> Answer:
        self.started.append(key)
        self.deadlines.append(deadline)
        try:
            if key in self.slow:
                await self.slow[key].wait()
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        if key in self.errors:
            raise self.errors[key]
        self.invocations.append(invocation)
        return self.answer or Answer(
            body=invocation.body, content_type=b"application/json", version="abc123"
        )

    def resolve_name(self, name: str, target: TargetModel | None, /) -> str:
        if self.mode == "multi":
            loaded_under = self._entry(name)[1]
            if None not in {target, loaded_under} and target != loaded_under:
                raise ValidationError("The target model header is not that of the load.")
        return name

    def submit(
        self, key: str, invocation: Invocation, /, *, deadline: float, on_answer: OnAnswer
    ) -> FakeSubmission | None:
        if not self.is_resident:
            return None
        return FakeSubmission(self.invoke(key, invocation, deadline=deadline), on_answer)

    async def load(self, name: str, url: str | None, target: TargetModel | None, /) -> None:
        if self.mode == "single":
            raise ValidationError("This endpoint has one model.")
        if name in self.errors:
            raise self.errors[name]
        if name in self.loaded:
            raise ModelAlreadyLoaded(f"Model {name!r} is already loaded.")
        self.loaded[name] = (url or name, target)

    async def unload(self, name: str, /) -> None:
        self._entry(name)
        del self.loaded[name]

    def models(self) -> list[ModelListing]:
        return [ModelListing(name=name, url=url) for name, (url, _) in self.loaded.items()]

    def model(self, name: str, /) -> ModelListing:
        return ModelListing(name=name, url=self._entry(name)[0])

    def _entry(self, name: str) -> tuple[str, TargetModel | None]:
        if name not in self.loaded:
            raise ModelNotFound(f"No model {name!r} is loaded.")
        return self.loaded[name]
