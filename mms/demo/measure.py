"""One row of the demo's table: a model asked cold, then warm, every answer checked.

Owns what counts as right: status 200, the model's own numbers, and the tier that the row claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from mms.demo.check import difference

if TYPE_CHECKING:
    from mms.demo.client import Client, Reply
    from mms.demo.sample import Sample

WARM_REQUESTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``wrong`` says what isn't as it should be; "" when all is."""

    target: str
    format: str
    size: int
    tier: str
    cold_ms: float
    warm_ms: float
    wrong: str


def measure(client: Client, sample: Sample, size: int) -> Row:
    """Ask once cold and a few times warm."""
    cold = client.ask(sample)
    warm = [client.ask(sample) for _ in range(WARM_REQUESTS)]
    wrong = [problem(sample, cold, tier="store")]
    wrong += [problem(sample, reply, tier="memory") for reply in warm]
    return Row(
        target=sample.target,
        format=sample.format,
        size=size,
        tier=cold.tier,
        cold_ms=cold.ms,
        warm_ms=median(reply.ms for reply in warm),
        wrong=next((text for text in wrong if text), ""),
    )


def problem(sample: Sample, reply: Reply, *, tier: str) -> str:
    """What is wrong with a reply, "" for nothing."""
    if reply.status != 200:
        return f"status {reply.status}: {reply.body[:300].decode(errors='replace')}"
    if reply.tier != tier:
        return f"the model came from {reply.tier or 'nowhere'}, not from {tier}"
    return difference(sample, reply.body)
