"""Requests to scripts: one by one, as they came, and told apart by whose mistake it was."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest

from loaders.scripts.model import ScriptModel
from mms.media.headers import spec_for
from mms.worker.batching import run_batch
from mms.worker.replies import Reply
from tests.loaders.scripts.artifacts import loaded, script

ECHO = "def transform_fn(model, data, kind, accept): return repr(data), f'{kind}+{accept}'"


def spec(
    content_type: bytes | None = None,
    accept: bytes | None = None,
    attributes: bytes | None = None,
    default: str = "",
    coding: str = "",
) -> bytes:
    return spec_for(content_type, accept, attributes, default, any_type=True, coding=coding)


def run(model: ScriptModel, *requests: tuple[bytes, bytes]) -> list[Reply]:
    result = run_batch(model, requests, max_rows=100)
    assert result.rows == len(requests)
    return result.replies


@pytest.mark.parametrize(
    ("headers", "body", "data", "kind", "accept"),
    [
        ((None, None), b"x", "'x'", "application/json", "application/json"),
        ((b"Text/CSV; charset=utf-8", b"*/*"), b"x", "'x'", "text/csv", "application/json"),
        ((b"text/csv; charset=latin1", b"text/csv"), b"\xfc", "'ü'", "text/csv", "text/csv"),
        ((b"image/png", b"image/webp"), b"\xff", "b'\\xff'", "image/png", "image/webp"),
        ((b"text/plain", b"a/b;q=0.1, c/d"), b"x", "b'x'", "text/plain", "c/d"),
        ((b"nonsense", b"also nonsense"), b"x", "b'x'", "nonsense", "application/json"),
        ((b"text/csv; header=no", b"text/*"), b"x", "'x'", "text/csv", "application/json"),
    ],
)
def test_a_script_gets_plain_types_and_text_for_texts(
    headers: tuple[bytes | None, bytes | None],
    body: bytes,
    data: str,
    kind: str,
    accept: str,
    tmp_path: Path,
) -> None:
    """Whatever the headers hold; the types without parameters."""
    (reply,) = run(loaded(tmp_path, script(ECHO)), (spec(*headers), body))
    assert reply == Reply("", f"{kind}+{accept}".encode(), data.encode())


def test_the_default_accept_is_the_settings(tmp_path: Path) -> None:
    (reply,) = run(loaded(tmp_path, script(ECHO)), (spec(default="text/x; charset=utf-8"), b""))
    assert reply.content_type == b"application/json+text/x"


def test_a_script_sees_the_headers_themselves(tmp_path: Path) -> None:
    """Parameters, weights and custom attributes, which may be anything, in the context."""
    body = "def transform_fn(m, d, k, a, context): return context.get_request_properties()"
    asked = spec(b"a/b; x=1", b"c/d;q=0.5", b"method=nonsense,t=1")
    body += ", 'application/json'"
    (reply,) = run(loaded(tmp_path, script(body)), (asked, b""))
    assert json.loads(reply.body) == {
        "Content-Type": "a/b; x=1",
        "Accept": "c/d;q=0.5",
        "X-Amzn-SageMaker-Custom-Attributes": "method=nonsense,t=1",
    }


def test_encoded_bodies_are_plain_to_a_script(tmp_path: Path) -> None:
    """It doesn't know of Content-Encoding; a body that is none is the caller's mistake."""
    model = loaded(tmp_path, script(ECHO))
    good, bad = run(
        model, (spec(coding="gzip"), gzip.compress(b"abc")), (spec(coding="gzip"), b"abc")
    )
    assert good.body == b"'abc'"
    assert bad.code == "ValidationError"


def test_text_that_is_none(tmp_path: Path) -> None:
    (reply,) = run(loaded(tmp_path, script(ECHO)), (spec(), b"a\xff"))
    assert (reply.code, reply.body) == ("ValidationError", b"byte 1 of the body isn't utf-8 text")


ERRORS = (
    "class Toolkit(Exception):\n"
    " def __init__(self, status_code, message, phrase=''):\n"
    "  self.status_code, self.message, self.phrase = status_code, message, phrase\n"
    "class Odd(Exception):\n"
    " def __str__(self): return 1 / 0\n"
    " status_code = property(__str__)\n"
    "def input_fn(data, kind): return eval(data)\n"
    "def predict_fn(data, model): raise data\n"
)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        ("ValueError('bad\\nrow')", "ModelError", "ValueError: bad"),
        ("Toolkit(400, 'no such row\\nTrace')", "ValidationError", "no such row"),
        ("Toolkit(422, '', 'Unprocessable')", "ValidationError", "Unprocessable"),
        ("Toolkit(415, 'no xml')", "UnsupportedMediaType", "no xml"),
        ("Toolkit(406, 'no xml')", "NotAcceptable", "no xml"),
        ("Toolkit(500, 'broken')", "ModelError", "Toolkit: (500, 'broken')"),
        ("Toolkit('400', 'broken')", "ModelError", "Toolkit: ('400', 'broken')"),
        ("Odd()", "ModelError", "Odd"),
        ("MemoryError()", "InsufficientStorage", "not enough memory to answer this request"),
        ("SystemExit(1)", "ModelError", "SystemExit: 1"),
        ("KeyboardInterrupt()", "ModelError", "KeyboardInterrupt"),
        ("GeneratorExit()", "ModelError", "GeneratorExit"),
        ("OSError('no /a/b/c.bin')", "ModelError", "OSError: no .../c.bin"),
        ("__import__('pkg.none')", "ModelError", "ModuleNotFoundError: No module named 'pkg.none'"),
    ],
)
def test_what_a_script_raises_is_told_by_its_kind(
    raised: str, code: str, message: str, tmp_path: Path
) -> None:
    """The model's fault, unless a status says that it is the caller's; others don't notice."""
    model = loaded(tmp_path, {**script(ERRORS), "code/pkg/__init__.py": ""})
    replies = run(model, (spec(), raised.encode()), (spec(), b"Toolkit(404, 'next')"))
    assert (replies[0].code, replies[0].body.decode()) == (code, message)
    assert replies[1] == Reply("ValidationError", b"text/plain", b"next")


