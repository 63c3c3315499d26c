"""The samples are the truth that HTTP answers are checked against, so they are checked here:
every artifact is opened anew, by other means than the demo's, and asked what its sample says.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import onnxruntime as ort
import pandas as pd
from magika import Magika

from mms.demo import filetype
from mms.demo.check import difference
from mms.demo.models import RECIPES
from mms.demo.sample import Sample, read_samples

if TYPE_CHECKING:
    from pathlib import Path


def _content(path: Path) -> bytes:
    if not path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return path.read_bytes()
    with tarfile.open(path) as archive:
        found = archive.extractfile(archive.getmembers()[0])
        assert found is not None
        return found.read()


def _table(sample: Sample) -> Any:
    """The rows of a request, as a person would read them into pandas or NumPy."""
    if sample.content_type == "text/csv":
        named = not sample.body[0].isdigit() and sample.body[0] != "-"
        frame = pd.read_csv(io.StringIO(sample.body), header=0 if named else None)
        return frame if named else frame.to_numpy()
    rows = json.loads(sample.body)["instances"]
    return pd.DataFrame(rows) if isinstance(rows[0], dict) else np.array(rows)


def _ask_sklearn(sample: Sample, content: bytes) -> bytes:
    model = pickle.loads(content) if sample.format == "pickle" else joblib.load(io.BytesIO(content))
    table = _table(sample)
    if isinstance(table, pd.DataFrame):
        table = table[list(model.feature_names_in_)]
    method = sample.attributes.removeprefix("method=") or "predict"
    answer = getattr(model, method)(table).tolist()
    if sample.content_type != "text/csv":
        return json.dumps({"predictions": answer}).encode()
    out = io.StringIO()
    csv.writer(out).writerows(row if isinstance(row, list) else [row] for row in answer)
    return out.getvalue().encode()


def _ask_onnx(sample: Sample, content: bytes) -> bytes:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (only,) = session.get_inputs()
    dtype = {"tensor(float)": np.float32, "tensor(int32)": np.int32}[only.type]
    body = json.loads(sample.body)
    rows = body["instances"] if "instances" in body else body["inputs"][only.name]
    found = session.run(None, {only.name: np.array(rows, dtype)})
    by_name = {o.name: a.tolist() for o, a in zip(session.get_outputs(), found, strict=True)}
    if "inputs" in body:
        return json.dumps({"outputs": by_name}).encode()
    (only_answer,) = by_name.values()
    return json.dumps({"predictions": only_answer}).encode()


def test_every_sample_is_what_its_artifact_answers(models: Path) -> None:
    """The request's text, read anew and given to the artifact's bytes, gives the answer's text."""
    wrong = {}
    for sample in read_samples(models):
        ask = _ask_onnx if sample.format == "onnx" else _ask_sklearn
        wrong[sample.target] = difference(sample, ask(sample, _content(models / sample.target)))
    assert {target: text for target, text in wrong.items() if text} == {}
    assert len(wrong) == len(RECIPES) + 1


def test_the_catalogue_shows_what_the_server_can_do(models: Path) -> None:
    """Every format, ending, form of request and kind of answer is in it, in nested prefixes."""
    samples = read_samples(models)
    formats = Counter(sample.format for sample in samples)
    assert formats["joblib"] >= 8
    assert formats["onnx"] >= 3
    assert formats["pickle"] >= 1
    endings = {"." + sample.target.split(".", 1)[1] for sample in samples}
    assert endings == {".tar.gz", ".tgz", ".tar", ".joblib", ".pkl", ".onnx"}
    assert {sample.content_type for sample in samples} == {"application/json", "text/csv"}
    assert all(sample.target.count("/") >= 1 for sample in samples)
    assert {len(sample.attributes) > 0 for sample in samples} == {True, False}


def test_the_answers_are_worth_checking(models: Path) -> None:
    """An answer that is the same for all rows would pass with any rows: no sample is like that."""
    for sample in read_samples(models):
        if sample.target == filetype.TARGET:
            continue
        answer = _first_array(sample)
        assert len({json.dumps(row) for row in answer}) > 1, sample.target


def _first_array(sample: Sample) -> list[Any]:
    if sample.content_type == "text/csv":
        return sample.expected.splitlines()
    (found, *_) = json.loads(sample.expected).values()
    return list(next(iter(found.values())) if isinstance(found, dict) else found)


def test_the_pretrained_model_says_python(models: Path) -> None:
    """Prepared as the package itself prepares it: the same label, the same score."""
    (sample,) = [s for s in read_samples(models) if s.target == filetype.TARGET]
    (scores,) = json.loads(sample.expected)["outputs"]["target_label"]
    theirs = Magika().identify_bytes(filetype.SOURCE.encode())
    assert filetype.labels()[int(np.argmax(scores))] == theirs.prediction.dl.label == "python"
    assert abs(max(scores) - theirs.score) < 1e-5
