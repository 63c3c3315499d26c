"""How an invocation ended, as metrics count it: the one table from ErrorCodes to outcomes."""

from __future__ import annotations

from typing import Literal

Outcome = Literal[
    "ok",
    "client_error",
    "not_found",
    "load_error",
    "loading",
    "model_error",
    "timeout",
    "out_of_memory",
    "rejected",
    "cancelled",
]
_OUTCOMES: dict[str, Outcome] = {
    "ok": "ok",
    "cancelled": "cancelled",
    "ValidationError": "client_error",
    "RequestTimeout": "client_error",
    "Unauthorized": "client_error",
    "NotFound": "client_error",
    "MethodNotAllowed": "client_error",
    "NotAcceptable": "client_error",
    "PayloadTooLarge": "client_error",
    "UnsupportedMediaType": "client_error",
    "HeadersTooLarge": "client_error",
    "ModelAlreadyLoaded": "client_error",
    "ModelNotFound": "not_found",
    "ModelLoadError": "load_error",
    "ModelNotReadyException": "loading",
    "ModelError": "model_error",
    "ModelTimeout": "timeout",
    "InsufficientStorage": "out_of_memory",
    "ServiceUnavailable": "rejected",
}
# What only a loaded model can cause: proof that the name is a model's.
BY_A_MODEL = frozenset({"ok", "model_error", "timeout"})


def outcome_of(code: str) -> Outcome:
    """The outcome that an ErrorCode counts as; "ok" and "cancelled" are themselves."""
    return _OUTCOMES.get(code, "model_error")
