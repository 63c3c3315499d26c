"""The door: a permit is taken before a body is read, and bounds requests and their bytes.

Bytes count once they have come: what was only announced takes no memory, and counting it let a few
dozen slow senders keep everybody out. An announced length that doesn't fit beside what has come is
refused at once all the same, before it is sent.
"""

from __future__ import annotations

from mms.errors import Overloaded


class Admission:
    """Counts what is admitted; refuses at once beyond the bounds."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.requests = 0
        self.bytes = 0
        self.max_requests = max_requests
        self._max_bytes = max_bytes

    def admit(self, nbytes: int) -> Permit:
        """A permit for a request that announces ``nbytes``; raises Overloaded."""
        if self.requests >= self.max_requests:
            raise Overloaded(
                f"{self.requests} requests are in flight already (MMS_MAX_INFLIGHT)",
                retry_after_s=1,
            )
        self._check_bytes(nbytes)
        self.requests += 1
        return Permit(self)

    def _check_bytes(self, nbytes: int) -> None:
        if nbytes and self.bytes + nbytes > self._max_bytes:
            raise Overloaded(
                "the bodies in flight take all the memory they may (MMS_MAX_INFLIGHT_BYTES)",
                retry_after_s=1,
            )


class Permit:
    """One admitted request; ``release`` may be called more than once."""

    __slots__ = ("_admission", "_bytes", "_is_held")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0
        self._is_held = True

    def grow(self, nbytes: int) -> None:
        """Another ``nbytes`` of the body came. Raises Overloaded."""
        self._admission._check_bytes(nbytes)  # noqa: SLF001 - the permit is the admission's own
        self._admission.bytes += nbytes
        self._bytes += nbytes

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._admission.requests -= 1
            self._admission.bytes -= self._bytes
