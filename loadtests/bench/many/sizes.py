"""How much of everything: the full run, the short one, and one for tests. Data only."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 20240229  # of everything random here


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    small_keys: int = 60  # small models asked for once each
    big_mb: int = 200
    big_rounds: int = 5
    forest_mb: int = 50
    reloads: int = 30  # of the small model
    big_reloads: int = 10
    mixed: int = 1000  # tiny models of each of two kinds
    many: int = 10_000  # tiny models of one kind
    mixed_rounds: int = 3
    p50_requests: int = 2000  # a side and round
    p50_rounds: int = 5
    starts: int = 5
    tail_rounds: int = 3
    cold_loads: int = 50
    forests: int = 8  # loaded one after another in a round
    probe_s: float = 4.0  # a probe lasts at least so long
    slow_trees: int = 1500  # of a forest, the more the slower
    slow_ms: float = 60.0
    evict_each: int = 300
    evict_forests: int = 10
    kills: int = 5
    zipf_models: int = 500
    zipf_room: int = 50
    zipf_requests: int = 4000
    zipf_model_mb: int = 4


FULL = Sizes()
SHORT = Sizes(
    small_keys=30,
    big_mb=50,
    reloads=12,
    big_reloads=9,
    many=2000,
    mixed_rounds=1,
    p50_requests=1000,
    p50_rounds=3,
    tail_rounds=1,
    forests=4,
    probe_s=2.0,
    evict_each=50,
    evict_forests=2,
    kills=3,
    zipf_models=200,
    zipf_room=20,
    zipf_requests=500,
)
TINY = Sizes(
    small_keys=4,
    big_mb=1,
    big_rounds=1,
    forest_mb=1,
    reloads=3,
    big_reloads=2,
    mixed=5,
    many=10,
    mixed_rounds=1,
    p50_requests=20,
    p50_rounds=1,
    starts=1,
    tail_rounds=1,
    cold_loads=4,
    forests=1,
    probe_s=0.2,
    slow_trees=20,
    slow_ms=1.0,
    evict_each=3,
    evict_forests=1,
    kills=1,
    zipf_models=20,
    zipf_room=5,
    zipf_requests=40,
    zipf_model_mb=1,
)
