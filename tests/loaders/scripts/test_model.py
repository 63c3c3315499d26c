"""Scripts: which functions are called with what, and what their answers become."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

from loaders.base import InputError, LoadError, LoadOptions
from loaders.scripts.errors import ScriptError, Unreadable, Unwritable
from loaders.scripts.model import ScriptModel
from loaders.table import load_model
from tests.loaders.scripts.artifacts import JSON, artifact, ask, loaded, script

CSV = "text/csv"
NPY = "application/x-npy"
NPZ = "application/x-npz"
ECHO = "def predict_fn(data, model): return data\n"
MODEL_FN = (
    "import joblib, os\n"
    "def model_fn(model_dir): return joblib.load(os.path.join(model_dir, 'model.joblib'))\n"
)


def dumped(model: Any) -> bytes:
    out = io.BytesIO()
    joblib.dump(model, out)
    return out.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def npz(matrix: Any) -> bytes:
    out = io.BytesIO()
    sparse.save_npz(out, matrix)
    return out.getvalue()


def refused(folder: Path, files: dict[str, Any], **options: Any) -> str:
    with pytest.raises(LoadError) as caught:
        loaded(folder, files, **options)
    return str(caught.value)


# --- Which functions ---


def test_a_model_fn_is_all_a_script_needs(tmp_path: Path) -> None:
    """AWS's own example: the model answers as in this process, in float32 as there."""
    rows, labels = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(rows, labels)
    served = loaded(tmp_path, {"code/inference.py": MODEL_FN, "model.joblib": dumped(model)})
    assert (served.format, served.batchable) == ("script", False)
    expected = model.predict(rows.astype(np.float32)).tolist()
    assert ask(served, json.dumps(rows.tolist())) == expected


def test_four_functions_are_called_in_order_with_what_they_take(tmp_path: Path) -> None:
    body = (
        "import os\n"
        "def model_fn(model_dir): return os.path.basename(model_dir)\n"
        "def input_fn(data, content_type): return [data, content_type]\n"
        "def predict_fn(data, model): return [*data, model]\n"
        "def output_fn(prediction, accept): return '|'.join([*prediction, accept]), 'text/x'\n"
    )
    model = loaded(tmp_path / "m", {"code/inference.py": body})
    answer = model.answer_raw("body", CSV, "image/png", {})
    assert answer == (b"body|text/csv|m|image/png", "text/x")


def test_transform_fn_does_it_all(tmp_path: Path) -> None:
    body = "def transform_fn(model, data, kind, accept): return f'{model} {data} {kind}', accept"
    model = loaded(tmp_path, script(body))
    assert model.answer_raw("x", CSV, "a/b", {}) == (b"None x text/csv", "a/b")


def test_the_context_is_passed_to_functions_that_take_one_more(tmp_path: Path) -> None:
    """By the number of arguments, as in the toolkits; a default value doesn't keep it away."""
    body = (
        "def model_fn(model_dir, context):\n"
        " assert context.model_dir == model_dir == context.system_properties['model_dir']\n"
        " assert context.system_properties['gpu_id'] is None\n"
        " return context.custom_attributes\n"
        "def input_fn(data, content_type, context=None):\n"
        " assert context.get_request_header(0, 'content-TYPE') == 'text/csv; charset=x'\n"
        " assert context.request_processor[0].get_request_properties()['Accept'] == '*/*'\n"
        " return context.custom_attributes\n"
        "def predict_fn(data, model, *others): return [data, model, len(others)]\n"
        "def output_fn(prediction, accept, ctx):\n"
        " ctx.set_response_content_type(0, 'application/x-own')\n"
        " return repr(prediction)"
    )
    model = loaded(tmp_path, {"code/inference.py": body})
    headers = {
        "Content-Type": "text/csv; charset=x",
        "Accept": "*/*",
        "X-Amzn-SageMaker-Custom-Attributes": "a=1",
    }
    answer = model.answer_raw("", CSV, JSON, headers)
    assert answer == (b"['a=1', '', 0]", "application/x-own")