def test_types_a_script_doesnt_know(tmp_path: Path) -> None:
    """415 for what comes in, 406 for what is to go out."""
    model = loaded(tmp_path, script("def predict_fn(data, model): return data"))
    unread, unwritten = run(model, (spec(b"image/png"), b""), (spec(None, b"image/png"), b"[1]"))
    assert unread.code == "UnsupportedMediaType"
    assert unwritten.code == "NotAcceptable"


def test_a_failed_script_is_logged_without_what_it_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its message may quote the body."""
    model = loaded(tmp_path, script(ERRORS))
    with caplog.at_level(logging.WARNING):
        run(model, (spec(), b"ValueError('secret row')"))
    (record,) = [r for r in caplog.records if r.message == "model failed"]
    assert vars(record)["model_format"] == "script"
    assert vars(record)["where"].startswith("predict_fn (inference.py:")
    assert "secret" not in repr(vars(record))


def test_a_model_without_a_script_refuses_what_the_front_let_through() -> None:
    """With the very error that it would have been there."""
    from sklearn.linear_model import LinearRegression

    from loaders.base import LoadOptions
    from loaders.sklearn.estimator import EstimatorModel

    fitted = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    model = EstimatorModel(fitted, LoadOptions())
    asked = [
        (spec(b"image/png"), b"[[1]]"),
        (spec(None, b"image/png"), b"[[1]]"),
        (spec(b"text/csv; header=no"), b"1"),
        (spec(None, None, b"method=nonsense"), b"[[1]]"),
        (spec(None, None, b"method=predict,x=1"), b"[[1]]"),
    ]
    replies = run_batch(model, asked, max_rows=10).replies
    codes = ["UnsupportedMediaType", "NotAcceptable", "ValidationError", "ValidationError", ""]
    assert [reply.code for reply in replies] == codes
    assert replies[0].body.startswith(b"Content-Type 'image/png' is not read here")
