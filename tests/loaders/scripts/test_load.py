"""Loading by a script: which one it is, what it may be, and what the artifact says of itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from tests.loaders.scripts.artifacts import ECHO, artifact, ask, dumped, loaded, script


def refused(folder: Path, files: dict[str, Any], **options: Any) -> str:
    with pytest.raises(LoadError) as caught:
        loaded(folder, files, **options)
    return str(caught.value)


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


def test_the_working_folder_stays(tmp_path: Path) -> None:
    """A script that changes it while it loads changes it for nobody else."""
    before = Path.cwd()
    ask(loaded(tmp_path, script(f"import os\nos.chdir({os.sep!r})\n{ECHO}")))
    assert Path.cwd() == before


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
