"""What a scan says of one artifact: whether it serves, what it is, and what it would need.

Data and pure functions. The findings come from a worker that had the artifact in its hands, so
they are checked like everything that a worker says: unknown keys are dropped, wrong types are left
out, texts are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from mms.errors import InsufficientStorage, MmsError, ServiceUnavailable
from mms.types import Loaded

Status = Literal["serves", "needs", "fails", "unknown"]
"""serves as it is; would if it had what it ``needs``; can't; the scan could not find out."""

_STATUS: Final[dict[str, Status]] = {"serves": "serves", "needs": "needs"}
_MAX_TEXT: Final = 2000
_MAX_ITEMS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One artifact. ``needs`` are short: "trust", "scikit-learn 1.2"."""

    target: str
    bytes: int  # in the store
    status: Status
    needs: tuple[str, ...] = ()
    message: str = ""
    format: str = ""
    environment: str = ""  # the one of MMS_ENVS that it serves in
    versions: Mapping[str, str] = field(default_factory=dict)
    script: str = ""  # its own inference code
    unmet: tuple[str, ...] = ()  # requirements of that code
    refused: tuple[str, ...] = ()  # names that its pickle may not use
    memory_bytes: int | None = None
    load_s: float | None = None
    probe: str | None = None  # "ok", or what a predict of made-up values came to

    def as_json(self) -> dict[str, Any]:
        """Without what wasn't looked for."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def of_findings(target: str, size: int, loaded: Loaded) -> Verdict:
    """The verdict that a worker's findings amount to."""
    found = loaded.signature
    status, load_s = _text(found.get("status")), _seconds(found.get("load_s"))
    return Verdict(
        target=target,
        bytes=size,
        status=_STATUS.get(status, "fails"),
        needs=_texts(found.get("needs")),
        message=_text(found.get("message")),
        format=_text(found.get("format")),
        environment=_text(found.get("environment")),
        versions=_pairs(found.get("versions")),
        script=_text(found.get("script")),
        unmet=_texts(found.get("unmet")),
        refused=_texts(found.get("refused")),
        memory_bytes=None if load_s is None else loaded.bytes,
        load_s=load_s,
        probe=_text(found.get("probe")) or None,
    )


def of_error(target: str, size: int, error: MmsError) -> Verdict:
    """The verdict where the artifact never got as far as findings."""
    is_passing = isinstance(error, ServiceUnavailable) and not isinstance(
        error, InsufficientStorage
    )
    status: Status = "unknown" if is_passing else "fails"
    return Verdict(target=target, bytes=size, status=status, message=error.message)


def _text(value: object) -> str:
    return " ".join(value[:_MAX_TEXT].split()) if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    items = value[:_MAX_ITEMS] if isinstance(value, list) else []
    return tuple(text for text in map(_text, items) if text)


def _pairs(value: object) -> dict[str, str]:
    items = list(value.items())[:_MAX_ITEMS] if isinstance(value, dict) else []
    return {_text(key): _text(text) for key, text in items}


def _seconds(value: object) -> float | None:
    return round(float(value), 4) if type(value) in {int, float} and value >= 0 else None  # type: ignore[arg-type,operator]
