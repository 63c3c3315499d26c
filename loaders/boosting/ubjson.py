"""Universal Binary JSON, as far as XGBoost writes it.

Reads a whole document into dicts, lists, strings, numbers and NumPy arrays (for arrays of one
number type). Bounded: nothing is allocated that the bytes don't hold, and nesting ends early. What
isn't such a document is a ``ValueError``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

MAX_DEPTH: Final = 32
_NUMBERS: Final[dict[bytes, np.dtype[Any]]] = {
    b"i": np.dtype(">i1"),
    b"U": np.dtype(">u1"),
    b"I": np.dtype(">i2"),
    b"l": np.dtype(">i4"),
    b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"),
    b"D": np.dtype(">f8"),
}
_CONSTANTS: Final = {b"Z": None, b"T": True, b"F": False}


def parse(data: bytes | bytearray | memoryview) -> Any:
    """The document; bytes behind it are an error."""
    reader = _Reader(memoryview(data))
    document = reader.value(reader.marker(), MAX_DEPTH)
    if not reader.is_done():
        raise ValueError("there is more behind the end")
    return document


def member(data: bytes | bytearray | memoryview, name: str) -> bytes:
    """The bytes of one member's value, of an object whose document parses."""
    reader = _Reader(memoryview(data))
    reader.marker()
    return reader.member(name)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def is_done(self) -> bool:
        return self._at == len(self._data)

    def value(self, marker: bytes, depth: int) -> Any:
        if not depth:
            raise ValueError("nested too deep")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker == b"S":
            return self._text()
        if marker == b"C":
            return self._take(1).decode()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"[":
            return self._array(depth - 1)
        if marker == b"{":
            return self._object(depth - 1)
        raise ValueError("a marker of no known type")

    def member(self, wanted: str) -> bytes:
        while not self._if_next(b"}"):
            name = self._text()
            start = self._at
            self.value(self.marker(), MAX_DEPTH)
            if name == wanted:
                return bytes(self._data[start : self._at])
        raise ValueError("there is no such member")

    def marker(self) -> bytes:
        marker = self._take(1)
        while marker == b"N":  # a no-op
            marker = self._take(1)
        return marker

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError("ends in the middle")
        taken = bytes(self._data[self._at : end])
        self._at = end
        return taken

    def _peek(self) -> bytes:
        return bytes(self._data[self._at : self._at + 1])

    def _number(self, marker: bytes) -> int | float:
        kind = _NUMBERS[marker]
        number: int | float = np.frombuffer(self._take(kind.itemsize), kind)[0].item()
        return number

    def _length(self) -> int:
        length = self._number(self._length_marker())
        if not isinstance(length, int) or length < 0:
            raise ValueError("a length that is none")
        return length

    def _length_marker(self) -> bytes:
        marker = self._take(1)
        if marker not in _NUMBERS:
            raise ValueError("a length that is none")
        return marker

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _array(self, depth: int) -> Any:
        kind = self._if_next(b"$") and self._take(1)
        if self._if_next(b"#"):
            count = self._length()
            if kind in _NUMBERS:
                return self._numbers(_NUMBERS[kind], count)
            if count > len(self._data) - self._at:
                raise ValueError("ends in the middle")
            return [self.value(kind or self.marker(), depth) for _ in range(count)]
        if kind:
            raise ValueError("a type without a count")
        items = []
        while not self._if_next(b"]"):
            items.append(self.value(self.marker(), depth))
        return items

    def _numbers(self, kind: np.dtype[Any], count: int) -> Any:
        data = self._take(count * kind.itemsize)
        return np.frombuffer(data, kind).astype(kind.newbyteorder("="))

    def _object(self, depth: int) -> dict[str, Any]:
        if self._peek() in {b"$", b"#"}:
            raise ValueError("an object with a count, which XGBoost doesn't write")
        items: dict[str, Any] = {}
        while not self._if_next(b"}"):
            name = self._text()
            if name in items:  # XGBoost would take the first, and what is checked is one of them
                raise ValueError("a name twice in one object")
            items[name] = self.value(self.marker(), depth)
        return items

    def _if_next(self, wanted: bytes) -> bytes:
        """``wanted`` if it comes next, and then it is taken; else nothing."""
        return self._take(1) if self._peek() == wanted else b""
