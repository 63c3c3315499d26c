"""Reading a request's body within its bounds, and what happens when the client doesn't send it.

An announced length over the limit is refused before a byte is read (so also before a waiting client
is told to continue); a chunked body when it grows over it. Time is bounded by the caller.
"""

from __future__ import annotations

from starlette.types import Receive

from mms.api.ports import Permit
from mms.errors import PayloadTooLarge


class ClientGone(Exception):  # nobody is left to be told of an error
    """The client closed the connection before it got its answer."""


def check_length(length: int | None, limit: int) -> None:
    """Raise PayloadTooLarge if the announced length is over the limit."""
    if length is not None and length > limit:
        raise PayloadTooLarge(
            f"The body has {length} bytes; at most {limit} are accepted (MMS_MAX_BODY)."
        )


async def read_body(receive: Receive, *, limit: int, permit: Permit | None = None) -> bytes:
    """The whole body; its bytes are counted against ``permit`` as they come."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise PayloadTooLarge(f"The body has over {limit} bytes (MMS_MAX_BODY).")
        if permit is not None:
            permit.grow(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
