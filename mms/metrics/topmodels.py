"""Which models get metric series of their own: the K busiest, the rest together.

Pure. A series must never go backwards, so a model that leaves takes its series with it and counts
under ``__other__`` from then on; nothing is ever moved from one series to another. A newcomer needs
a clear lead over the least busy member, else models of like use would trade places all the time.
"""

from __future__ import annotations

from collections.abc import Callable

OTHER = "__other__"
LEAD_FACTOR, LEAD_COUNT = 1.5, 50
HALVE_AFTER = 100_000  # uses; old merit fades, so that yesterday's busiest make room


class TopModels:
    """Counts uses; ``on_leave`` is told who lost its place, and drops that one's series."""

    def __init__(self, size: int, on_leave: Callable[[str], None]) -> None:
        self._size = size
        self._on_leave = on_leave
        self._members: dict[str, float] = {}
        self._outside: dict[str, float] = {}
        self._bar = 0.0  # at most what a newcomer needs: members' scores only grow between halvings
        self._uses = 0

    def __contains__(self, model: object) -> bool:
        return model in self._members

    def __len__(self) -> int:
        return len(self._members)

    def label(self, model: str) -> str:
        """The label to count under, without counting as a use: never lets a model in."""
        return model if model in self._members else OTHER

    def use(self, model: str) -> str:
        """Count a use of a model that exists, and return the label to count under."""
        self._uses += 1
        if self._uses >= HALVE_AFTER:
            self._halve()
        score = self._members.get(model)
        if score is not None:
            self._members[model] = score + 1
            return model
        if not self._size or not model or model == OTHER:
            return OTHER
        return self._knock(model)

    def forget(self, model: str) -> None:
        """The model is unloaded: its series and its merit go."""
        self._outside.pop(model, None)
        if self._members.pop(model, None) is not None:
            self._on_leave(model)

    def _knock(self, model: str) -> str:
        """An outsider's use: let it in if there is room or it has a clear lead."""
        score = self._outside.get(model, 0) + 1
        if len(self._members) >= self._size:
            self._outside[model] = score
            if score <= self._bar:
                return OTHER
            least = min(self._members, key=self._members.__getitem__)
            self._bar = self._members[least] * LEAD_FACTOR + LEAD_COUNT
            if score <= self._bar:
                return OTHER
            self._outside[least] = self._members.pop(least)
            self._on_leave(least)
        self._outside.pop(model, None)
        self._members[model] = score
        return model

    def _halve(self) -> None:
        self._uses, self._bar = 0, 0.0
        self._members = {model: score / 2 for model, score in self._members.items()}
        self._outside = {m: score / 2 for m, score in self._outside.items() if score >= 1}
