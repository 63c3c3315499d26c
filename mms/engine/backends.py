"""The three ways to run, over one engine: what a target or a name means in each.

* ``PrefixBackend``: self-hosted. Targets are keys below a prefix, loaded by the first request.
* ``PlatformBackend``: SageMaker's multi-model container. Names are what the platform loads.
* ``SingleBackend``: SageMaker's single-model container. One model, loaded at start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mms.engine.admission import Permit
from mms.engine.engine import Engine
from mms.engine.registry import ModelState
from mms.engine.source import FolderSource
from mms.engine.submission import OnAnswer, Submission
from mms.errors import MmsError, ModelAlreadyLoaded, ModelNotFound, ValidationError
from mms.target import parse_target
from mms.types import Answer, Invocation, ModelListing, TargetModel

SINGLE = "model"  # the one name of a single-model container


class Lifecycle:
    """What all three share: the door, readiness, the drain, the sequence."""

    def __init__(self, engine: Engine, *, has_worker: Callable[[], bool]) -> None:
        self._engine = engine
        self._has_worker = has_worker
        self.is_draining = False

    def admit(self, nbytes: int) -> Permit:
        """A permit for one request. Raises Overloaded."""
        return self._engine.admission.admit(nbytes)

    async def invoke(self, key: str, invocation: Invocation, *, deadline: float) -> Answer:
        return await self._engine.invoke(key, invocation, deadline=deadline)

    def submit(
        self, key: str, invocation: Invocation, *, deadline: float, on_answer: OnAnswer
    ) -> Submission | None:
        """The same for a model that is resident, without a task. Raises Overloaded."""
        return self._engine.submit(key, invocation, deadline=deadline, on_answer=on_answer)

    @property
    def inflight(self) -> int:
        return self._engine.admission.requests

    @property
    def is_live(self) -> bool:
        return True

    @property
    def is_ready(self) -> bool:
        return not self.is_draining and self._has_worker()

    def begin_drain(self) -> None:
        """Lame duck: not ready any more, still serving."""
        self.is_draining = True

    def _is_resident(self, key: str) -> bool:
        entry = self._engine.registry.find(key)
        return entry is not None and entry.state is ModelState.READY


class PrefixBackend(Lifecycle):
    """Self-hosted: the model API works on targets, and everything loads by itself."""

    mode: Literal["self", "multi", "single"] = "self"

    def __init__(
        self, engine: Engine, *, has_worker: Callable[[], bool], store_id: str, load_s: float
    ) -> None:
        super().__init__(engine, has_worker=has_worker)
        self._store_id = store_id
        self._load_s = load_s

    def resolve(self, target: TargetModel | None) -> str:
        if target is None:
            raise ValidationError(
                "the request is missing a target model header: send "
                "X-Amzn-SageMaker-Target-Model with the model's key below the prefix"
            )
        return target

    def resolve_name(self, name: str, target: TargetModel | None) -> str:
        key = parse_target(name)
        if target is not None and target != key:
            raise _other_target()
        return key

    async def load(self, name: str, url: str | None, target: TargetModel | None) -> None:
        """Load a target ahead of its first request; ``url`` is the prefix's business here."""
        del url, target
        key = parse_target(name)
        if not await self._engine.load(key, deadline=time.monotonic() + self._load_s):
            raise ModelAlreadyLoaded(f"{key} is loaded already")

    async def unload(self, name: str) -> None:
        await self._engine.unload(parse_target(name))

    def models(self) -> list[ModelListing]:
        keys = sorted(entry.key for entry in self._engine.registry.ready())
        return [ModelListing(name=key, url=self._url(key)) for key in keys]

    def model(self, name: str) -> ModelListing:
        key = parse_target(name)
        if not self._is_resident(key):
            raise ModelNotFound(f"{key} is not loaded")
        return ModelListing(name=key, url=self._url(key))

    def _url(self, key: str) -> str:
        return f"{self._store_id.removesuffix('/')}/{key}"


@dataclass(frozen=True, slots=True)
class Registration:
    """What the platform said when it loaded a name."""

    url: str
    target: TargetModel | None


