"""How much plain containers hold, walked as code that doesn't know of sharing walks them.

A pickle may hold one list in another twice, and that one twice again: sixty lists that whoever
prints, hashes or compares them never gets to the end of. Likewise keys that all have one hash.
Both are found here in time that grows with what the pickle holds. Pure: looks, changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np

from loaders.base import LoadError

MAX_DEPTH: Final = 200
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_LEAVES: Final = frozenset({str, bytes, int, float, bool, complex, type(None)})
_FREE: Final = 1 << 20  # items that may be walked whatever the pickle's own size
_SHARED: Final = 1000  # how often everything may be walked again by way of another holder
_SAFE_KEYS: Final = frozenset({str, bytes, bool, type(None)})  # what hashes can't be chosen of
_KEY_BITS: Final = 60  # an integer of as many is its own hash
_LONG_BITS: Final = 1024
_KEY_ITEMS: Final = 64
_ALIKE: Final = 64  # keys of one hash in one container


class Walk:
    """Adds up what is below things; raises LoadError where that is far more than there is.

    ``count`` is how many items were looked at. With ``estimators`` it goes into them, too.
    """

    def __init__(self, *, estimators: bool = False) -> None:
        self.count = 0
        self._estimators = estimators
        self._known: dict[int, int] = {}

    def into(self, thing: Any, depth: int = 0) -> int:
        """How many items a walk that doesn't know of sharing would meet below ``thing``."""
        known = self._known.get(id(thing))
        if known is not None:
            return known
        items = self._items(thing)
        if items is None:
            return 0
        if depth > MAX_DEPTH:
            raise LoadError("the pickle is nested too deep, or holds itself")
        self.count += len(items)
        total = len(items)
        for item in items:
            if type(item) not in _LEAVES:
                total += self.into(item, depth + 1)
        if total > _FREE + _SHARED * self.count:
            raise LoadError("the pickle holds the same things in each other again and again")
        self._known[id(thing)] = total
        return total

    def _items(self, thing: Any) -> Collection[Any] | None:
        if isinstance(thing, dict):
            return [*thing.keys(), *thing.values()]
        if isinstance(thing, _CONTAINERS):
            return thing
        if isinstance(thing, np.ndarray):
            return thing.ravel().tolist() if thing.dtype.kind == "O" else None
        if self._estimators and hasattr(type(thing), "get_params"):
            return tuple(vars(thing).values())
        return None


class Keys:
    """The keys of one load's dicts and sets, by the hashes that many may share."""

    def __init__(self) -> None:
        self._alike: dict[tuple[int, int], int] = {}

    def check(self, keys: Collection[Any], container: object) -> None:
        """Refuse keys that take long to hash, or are many of one hash."""
        if _SAFE_KEYS.issuperset(map(type, keys)):
            return
        for key in keys:
            if type(key) in _SAFE_KEYS or (type(key) is int and key.bit_length() <= _KEY_BITS):
                continue
            if not _is_short(key, 0):
                raise LoadError(f"the pickle has a {type(key).__name__} for a key: refused")
            place = id(container), hash(key)
            self._alike[place] = self._alike.get(place, 0) + 1
            if self._alike[place] > _ALIKE:
                raise LoadError("the pickle has many keys of one hash: refused")


def _is_short(key: Any, depth: int) -> bool:
    """Whether hashing and comparing a key takes no time to speak of."""
    if isinstance(key, (tuple, frozenset)):
        return depth < 3 and len(key) <= _KEY_ITEMS and all(_is_short(k, depth + 1) for k in key)
    if isinstance(key, int):
        return key.bit_length() <= _LONG_BITS
    is_itself = callable(key) or vars(object)["__hash__"] is type(key).__hash__
    return is_itself or isinstance(key, (str, bytes, float, complex, np.generic, type(None)))
