"""The error tree: what can go wrong, named after what the caller has to know.

No HTTP here: ``mms.api.problems`` holds the one table from these classes to statuses. A message is
written for the caller and never holds a traceback, a credential or a path below the cache folder.
``code`` is the public ErrorCode; it is also how an error crosses the socket from a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import Self  # novm: the oldest Python of a worker never gets here


class MmsError(Exception):
    """Anything the server says no with; ``retry_after_s`` is set where trying again can help."""

    code: ClassVar[str] = "ModelError"
    reason: ClassVar[str] = "internal"  # the label value in metrics

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s

    def again(self) -> Self:
        """The same error, fresh: one that is raised twice collects tracebacks and their frames."""
        fresh = type(self).__new__(type(self), *self.args)
        fresh.__dict__ |= self.__dict__  # not by __init__: each class has its own parameters
        return fresh


class ValidationError(MmsError):
    """The request is wrong: target, body, columns, types or values."""

    code = "ValidationError"
    reason = "invalid"


class RequestTimeout(MmsError):
    """The client did not send its body in time."""

    code = "RequestTimeout"
    reason = "slow_client"


class Unauthorized(MmsError):
    code = "Unauthorized"
    reason = "unauthorized"


class NotFound(MmsError):
    """No such route."""

    code = "NotFound"
    reason = "no_route"


class MethodNotAllowed(MmsError):
    code = "MethodNotAllowed"
    reason = "method"


class ModelNotFound(MmsError):
    """The store has no such artifact, or says so to us."""

    code = "ModelNotFound"
    reason = "not_found"


class NotAcceptable(MmsError):
    code = "NotAcceptable"
    reason = "not_acceptable"


class PayloadTooLarge(MmsError):
    code = "PayloadTooLarge"
    reason = "too_large"


class UnsupportedMediaType(MmsError):
    code = "UnsupportedMediaType"
    reason = "media_type"


class HeadersTooLarge(MmsError):
    code = "HeadersTooLarge"
    reason = "headers"


class ModelAlreadyLoaded(MmsError):
    code = "ModelAlreadyLoaded"
    reason = "already_loaded"


class ModelLoadError(MmsError):
    """The artifact is there but can't be loaded; the message says why."""

    code = "ModelLoadError"
    reason = "artifact"


class OtherEnvironment(ModelLoadError):
    """Never a caller's to see: the load is to be done in the environment of this message's name."""

    code = "OtherEnvironment"


class ModelNotReady(MmsError):
    """Still loading when the caller's patience ended; the load goes on."""

    code = "ModelNotReadyException"
    reason = "loading"


class ModelError(MmsError):
    """Predict raised something that isn't bad input, or its worker died under it."""

    code = "ModelError"
    reason = "model"


class ServiceUnavailable(MmsError):
    """Not now: overloaded, draining, no room, store out of reach."""

    code = "ServiceUnavailable"
    reason = "unavailable"


class Overloaded(ServiceUnavailable):
    reason = "overloaded"


class Draining(ServiceUnavailable):
    reason = "draining"


class NoRoom(ServiceUnavailable):
    """The model would fit, but what is resident is all in use."""

    reason = "no_room"


class StoreUnavailable(ServiceUnavailable):
    """The store is down, throttling, slow, or cut an answer short."""

    reason = "store"


class ModelTimeout(MmsError):
    """Predict passed its deadline."""

    code = "ModelTimeout"
    reason = "timeout"


class InsufficientStorage(MmsError):
    """The model can never fit, or ran out of memory."""

    code = "InsufficientStorage"
    reason = "memory"


_FROM_WORKER: dict[str, type[MmsError]] = {
    cls.code: cls
    for cls in (
        ValidationError,
        NotAcceptable,
        UnsupportedMediaType,
        PayloadTooLarge,
        ModelLoadError,
        OtherEnvironment,
        ModelError,
        InsufficientStorage,
    )
}


def from_code(code: str, message: str) -> MmsError:
    """The error a worker reported; a code it has no business with becomes a ``ModelError``."""
    return _FROM_WORKER.get(code, ModelError)(message)
