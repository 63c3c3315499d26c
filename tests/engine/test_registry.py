"""The registry: a state machine hammers it, and the rules that matter stand as examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from mms.engine.registry import HEADROOM, ModelEntry, ModelRegistry, ModelState
from mms.errors import InsufficientStorage, NoRoom
from mms.types import Artifact, Loaded

Entry = ModelEntry[str]


def artifact(size: int, etag: str = "e1") -> Artifact:
    return Artifact(path=Path("/x"), etag=etag, version="v", sha256="", unpacked_bytes=size)


def loaded(size: int) -> Loaded:
    return Loaded(format="test", bytes=size, methods=("predict",), batchable=True)


def registry(capacity: int, *, evicts: bool = True) -> ModelRegistry[str]:
    ticks = iter(range(1_000_000))
    return ModelRegistry(capacity=capacity, clock=lambda: float(next(ticks)), evicts=evicts)


def bring(models: ModelRegistry[str], key: str, size: int, worker: int = 1) -> list[str]:
    """Load a model of a known size and let go of it; returns who had to leave."""
    models.sizes.learn(key, artifact(size), size)
    entry = models.acquire(key)
    victims = models.reserve(entry, artifact(size), worker)
    victims += models.commit(entry, loaded(size), "copy")
    models.release(entry)
    for victim in victims:
        models.unloaded(victim)
    models.check_valid()
    return [victim.key for victim in victims]


def test_the_least_recently_used_leaves_first() -> None:
    """What was used last stays longest."""
    models = registry(int(300 / (1 - HEADROOM)) + 1)
    for key in "abc":
        assert bring(models, key, 100) == []
    models.release(models.acquire("a"))
    assert bring(models, "d", 100) == ["b"]
    assert bring(models, "e", 100) == ["c"]
    assert bring(models, "f", 100) == ["a"]


def test_a_load_that_fits_in_the_headroom_evicts_only_once_it_is_sure() -> None:
    """A failing load costs no warm model."""
    models = registry(1600)
    for key in "abc":
        bring(models, key, 500)
    entry = models.acquire("d")
    models.sizes.learn("d", artifact(90), 90)
    assert models.reserve(entry, artifact(90), 1) == []
    models.fail(entry)
    assert {e.key for e in models.ready()} == {"a", "b", "c"}
    assert bring(models, "d", 90) == ["a"]


def test_what_can_never_fit_costs_no_warm_model() -> None:
    """507 is decided before anybody is asked to leave."""
    models = registry(1000)
    bring(models, "a", 900)
    entry = models.acquire("huge")
    with pytest.raises(InsufficientStorage, match="MMS_MEMORY_BUDGET"):
        models.reserve(entry, artifact(1001), 1)
    models.fail(entry)
    models.check_valid()
    assert [e.key for e in models.ready()] == ["a"]


def test_a_size_measured_too_large_is_refused_and_remembered() -> None:
    """The second attempt at a model that turned out too large costs nothing."""
    models = registry(1_000_000)
    bring(models, "a", 700_000)
    entry = models.acquire("b")
    models.reserve(entry, artifact(10), 1)
    with pytest.raises(InsufficientStorage):
        models.commit(entry, loaded(1_000_001), "copy")
    models.fail(entry)
    assert [e.key for e in models.ready()] == ["a"]
    again = models.acquire("b")
    with pytest.raises(InsufficientStorage):
        models.reserve(again, artifact(10), 1)
    models.fail(again)
    models.check_valid()


def test_a_model_in_use_is_never_evicted() -> None:
    """No room among what is in use is NoRoom, not an eviction."""
    models = registry(1000)
    bring(models, "a", 800)
    held = models.acquire("a")
    entry = models.acquire("b")
    models.sizes.learn("b", artifact(10), 700)
    with pytest.raises(NoRoom):
        models.reserve(entry, artifact(10), 1)
    assert held.state is ModelState.READY
    models.release(held)
    assert [v.key for v in models.reserve(entry, artifact(10), 1)] == ["a"]
    models.check_valid()


def test_the_platform_mode_says_507_instead_of_evicting() -> None:
    """Where the platform decides what leaves, the registry evicts nothing."""
    models = registry(1000, evicts=False)
    bring(models, "a", 800)
    entry = models.acquire("b")
    models.sizes.learn("b", artifact(10), 700)
    with pytest.raises(InsufficientStorage, match="unload other models"):
        models.reserve(entry, artifact(10), 1)
    models.fail(entry)
    assert models.shrink() == []


def test_a_lost_worker_takes_its_models_along_and_no_other() -> None:
    """Its bytes are free at once, and requests for them open new flights."""
    models = registry(10_000)
    bring(models, "a", 100, worker=1)
    bring(models, "b", 100, worker=2)
    held = models.acquire("a")
    assert [e.key for e in models.worker_lost(1)] == ["a"]
    models.check_valid()
    assert models.resident_bytes == 100
    assert models.acquire("a") is not held
    models.release(held)
    models.check_valid()


def test_a_retired_model_counts_until_it_is_unloaded() -> None:
    """Memory is free when it is back, not when it was decided."""
    models = registry(10_000)
    bring(models, "a", 100)
    entry = models.find("a")
    assert entry is not None
    models.retire(entry)
    assert models.resident_bytes == 100
    assert models.find("a") is None
    models.unloaded(entry)
    assert models.resident_bytes == 0
    models.check_valid()


class RegistryMachine(RuleBasedStateMachine):
    """Every legal sequence of calls keeps every invariant, and memory within the capacity."""

    pinned: Bundle[Entry] = Bundle("pinned")
    leaving: Bundle[Entry] = Bundle("leaving")

    def __init__(self) -> None:
        super().__init__()
        self.models = registry(10_000_000)
        self.open: list[Entry] = []  # FETCHING
        self.loads: list[tuple[Entry, int]] = []  # LOADING
        self.going: list[Entry] = []
        self.pins: dict[int, int] = {}

    @rule(target=pinned, key=st.sampled_from("abcdefgh"))
    def acquire(self, key: str) -> Entry:
        known = self.models.find(key)
        entry = self.models.acquire(key)
        if known is None:
            self.open.append(entry)
        else:
            assert entry is known
        self.pins[entry.model_id] = self.pins.get(entry.model_id, 0) + 1
        return entry

    @rule(entry=consumes(pinned))
    def release(self, entry: Entry) -> None:
        self.pins[entry.model_id] -= 1
        self.models.release(entry)

    @precondition(lambda self: self.open)
    @rule(size=st.integers(0, 12_000_000), worker=st.integers(1, 3))
    def reserve(self, size: int, worker: int) -> None:
        entry = self.open.pop(0)
        before = {e.key for e in self.models.ready()}
        try:
            self.going += self.models.reserve(entry, artifact(size, f"e{size}"), worker)
        except InsufficientStorage:
            assert {e.key for e in self.models.ready()} == before
            self.models.fail(entry)
        except NoRoom:
            assert {e.key for e in self.models.ready()} == before
            self.open.append(entry)
        else:
            self.loads.append((entry, size))
            assert self.fits()

    @precondition(lambda self: self.loads)
    @rule(size=st.integers(1, 12_000_000))
    def commit(self, size: int) -> None:
        entry, _ = self.loads.pop(0)
        before = {e.key for e in self.models.ready()}
        try:
            victims = self.models.commit(entry, loaded(size), "copy")
        except (InsufficientStorage, NoRoom):
            assert {e.key for e in self.models.ready()} == before
            self.models.fail(entry)
        else:
            assert all(v.pins == 0 for v in victims)
            assert entry not in victims
            self.going += victims
            assert self.fits()

    @precondition(lambda self: self.loads)
    @rule()
    def unreserve(self) -> None:
        entry, _ = self.loads.pop()
        self.models.unreserve(entry)
        self.open.append(entry)

    @precondition(lambda self: self.loads)
    @rule()
    def load_fails(self) -> None:
        entry, _ = self.loads.pop()
        self.models.fail(entry)

    @precondition(lambda self: self.going)
    @rule()
    def unloaded(self) -> None:
        self.models.unloaded(self.going.pop(0))

    @rule(key=st.sampled_from("abcdefgh"))
    def retire(self, key: str) -> None:
        entry = self.models.find(key)
        if entry is not None and entry.state is ModelState.READY:
            self.models.retire(entry)
            self.going.append(entry)

    @rule(worker=st.integers(1, 3))
    def worker_lost(self, worker: int) -> None:
        self.models.worker_lost(worker)
        self.going = [e for e in self.going if e.worker_id != worker]
        assert all(e.worker_id != worker for e in self.models.ready())

    @rule(capacity=st.integers(0, 12_000_000))
    def capacity_changes(self, capacity: int) -> None:
        self.models.capacity = capacity
        self.going += self.models.shrink()
        assert self.models.excess() <= 0 or all(e.pins for e in self.models.ready())

    @invariant()
    def valid(self) -> None:
        self.models.check_valid()

    @invariant()
    def pins_are_what_was_taken(self) -> None:
        for entry in self.models.entries():
            assert entry.pins == self.pins.get(entry.model_id, 0)

    def fits(self) -> bool:
        staying = self.models.resident_bytes - sum(e.bytes for e in self.going)
        return staying + self.models.reserved_bytes <= self.models.capacity


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