def test_the_toolkits_hooks_around_model_fn_are_called(tmp_path: Path) -> None:
    body = (
        "seen = []\n"
        "def pre_model_fn(d): seen.append('pre')\n"
        "def model_fn(d): seen.append('model')\n"
        "def model_warmup_fn(d, model): seen.append('warm')\n"
        "def predict_fn(data, model): return seen\n"
    )
    assert ask(loaded(tmp_path, {"code/inference.py": body})) == ["pre", "model", "warm"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("async def predict_fn(a, b): pass", "predict_fn is async"),
        ("async def output_fn(a, b): yield", "output_fn is async"),
        ("def predict_fn(a, b, c, d): pass", "predict_fn takes 4 arguments: it is called with 2"),
        ("def input_fn(a): pass", "input_fn takes 1 arguments"),
        ("predict_fn = 5", "predict_fn in the script isn't a function"),
        (
            "def transform_fn(a, b, c, d): pass\ndef predict_fn(a, b): pass",
            "has transform_fn, so it can't have predict_fn too",
        ),
        ("raise ValueError('so\\nnot so')", "can't be imported: ValueError: so"),
        ("raise SystemExit(3)", "can't be imported: SystemExit: 3"),
        ("raise KeyboardInterrupt", "can't be imported: KeyboardInterrupt"),
        ("def f(:", "can't be imported: SyntaxError"),
        (
            "def model_fn(d): raise RuntimeError('no\\nweights')",
            "model_fn failed: RuntimeError: no",
        ),
        ("def model_fn(d): raise SystemExit", "model_fn failed: SystemExit"),
        ("def model_fn(d): open(d + '/none.bin')", "'none.bin'"),
    ],
)
def test_scripts_that_cant_be_used(body: str, says: str, tmp_path: Path) -> None:
    """One line that says which function and why; no traceback, no folder of this machine."""
    message = refused(tmp_path, script(body))
    assert says in message
    assert str(tmp_path) not in message
    assert "\n" not in message


def test_memory_errors_stay_what_they_are(tmp_path: Path) -> None:
    """They are answered with another status."""
    with pytest.raises(MemoryError):
        loaded(tmp_path, script("def model_fn(d): raise MemoryError"))


def test_without_model_fn_our_own_loader_does_it(tmp_path: Path) -> None:
    """AWS demands it; one model file is as clear."""
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    files = {"code/inference.py": "", "sub/m.joblib": dumped(model)}
    assert ask(loaded(tmp_path / "a", files), "[[1], [2]]") == pytest.approx([2.0, 4.0])
    twice = {**files, "n.joblib": dumped(model)}
    message = refused(tmp_path / "b", twice)
    assert "inference.py has no model_fn, and there are several models inside" in message
    assert "has no model_fn, and there is no model inside" in refused(
        tmp_path / "c", {"code/inference.py": ""}
    )


def test_our_own_loader_serves_other_formats_as_well(tmp_path: Path) -> None:
    """A script gets a model with ``predict``, whatever the file is."""
    from skl2onnx import to_onnx

    rows = np.array([[0.0], [1.0]], np.float32)
    graph = to_onnx(LinearRegression().fit(rows, [0.0, 2.0]), rows).SerializeToString()
    served = loaded(tmp_path, {"code/inference.py": "", "m.onnx": graph})
    assert np.ravel(ask(served, "[[1], [2]]")) == pytest.approx([2.0, 4.0])


# --- Which script ---


def test_another_program(tmp_path: Path) -> None:
    """SAGEMAKER_PROGRAM, or the manifest, names it; its module goes by its own name."""
    text = "def model_fn(d): pass\ndef predict_fn(d, m): return __name__.split('.', 1)[1]"
    files = {"code/serve/own.py": text, "code/inference.py": "1/0"}
    assert ask(loaded(tmp_path / "a", files, program="serve/own.py")) == "serve.own"
    files["manifest.json"] = '{"options": {"script": "serve/own.py"}}'
    assert ask(loaded(tmp_path / "b", files)) == "serve.own"


@pytest.mark.parametrize("name", ["../x.py", "/etc/x.py", "x", "a-b.py", "a//b.py", ""])
def test_a_manifest_cant_name_any_file_as_script(name: str, tmp_path: Path) -> None:
    files = {"code/inference.py": "", "manifest.json": json.dumps({"options": {"script": name}})}
    assert "isn't a script in code/" in refused(tmp_path, files)


def test_code_without_the_program_isnt_passed_over(tmp_path: Path) -> None:
    files: dict[str, Any] = {"code/train.py": "", "m.joblib": dumped(LinearRegression())}
    message = refused(tmp_path, files)
    assert "code/inference.py isn't there, only code/train.py: name the script with" in message
    assert "SAGEMAKER_PROGRAM" in message


def test_a_folder_in_the_archive_may_hold_it_all(tmp_path: Path) -> None:
    """What holds code/ is the model's folder."""
    text = (
        "import os\ndef model_fn(d): return os.listdir(d)\ndef predict_fn(x, m): return sorted(m)"
    )
    files = {"export/code/inference.py": text, "export/weights.bin": ""}
    assert ask(loaded(tmp_path, files)) == ["code", "weights.bin"]


