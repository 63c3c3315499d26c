"""A sample: one request to one model, and what the model answered in the process that trained it.

Owns the file that stands beside every artifact in the demo's folder. Plain data, standard library
only, so that the demo's second start needs none of the frameworks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".sample.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``expected`` is the whole answer, as text; ``tolerance`` is relative, 0.0 is exact."""

    target: str
    data: str
    model: str  # the class that answers, for people
    format: str
    content_type: str
    body: str
    expected: str
    tolerance: float
    attributes: str = ""  # SageMaker's custom attributes: how a method is chosen

    def headers(self) -> dict[str, str]:
        """What to send beside the body."""
        found = {
            "Content-Type": self.content_type,
            "Accept": self.content_type,
            "X-Amzn-SageMaker-Target-Model": self.target,
        }
        if self.attributes:
            found["X-Amzn-SageMaker-Custom-Attributes"] = self.attributes
        return found


def write_sample(folder: Path, sample: Sample) -> None:
    path = folder / (sample.target + SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(sample), indent=1) + "\n", encoding="utf-8")


def read_samples(folder: Path) -> list[Sample]:
    """All samples below a folder, by target."""
    found = [
        Sample(**json.loads(path.read_text(encoding="utf-8")))
        for path in folder.rglob("*" + SUFFIX)
    ]
    return sorted(found, key=lambda sample: sample.target)
