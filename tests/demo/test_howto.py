from __future__ import annotations

import ast
import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from mms.demo import howto
from mms.demo.sample import Sample

URL = "http://127.0.0.1:8080"
BODIES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def _sample(body: str) -> Sample:
    return Sample(
        target="us/ny/a b's.joblib",
        data="d",
        model="M",
        format="joblib",
        content_type="application/json",
        body=body,
        expected="",
        tolerance=0.0,
    )


@given(BODIES)
def test_a_shell_reads_the_curl_line_as_meant(body: str) -> None:
    """Whatever the body and the target hold, the program gets exactly these."""
    words = shlex.split(howto.curl_line(URL, _sample(body)))
    assert words[:3] == ["curl", "-s", f"{URL}/invocations"]
    assert "X-Amzn-SageMaker-Target-Model: us/ny/a b's.joblib" in words
    assert words[-2:] == ["-d", body]


@given(BODIES)
def test_python_reads_the_python_line_as_meant(body: str) -> None:
    """The body goes through the shell's quotes and Python's unharmed."""
    _, flag, code = shlex.split(howto.python_line(URL, _sample(body)))
    assert flag == "-c"
    constants = [n.value for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Constant)]
    assert body in constants
    assert URL in constants


def test_every_line_is_one_line() -> None:
    """A line feed in the middle would run half a command when pasted."""
    sample = _sample(json.dumps({"instances": [[1, 2]]}))
    place = "http://127.0.0.1:9", "key", "secret", "s3://models/prod/"
    lines = [
        howto.curl_line(URL, sample),
        howto.python_line(URL, sample),
        howto.aws_line(*place),
        howto.list_line(*place),
    ]
    assert all("\n" not in line for line in lines)