def test_a_shared_script_serves_models_that_have_none(tmp_path: Path) -> None:
    """The model's own goes first; the shared one's neighbours are at hand."""
    text = "import os, helper\ndef model_fn(d): return os.path.basename(d) + helper.NAME\n"
    text += "def predict_fn(data, model): return model"
    shared = artifact(tmp_path / "shared", {"inference.py": text, "helper.py": "NAME = '!'"})
    options = {"shared_code": str(shared)}
    assert ask(loaded(tmp_path / "a", {"weights.bin": "x"}, **options)) == "a!"
    assert ask(loaded(tmp_path / "b", {"code/requirements.txt": ""}, **options)) == "b!"
    own = script("def predict_fn(data, model): return 'own'")
    assert ask(loaded(tmp_path / "c", own, **options)) == "own"


def test_nothing_runs_where_the_prefix_isnt_trusted(tmp_path: Path) -> None:
    """Neither the artifact's own script nor the shared one."""
    mark = tmp_path / "ran"
    artifact(tmp_path / "m", script(f"open({str(mark)!r}, 'w')"))
    with pytest.raises(LoadError, match="MMS_TRUST=all"):
        load_model(tmp_path / "m", LoadOptions())
    shared = artifact(tmp_path / "shared", {"inference.py": f"open({str(mark)!r}, 'w')"})
    artifact(tmp_path / "n", {"x.joblib": dumped(LinearRegression().fit([[1.0]], [1.0]))})
    assert load_model(tmp_path / "n", LoadOptions(shared_code=str(shared))).format == "sklearn"
    assert not mark.exists()


# --- Defaults ---


@pytest.mark.parametrize(
    ("body", "kind", "rows"),
    [
        ("[[1, 2], [3, 4]]", JSON, [[1, 2], [3, 4]]),
        ("[1, 2]", JSON, [[1, 2]]),
        ("[[1, null]]", JSON, [[1, None]]),
        ("[[0.1]]", JSON, [[float(np.float32(0.1))]]),
        ("1,2\n3,4\n", CSV, [[1, 2], [3, 4]]),
        ("1,2.5\r\n3,4.5", CSV, [[1, 2.5], [3, 4.5]]),
        ("1,2", CSV, [[1, 2]]),
        ("1\n2\n3", CSV, [[1, 2, 3]]),
        (' 1 ,"2"\n\n,nan\n', CSV, [[1, 2], [None, None]]),
        (npy(np.array([[1, 2]])), NPY, [[1, 2]]),
        (npy(np.array([1.5, 2])), NPY, [[1.5, 2]]),
    ],
)
def test_the_default_input_is_rows(body: Any, kind: str, rows: Any, tmp_path: Path) -> None:
    """Texts become float32, one dimension becomes one row."""
    answer = ask(loaded(tmp_path, script(ECHO)), body, kind)
    plain = [[None if cell != cell else cell for cell in row] for row in answer]  # noqa: PLR0124
    assert plain == rows


def test_arrays_keep_their_types_and_sparse_matrices_stay_sparse(tmp_path: Path) -> None:
    body = "def predict_fn(data, model): return [str(data.dtype), type(data).__name__]"
    model = loaded(tmp_path, script(body))
    assert ask(model, npy(np.array([[1 << 60]])), NPY) == ["int64", "ndarray"]
    assert ask(model, npz(sparse.csr_matrix([[0.0, 1.0]])), NPZ) == ["float64", "csr_matrix"]
    assert ask(model, "1,2", CSV) == ["float32", "ndarray"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("[[1], [2, 3]]", JSON),
        ("{", JSON),
        ("[" * 100_000, JSON),
        ("5", JSON),
        ('{"instances": [[1]]}', JSON),
        ('[["x"]]', JSON),
        ("1,x", CSV),
        ("1,2\n3", CSV),
        (b"\x93NUMPY nonsense", NPY),
        (npy(np.array([{}], dtype=object), allow_pickle=True), NPY),
        (b"PK\x03\x04", NPZ),
        (npy(np.array([1])), NPZ),
    ],
)
def test_bodies_the_default_input_cant_read_are_the_callers_mistake(
    body: Any, kind: str, tmp_path: Path
) -> None:
    """Never unpickled, never a failure of the model."""
    with pytest.raises(InputError):
        ask(loaded(tmp_path, script(ECHO)), body, kind)


