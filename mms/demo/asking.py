"""What a model is asked, and what it answers in this very process.

Owns the bodies of requests and of the answers expected to them, for the forms the server reads:
rows, objects by column name, named tensors, CSV. The truth that every HTTP answer is checked
against comes from ``predict`` itself here, never from the server's code.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mms.demo.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mms.demo.models import Recipe

JSON, CSV = "application/json", "text/csv"


def sklearn_sample(recipe: Recipe, model: Any, x: Any) -> Sample:
    """Rows out of the data, and the model's answer to exactly these."""
    rows = _some_rows(x)
    answer = getattr(model, recipe.method)(rows).tolist()
    is_csv = recipe.ask == "csv"
    return Sample(
        target=recipe.target,
        data=recipe.data,
        model=_name(model),
        format="pickle" if recipe.target.endswith(".pkl") else "joblib",
        content_type=CSV if is_csv else JSON,
        body=_body(recipe.ask, rows),
        expected=_csv(answer) if is_csv else json.dumps({"predictions": answer}),
        tolerance=0.0 if recipe.exact else 1e-9,
        attributes="" if recipe.method == "predict" else f"method={recipe.method}",
    )


def onnx_sample(recipe: Recipe, model: Any, exported: bytes, x: Any) -> Sample:
    """The same for an exported model, which answers for itself."""
    rows = _some_rows(x)
    answers = run_onnx(exported, rows.astype(np.float32))
    if recipe.ask == "tensors":
        body, expected = {"inputs": {"X": rows.tolist()}}, {"outputs": answers}
    else:
        (only,) = answers.values()
        body, expected = {"instances": rows.tolist()}, {"predictions": only}
    return Sample(
        target=recipe.target,
        data=recipe.data,
        model=_name(model),
        format="onnx",
        content_type=JSON,
        body=json.dumps(body),
        expected=json.dumps(expected),
        tolerance=1e-5,
    )


def run_onnx(model: bytes, rows: Any) -> dict[str, Any]:
    """All outputs by name, as lists."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (only,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(names, (a.tolist() for a in session.run(names, {only.name: rows})), strict=True)
    )


def _some_rows(x: Any) -> Any:
    """Three rows from all over the data: the classes lie one after the other in most."""
    places = [0, len(x) // 2, len(x) - 1]
    return x[places] if isinstance(x, np.ndarray) else x.iloc[places]


def _body(ask: str, rows: Any) -> str:
    if ask == "objects":
        # Not in the order of the training: what counts is the name.
        return json.dumps({"instances": rows[rows.columns[::-1]].to_dict("records")})
    if ask == "csv" and not isinstance(rows, np.ndarray):
        return _csv([list(rows.columns), *rows.to_numpy(dtype=object).tolist()])
    if ask == "csv":
        return _csv(rows.tolist())
    return json.dumps({"instances": rows.tolist()})


def _csv(rows: Iterable[Any]) -> str:
    """Numbers as ``repr`` writes them: no digit is lost."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        row if isinstance(row, list) else [row] for row in rows
    )
    return out.getvalue()


def _name(model: Any) -> str:
    """The class that answers: the last one of a pipeline."""
    steps = getattr(model, "steps", None)
    return type(steps[-1][1] if steps else model).__name__
