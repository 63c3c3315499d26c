"""What an invocation asks for: its route, the model it means, and what the model has to know.

Three doors lead to the same sequence; they differ in how the model is named. Shared by the two ways
in which a request is answered, so that neither lets through what the other refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from mms.api.model_name import model_name_in
from mms.api.ports import Backend, RequestRecord, SpecFor
from mms.api.request_head import ATTRIBUTES, RequestHead
from mms.api.runtime import check_endpoint_name

INVOCATIONS: Final = "/invocations"
NAMED: Final = "/models/{name}/invoke"
ENDPOINT: Final = "/endpoints/{EndpointName}/invocations"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeLimits:
    """What bounds one invocation."""

    max_body: int = 6_291_456
    request_timeout_s: float = 55.0
    echo_attributes: bool = False


def match(raw_path: bytes) -> tuple[str, bytes] | None:
    """The route and the raw name in it, if the path is an invocation's."""
    if raw_path == b"/invocations":
        return INVOCATIONS, b""
    if raw_path.startswith(b"/models/") and raw_path.endswith(b"/invoke"):
        name = raw_path[8:-7]
        return (NAMED, name) if name else None
    if raw_path.startswith(b"/endpoints/") and raw_path.endswith(b"/invocations"):
        name = raw_path[11:-12]
        return (ENDPOINT, name) if name and b"/" not in name else None
    return None


class Asking:
    """Reads heads on behalf of one backend; raises ``mms.errors``."""

    def __init__(
        self, backend: Backend, spec_for: SpecFor, *, max_body: int, default_accept: str
    ) -> None:
        self._backend = backend
        self._spec_for = spec_for
        self._max_body = max_body
        self._default_accept = default_accept

    def key(self, route: str, name: bytes, head: RequestHead, record: RequestRecord) -> str:
        """Which model is meant; the record is told its name as soon as it is well-formed."""
        target = head.target()
        if route is NAMED:
            record.model = model = model_name_in(name)
            return self._backend.resolve_name(model, target)
        if route is ENDPOINT:
            check_endpoint_name(unquote(name.decode("ascii"), errors="replace"))
        key = self._backend.resolve(target)
        record.model = target or key
        return key

    def spec(self, head: RequestHead) -> bytes:
        """What its worker has to know of the request."""
        values = head.values
        return self._spec_for(
            values.get(b"content-type"),
            values.get(b"accept"),
            values.get(ATTRIBUTES),
            self._default_accept,
            coding=head.coding(),
            max_body=self._max_body,
        )