class PlatformBackend(Lifecycle):
    """SageMaker's multi-model container: the platform loads and unloads, we say 409 and 507."""

    mode: Literal["self", "multi", "single"] = "multi"

    def __init__(
        self,
        engine: Engine,
        *,
        has_worker: Callable[[], bool],
        source: FolderSource,
        load_s: float,
    ) -> None:
        super().__init__(engine, has_worker=has_worker)
        self._source = source
        self._load_s = load_s
        self._registered: dict[str, Registration] = {}

    def resolve(self, target: TargetModel | None) -> str:
        """The loaded model that was loaded under this header, or whose name it is."""
        if target is None:
            raise ValidationError("the request is missing a target model header")
        if target in self._registered:
            return target
        for name, registration in self._registered.items():
            if registration.target == target:
                return name
        raise ModelNotFound(f"{target} is not loaded")

    def resolve_name(self, name: str, target: TargetModel | None) -> str:
        registration = self._registration(name)
        if target is not None and registration.target not in {None, target}:
            raise _other_target()
        return name

    async def load(self, name: str, url: str | None, target: TargetModel | None) -> None:
        if url is None or not await asyncio.to_thread(Path(url).is_dir):
            raise ModelNotFound(f"there is no folder {url}")
        registration = self._register(name, url, target)
        try:
            await self._engine.load(name, deadline=time.monotonic() + self._load_s)
        except MmsError:
            # Not if it still loads, nor if it is another one by now.
            if self._engine.registry.find(name) is None and (
                self._registered.get(name) is registration
            ):
                self._forget(name)
            raise

    def _register(self, name: str, url: str, target: TargetModel | None) -> Registration:
        """As what the name is loaded; where it is being loaded already, as what it is."""
        known = self._registered.get(name)
        if known is not None and self._is_resident(name):
            raise ModelAlreadyLoaded(f"{name} is loaded already")
        if known is not None and self._engine.registry.find(name) is not None:
            return known
        self._engine.failures.clear(name)  # they were of whatever had the name before
        registration = self._registered[name] = Registration(url, target)
        self._source.folders[name] = Path(url)
        return registration

    async def unload(self, name: str) -> None:
        self._registration(name)
        self._forget(name)  # first: by the time it is unloaded, the name may be another model's
        if self._engine.registry.find(name) is not None:
            await self._engine.unload(name)

    def models(self) -> list[ModelListing]:
        loaded = [(n, r) for n, r in self._registered.items() if self._is_resident(n)]
        return [ModelListing(name=name, url=registration.url) for name, registration in loaded]

    def model(self, name: str) -> ModelListing:
        return ModelListing(name=name, url=self._registration(name).url)

    def _registration(self, name: str) -> Registration:
        try:
            return self._registered[name]
        except KeyError:
            raise ModelNotFound(f"{name} is not loaded") from None

    def _forget(self, name: str) -> None:
        self._registered.pop(name, None)
        self._source.folders.pop(name, None)
        self._engine.failures.clear(name)


class SingleBackend(Lifecycle):
    """SageMaker's single-model container: ready once its one model is."""

    mode: Literal["self", "multi", "single"] = "single"

    def __init__(
        self, engine: Engine, *, has_worker: Callable[[], bool], folder: Path, load_s: float
    ) -> None:
        super().__init__(engine, has_worker=has_worker)
        self._folder = folder
        self._load_s = load_s
        self._was_loaded = False

    async def start(self) -> None:
        """Load the model. Raises what the load does: there is nothing to serve without it."""
        if not await asyncio.to_thread(self._folder.is_dir):
            raise ModelNotFound(
                f"MMS_MODELS is not set and there is no model in {self._folder}: "
                "set MMS_MODELS to s3://bucket/prefix/ or a local folder"
            )
        await self._engine.load(SINGLE, deadline=time.monotonic() + self._load_s)
        self._was_loaded = True

    @property
    def is_ready(self) -> bool:
        return self._was_loaded and super().is_ready

    def resolve(self, target: TargetModel | None) -> str:
        if target is not None:
            raise ValidationError(
                "this is not a multi-model endpoint and does not support the target model header"
            )
        return SINGLE

    def resolve_name(self, name: str, target: TargetModel | None) -> str:
        self.model(name)
        return self.resolve(target)

    async def load(self, name: str, url: str | None, target: TargetModel | None) -> None:
        del name, url, target
        raise ValidationError("this is a single-model endpoint: its model is loaded at start")

    async def unload(self, name: str) -> None:
        del name
        raise ValidationError("this is a single-model endpoint: its model stays loaded")

    def models(self) -> list[ModelListing]:
        return [ModelListing(name=SINGLE, url=str(self._folder))] if self._was_loaded else []

    def model(self, name: str) -> ModelListing:
        if name != SINGLE or not self._was_loaded:
            raise ModelNotFound(f"{name} is not loaded")
        return ModelListing(name=SINGLE, url=str(self._folder))


def _other_target() -> ValidationError:
    return ValidationError(
        "the X-Amzn-SageMaker-Target-Model header does not match the model in the URL"
    )