def test_a_sparse_bomb_isnt_unpacked(tmp_path: Path) -> None:
    """A megabyte of zeros that unpacks to gigabytes is refused by what it announces."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(5):
            archive.writestr(f"{n}.npy", bytes(60 << 20))
    with pytest.raises(InputError, match="more than 256 MiB"):
        ask(loaded(tmp_path, script(ECHO)), out.getvalue(), NPZ)


def test_rows_the_model_refuses_are_the_callers_mistake(tmp_path: Path) -> None:
    """Where nothing but defaults stands between the caller and scikit-learn's checks."""
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    served = loaded(tmp_path, {"code/inference.py": MODEL_FN, "model.joblib": dumped(model)})
    with pytest.raises(InputError, match="X has 2 features"):
        ask(served, "[[1, 2]]")


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        (JSON, b"[[1.0, 2.5], [3.0, 4.0]]"),
        (CSV, b"1.0,2.5\n3.0,4.0\n"),
        (NPY, npy(np.array([[1, 2.5], [3, 4]], np.float32))),
    ],
)
def test_the_default_output_is_written_as_asked(accept: str, body: bytes, tmp_path: Path) -> None:
    model = loaded(tmp_path, script(ECHO))
    assert model.answer_raw("1,2.5\n3,4", CSV, accept, {}) == (body, accept)


def test_types_that_no_default_knows(tmp_path: Path) -> None:
    """In: one thing; out: another."""
    model = loaded(tmp_path, script(ECHO))
    with pytest.raises(Unreadable, match="image/png"):
        ask(model, b"", "image/png")
    with pytest.raises(Unwritable, match="image/png"):
        ask(model, accept="image/png")


def test_a_scripts_own_error_of_that_name_counts_too(tmp_path: Path) -> None:
    """The toolkits' UnsupportedFormatError needs no toolkit."""
    body = (
        "class UnsupportedFormatError(Exception): pass\n"
        "def input_fn(data, kind):\n if kind != 'text/csv': raise UnsupportedFormatError(kind)\n"
        "def predict_fn(data, model): return 1\n"
        "def output_fn(data, accept): raise UnsupportedFormatError(accept)"
    )
    model = loaded(tmp_path, script(body))
    with pytest.raises(Unreadable):
        ask(model)
    with pytest.raises(Unwritable):
        ask(model, kind=CSV)


# --- Answers ---

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


def test_the_working_folder_stays(tmp_path: Path) -> None:
    """A script that changes it while it loads changes it for nobody else."""
    before = Path.cwd()
    ask(loaded(tmp_path, script(f"import os\nos.chdir({os.sep!r})\n{ECHO}")))
    assert Path.cwd() == before


def test_it_is_no_table_model(tmp_path: Path) -> None:
    """Rows don't reach it but through its script."""
    model = loaded(tmp_path, script(ECHO))
    assert isinstance(model, ScriptModel)
    with pytest.raises(InputError, match="its own script"):
        model.prepare(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="its own script"):
        model.run("predict", None)  # type: ignore[arg-type]


# --- What the artifact says of itself ---


def test_an_old_pickle_isnt_handed_to_its_script(tmp_path: Path) -> None:
    """Where it is plain which file the script will read, its versions have to fit; else not."""
    import sklearn

    data = dumped(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
    old = data.replace(sklearn.__version__.encode(), b"0" + sklearn.__version__.encode()[1:])
    assert old != data
    files: dict[str, Any] = {"code/inference.py": "1/0", "m.joblib": old}
    message = refused(tmp_path / "a", files)
    assert "the model was saved by scikit-learn 0." in message
    assert "ZeroDivisionError" in refused(tmp_path / "b", files, env_match="off")
    assert "ZeroDivisionError" in refused(tmp_path / "c", {**files, "n.joblib": old})


def test_a_manifests_digests_hold_for_scripts(tmp_path: Path) -> None:
    """What it vouches for must be the same, and the script must be vouched for."""
    from hashlib import sha256

    files = script("def predict_fn(data, model): return 1")
    good = sha256(files["code/inference.py"].encode()).hexdigest()

    def signed(**digests: str) -> dict[str, str]:
        named = {name.replace("__", "/") + ".py": value for name, value in digests.items()}
        return {**files, "code/helper.py": "", "manifest.json": json.dumps({"files": named})}

    assert ask(loaded(tmp_path / "a", signed(code__inference=good))) == 1
    assert "another SHA-256" in refused(tmp_path / "b", signed(code__inference="0" * 64))
    empty = sha256(b"").hexdigest()
    assert "is not in 'files'" in refused(tmp_path / "c", signed(code__helper=empty))
