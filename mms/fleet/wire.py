"""Frames: the bytes between the front, the zygote and a worker. ``payloads`` has what is in them.

A message is one or more frames of at most 256 kB; frames of several messages may be interleaved, so
a big body blocks nobody. ``parts`` are the pieces of a payload in order, joined as late as
possible. Whatever a peer sends, :meth:`Assembler.feed` returns messages or raises
:class:`ProtocolError`, after which the front gives that worker up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

MAX_FRAME: Final = 256 * 1024
MAX_MESSAGE: Final = 1 << 30  # what the front takes from a worker, open messages together
MAX_OPEN: Final = 64  # messages a peer may have begun and not ended

READY: Final = 1  # worker to front, once: it can take work
LOAD: Final = 2
LOADED: Final = 3
FAILED: Final = 4  # answers LOAD
UNLOAD: Final = 5
UNLOADED: Final = 6  # the memory is given back
BATCH: Final = 7
RESULT: Final = 8
SHUTDOWN: Final = 9  # front to worker: exit now, nothing is in flight

FORK: Final = 1  # front to zygote, with two descriptors: the worker's socket and its page
KILL: Final = 2
FORKED: Final = 3  # zygote to front
EXITED: Final = 4

_MAGIC: Final = 0x6D6D
_MORE: Final = 1
_CHUNK_COST: Final = 64  # what a frame costs to keep beside its bytes, so that tiny ones count
_HEADER = Struct("<IBBHQ")  # payload bytes, kind, flags, magic, id
_CONTROL = Struct("<IIi")  # what, worker id, pid or signal or status
CONTROL_BYTES: Final = _CONTROL.size
HEADER_BYTES: Final = _HEADER.size


class ProtocolError(Exception):
    """The peer sent what no peer of ours sends; it is not to be trusted any further."""


class Message(NamedTuple):
    kind: int
    id: int
    payload: bytes


def control(what: int, worker_id: int, argument: int = 0) -> bytes:
    """One packet between the front and the zygote."""
    return _CONTROL.pack(what, worker_id, argument)


def decode_control(packet: bytes) -> tuple[int, int, int]:
    if len(packet) != CONTROL_BYTES:
        raise ProtocolError("not a packet of the zygote")
    what, worker_id, argument = _CONTROL.unpack(packet)
    return what, worker_id, argument


def frame(kind: int, ident: int, parts: Sequence[bytes], size: int) -> bytes:
    """A whole message as one frame; ``size`` is the parts' sum, at most MAX_FRAME."""
    return b"".join((_HEADER.pack(size, kind, 0, _MAGIC, ident), *parts))


def frames(
    kind: int, ident: int, parts: Sequence[bytes], limit: int = MAX_FRAME
) -> Iterator[bytes]:
    """A message as frames of at most ``limit`` bytes, each copied only when it is asked for."""
    left = sum(map(len, parts))
    room, pieces = min(limit, left), list[memoryview | bytes]()
    for part in parts:
        view = memoryview(part)
        while len(view) >= room:  # fills the frame that is open
            pieces.append(view[:room])
            view, left = view[room:], left - room
            header = _HEADER.pack(sum(map(len, pieces)), kind, _MORE if left else 0, _MAGIC, ident)
            yield b"".join((header, *pieces))
            room, pieces = min(limit, left), []
            if not left:
                return
        if len(view):
            pieces.append(view)
            room, left = room - len(view), left - len(view)
    if not parts:
        yield frame(kind, ident, (), 0)


class _Open:
    """A message of which frames are still to come."""

    __slots__ = ("chunks", "cost", "kind")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.chunks: list[bytes] = []
        self.cost = 0


class _Frame(NamedTuple):
    kind: int
    flags: int
    ident: int


class Assembler:
    """Turns a byte stream, cut anywhere, back into messages.

    The bytes of a big message are copied once on their way in, and once more when it is whole.
    """

    def __init__(self, *, max_message: int = MAX_MESSAGE, max_open: int = MAX_OPEN) -> None:
        self._max_message = max_message
        self._max_open = max_open
        self._header = bytearray()  # one that has come in part
        self._frame: _Frame | None = None  # one whose payload has come in part
        self._pieces: list[bytes] = []
        self._missing = 0
        self._open: dict[int, _Open] = {}
        self._held = 0  # what self._open costs

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """The messages that ``data`` completes; a memoryview isn't referred to afterwards."""
        out: list[Message] = []
        at, size = 0, len(data)
        while at < size:
            if self._frame is not None:
                at = self._go_on(self._frame, data, at, out)
            elif self._header or size - at < HEADER_BYTES:
                end = min(size, at + HEADER_BYTES - len(self._header))
                self._header += data[at:end]
                at = end
                if len(self._header) == HEADER_BYTES:
                    at = self._begin(bytes(self._header), 0, data, at, out)
                    self._header.clear()
            else:
                at = self._begin(data, at, data, at + HEADER_BYTES, out)
        return out

    def _begin(
        self,
        header: bytes | memoryview,
        header_at: int,
        data: bytes | memoryview,
        at: int,
        out: list[Message],
    ) -> int:
        """A frame whose header is whole; returns up to where ``data`` is used."""
        length, kind, flags, magic, ident = _HEADER.unpack_from(header, header_at)
        if magic != _MAGIC or length > MAX_FRAME or not READY <= kind <= SHUTDOWN:
            raise ProtocolError("not a frame")
        end = at + length
        if end > len(data):
            self._frame, self._missing = _Frame(kind, flags, ident), length
        elif flags or ident in self._open:
            self._collect(_Frame(kind, flags, ident), [bytes(data[at:end])], out)
            return int(end)
        else:
            out.append(Message(kind, ident, bytes(data[at:end])))
            return int(end)
        return at

    def _go_on(self, frame: _Frame, data: bytes | memoryview, at: int, out: list[Message]) -> int:
        piece = bytes(data[at : at + self._missing])
        self._pieces.append(piece)
        self._missing -= len(piece)
        if not self._missing:
            pieces, self._pieces, self._frame = self._pieces, [], None
            self._collect(frame, pieces, out)
        return at + len(piece)

    def _collect(self, frame: _Frame, pieces: list[bytes], out: list[Message]) -> None:
        """A whole frame: the message's last, or to be kept with what came before."""
        kind, flags, ident = frame
        pending = self._open.get(ident)
        if pending is None:
            if not flags:
                out.append(Message(kind, ident, b"".join(pieces)))
                return
            if len(self._open) >= self._max_open:
                raise ProtocolError("too many messages begun")
            pending = self._open[ident] = _Open(kind)
        cost = sum(map(len, pieces)) + _CHUNK_COST * len(pieces)
        pending.cost += cost
        self._held += cost
        if pending.kind != kind or self._held > self._max_message or flags not in {0, _MORE}:
            raise ProtocolError("a message that is too big, or changes on its way")
        pending.chunks += pieces
        if not flags:
            del self._open[ident]
            self._held -= pending.cost
            out.append(Message(kind, ident, b"".join(pending.chunks)))
