"""What a script's answer becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.scripts.errors import ScriptError
from tests.loaders.scripts.artifacts import CSV, ECHO, JSON, ask, loaded, script

RESPONSE = (
    "class Response:\n"
    " def __init__(self, response, mimetype, status_code=200):\n"
    "  self.response, self.mimetype, self.status_code = response, mimetype, status_code\n"
)


@pytest.mark.parametrize(
    ("returned", "body", "kind"),
    [
        ("b'\\x00x'", b"\0x", JSON),
        ("bytearray(b'x')", b"x", JSON),
        ("'ü'", "ü".encode(), JSON),
        ("('x', 'text/plain')", b"x", "text/plain"),
        ("(b'x', 'image/png')", b"x", "image/png"),
        ("([1, 2], 'text/csv')", b"1\n2\n", CSV),
        ("{'a': np.array([1, 2]), 'b': np.float32(0.5)}", b'{"a": [1, 2], "b": 0.5}', JSON),
        ("np.array(['a', 'b'])", b'["a", "b"]', JSON),
        ("pd.DataFrame({'a': [1]})", b"[[1]]", JSON),
        ("Response('x', 'text/x')", b"x", "text/x"),
        ("Response(b'x', None)", b"x", JSON),
        ("[0.1, None, float('nan')]", b"[0.1, null, NaN]", JSON),
    ],
)
def test_what_a_script_may_return(returned: str, body: bytes, kind: str, tmp_path: Path) -> None:
    text = f"import numpy as np, pandas as pd\n{RESPONSE}"
    text += f"def output_fn(prediction, accept): return {returned}\n{ECHO}"
    assert loaded(tmp_path, script(text)).answer_raw("[1]", JSON, JSON, {}) == (body, kind)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("None", "answered None"),
        ("object()", "object can't be written"),
        ("('x', 'a/b\\r\\nX: y')", "content type that can't be sent"),
        ("('x', '')", "content type that can't be sent"),
        ("('x', 'a' * 1000)", "content type that can't be sent"),
    ],
)
def test_what_a_script_may_not_return(returned: str, says: str, tmp_path: Path) -> None:
    """Its mistake, and no header of its making."""
    text = f"def output_fn(prediction, accept): return {returned}\n{ECHO}"
    with pytest.raises(TypeError, match=says):
        ask(loaded(tmp_path, script(text)))


def test_a_script_can_answer_with_a_status(tmp_path: Path) -> None:
    """By a response object or by the context."""
    text = f"{RESPONSE}{ECHO}def output_fn(p, accept): return Response('too long', 'a/b', 413)"
    with pytest.raises(ScriptError, match="too long") as caught:
        ask(loaded(tmp_path / "a", script(text)))
    assert caught.value.status == 413
    text = f"{ECHO}def output_fn(p, accept, c): c.set_response_status(503, 'not now')\n"
    with pytest.raises(ScriptError, match="not now"):
        ask(loaded(tmp_path / "b", script(text)))
