"""Which names a pickle asks for that the allow-list doesn't have: all of them, not just the first.

Runs the restricted machine with a harmless stand-in for every name that it would refuse, so that
the rest of the pickle can be read on. Nothing that is refused is imported, called or made; what is
allowed is treated as in a load. For reports: what comes out is thrown away, never served.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from loaders.pickles.source import open_source
from loaders.pickles.unpickle import RestrictedUnpickler
from loaders.pickles.vocabulary import Refused, Vocabulary, printable

MAX_NAMES: Final = 1000


class StandIn:
    """Takes whatever the thing that it stands for would have been given, and forgets it."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        del state


class _Noting(Vocabulary):
    """Finds a stand-in where the allow-list has nothing, and notes for what."""

    def __init__(self, extra: frozenset[str]) -> None:
        super().__init__(extra)
        self.refused: list[str] = []

    def _resolve(self, module: str, name: str) -> Any:
        try:
            return super()._resolve(module, name)
        except Refused:
            if len(self.refused) >= MAX_NAMES:
                raise
            full = f"{module}:{name}"
            self.refused.append(printable(full))
            return self._admit(type("StandIn", (StandIn,), {}), full, "new call")


class _Reader(RestrictedUnpickler):
    """Lets stand-ins be filled with items too: what they stand for may be a list or a dict."""

    def _container(self, wanted: type[Any]) -> Any:
        return wanted() if isinstance(self.stack[-1], StandIn) else super()._container(wanted)


def refused_names(path: Path, extra: frozenset[str] = frozenset()) -> list[str]:
    """The names in the order in which they come up, ``[]`` if a load would refuse none.

    Where the pickle can't be read to its end, those up to there. Raises MemoryError.
    """
    vocabulary = _Noting(extra)
    try:
        with open_source(path) as source, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions: not asked here
            _Reader(source, vocabulary, []).load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - what is wrong with it is for the load itself to say
        return vocabulary.refused
    return vocabulary.refused
