"""Trains, exports and asks all models of the catalogue: run as a process of its own.

``python -m mms.demo.train FOLDER`` writes every artifact and its sample into the folder, and a
line of JSON a model to its standard output. A process, because scikit-learn and skl2onnx take
seconds to import and memory for good, and the demo needs neither when its folder is filled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mms.demo import filetype
from mms.demo.asking import JSON, onnx_sample, run_onnx, sklearn_sample
from mms.demo.data import load
from mms.demo.models import RECIPES
from mms.demo.pack import dump_onnx, dump_sklearn, pack
from mms.demo.sample import Sample, write_sample

if TYPE_CHECKING:
    from mms.demo.models import Recipe


def train_all(folder: Path) -> None:
    """The quick ones first: ONNX export has a long import before it."""
    quick_first = sorted(RECIPES, key=lambda recipe: recipe.onnx)
    total = len(RECIPES) + 1
    _write(folder, *file_type())
    _tell(filetype.TARGET, 1, total)
    for done, recipe in enumerate(quick_first, 2):
        _write(folder, *train(recipe))
        _tell(recipe.target, done, total)


def train(recipe: Recipe) -> tuple[Sample, bytes]:
    """One model: its sample and its artifact."""
    data = load(recipe.data)
    model = recipe.build().fit(data.x, data.y)
    if recipe.onnx:
        name, content = dump_onnx(model, data.x)
        sample = onnx_sample(recipe, model, content, data.x)
    else:
        name, content = dump_sklearn(recipe.target, model)
        sample = sklearn_sample(recipe, model, data.x)
    return sample, pack(recipe.target, name, content)


def file_type() -> tuple[Sample, bytes]:
    """The pretrained one: nothing to train, the package ships it."""
    content = filetype.model_file().read_bytes()
    ends = filetype.features(filetype.SOURCE.encode())
    answers = run_onnx(content, np.array([ends], dtype=np.int32))
    sample = Sample(
        target=filetype.TARGET,
        data="a Python file",
        model="Magika, pretrained",
        format="onnx",
        content_type=JSON,
        body=json.dumps({"inputs": {filetype.INPUT: [ends]}}),
        expected=json.dumps({"outputs": answers}),
        tolerance=1e-5,
    )
    return sample, content


def _write(folder: Path, sample: Sample, artifact: bytes) -> None:
    path = folder / sample.target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(artifact)
    write_sample(folder, sample)


def _tell(target: str, done: int, total: int) -> None:
    sys.stdout.write(json.dumps({"target": target, "done": done, "total": total}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    train_all(Path(sys.argv[1]))
