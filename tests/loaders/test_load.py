"""An artifact's folder becomes a model, or an error that says what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from loaders import folder as folder_module
from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from tests.support.s3 import tar_of

OPTIONS = LoadOptions()
MODEL = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])


def _model(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(MODEL, path)


def _manifest(folder: Path, **keys: object) -> None:
    (folder / "manifest.json").write_text(json.dumps(keys))


@pytest.mark.parametrize(
    "path", ["model.joblib", "a/b/c/m.pkl", "model", "model.pickle", "m.joblib.gz", "code.joblib"]
)
def test_one_model_is_found_at_any_depth_and_name(path: str, tmp_path: Path) -> None:
    """The content decides; the name may be anything."""
    _model(tmp_path / path)
    assert load_model(tmp_path, OPTIONS).format == "sklearn"


@pytest.mark.parametrize(
    "junk",
    [
        ".DS_Store",
        "._model.joblib",
        "__MACOSX/._model.joblib",
        "__MACOSX/model.joblib",
        ".hidden.joblib",
        ".ipynb_checkpoints/model.joblib",
        "README.md",
        "requirements.txt",
        "data/features.csv",
    ],
)
def test_what_lies_beside_a_model_is_no_model(junk: str, tmp_path: Path) -> None:
    """Leftovers of file managers, and texts, don't make an artifact ambiguous."""
    _model(tmp_path / "model.joblib")
    (tmp_path / junk).parent.mkdir(exist_ok=True)
    (tmp_path / junk).write_bytes(b"anything")
    load_model(tmp_path, OPTIONS)


@pytest.mark.parametrize(
    "path", ["code/inference.py", "x/code/y/z.py", "code/.hidden", "code/requirements.txt"]
)
def test_code_is_never_ignored(path: str, tmp_path: Path) -> None:
    """An artifact with code of its own isn't served without it."""
    _model(tmp_path / "model.joblib")
    _manifest(tmp_path, entry="model.joblib")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("")
    with pytest.raises(LoadError, match=r"carries its own inference code.*MMS_TRUST=all"):
        load_model(tmp_path, OPTIONS)


def test_code_that_may_not_run_is_called_by_the_script_in_it(tmp_path: Path) -> None:
    """Not by whatever comes first beside it."""
    for name in ("model.joblib", "code/helper.py", "code/inference.py"):
        _model(tmp_path / name)
    with pytest.raises(LoadError, match=r"inference code \(code/inference.py\)"):
        load_model(tmp_path, OPTIONS)


def test_links_to_one_model_are_one_model(tmp_path: Path) -> None:
    """Under every name that it has; two models with a link each are still two."""
    _model(tmp_path / "v1/model.joblib")
    (tmp_path / "latest.joblib").symlink_to("v1/model.joblib")
    (tmp_path / "model").hardlink_to(tmp_path / "v1/model.joblib")
    load_model(tmp_path, OPTIONS)
    _model(tmp_path / "v2/model.joblib")
    (tmp_path / "v2/again.pkl").hardlink_to(tmp_path / "v2/model.joblib")
    with pytest.raises(LoadError, match=r"several models inside \(latest.joblib, v2/again.pkl\)"):
        load_model(tmp_path, OPTIONS)


def test_links_to_a_broken_model_are_one_broken_model(tmp_path: Path) -> None:
    """It is named as what it is."""
    (tmp_path / "model.joblib").write_bytes(b"<html>")
    (tmp_path / "latest.joblib").symlink_to("model.joblib")
    with pytest.raises(LoadError, match=r"latest.joblib isn't a model: it is an HTML page"):
        load_model(tmp_path, OPTIONS)


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    """Empty folders, and such as hold only leftovers, hold no model."""
    (tmp_path / "sub").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"x")
    with pytest.raises(LoadError, match="no model inside"):
        load_model(tmp_path, OPTIONS)


def test_several_models_need_a_manifest(tmp_path: Path) -> None:
    """The candidates are named; the manifest decides."""
    _model(tmp_path / "a.joblib")
    _model(tmp_path / "sub/b.pkl")
    with pytest.raises(LoadError, match=r"several models inside \(a\.joblib, sub/b\.pkl\)"):
        load_model(tmp_path, OPTIONS)
    _manifest(tmp_path, entry="sub/b.pkl")
    load_model(tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (bytes(5000), "a file of zero bytes"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error/>", "an XML document"),
        (b'{"message": "denied"}', "a JSON document"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (tar_of({"x": b""}), "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"hello", "a text"),
        (bytes(range(1, 255)) * 4, "data of no known format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    ],
)
@pytest.mark.parametrize("name", ["model.joblib", "model.onnx", "model.bin"])
def test_what_isnt_a_model_is_described(
    name: str, content: bytes, what: str, tmp_path: Path
) -> None:
    """An archive or an error page under a model's name is called what it is."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=what) as caught:
        load_model(tmp_path, OPTIONS)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m.PT", "TorchScript isn't supported here: export the model to ONNX"),
        ("m.pth", "PyTorch isn't supported here: export the model to ONNX"),
        ("m.pt2", "torch.export isn't supported here: export the model to ONNX"),
        ("m.keras", "Keras isn't supported here: export the model to ONNX"),
        ("saved_model.pb", "TensorFlow's SavedModel isn't supported here: export"),
        ("m.pmml", "PMML isn't supported here"),
        ("m.mlmodel", "Core ML isn't supported here"),
        ("m.safetensors", "weights but no model"),
        ("m.dill", "carries code, and isn't supported here: save it with joblib"),
    ],
)
def test_a_format_of_others_is_called_by_its_name(name: str, says: str, tmp_path: Path) -> None:
    """A format that isn't served is told from rubbish, and the way out is named."""
    (tmp_path / name).write_bytes(b"PK\x03\x04whatever")
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, OPTIONS)
    _manifest(tmp_path, entry=name)
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, OPTIONS)


@pytest.mark.parametrize("name", ["xgboost-model", "m.ubj", "m.cbm", "m.skops", "m.lgb"])
def test_what_is_named_like_a_model_of_another_framework_counts_as_one(
    name: str, tmp_path: Path
) -> None:
    """A broken one is called what it is, and isn't passed over beside a good one."""
    (tmp_path / name).write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(LoadError, match=f"{name} isn't a model: it is an HTML page"):
        load_model(tmp_path, OPTIONS)
    _model(tmp_path / "model.joblib")
    with pytest.raises(LoadError, match="several models"):
        load_model(tmp_path, OPTIONS)


@pytest.mark.parametrize("name", ["config.json", "notes.txt", "tree.txt", "learner.json"])
def test_other_texts_are_no_models(name: str, tmp_path: Path) -> None:
    """JSON and text beside a model are looked at by content."""
    _model(tmp_path / "model.joblib")
    (tmp_path / name).write_text('{"learners": {}}' if name.endswith("json") else "tree\nof life")
    assert load_model(tmp_path, OPTIONS).format == "sklearn"


def test_a_broken_model_beside_a_good_one_isnt_passed_over(tmp_path: Path) -> None:
    """Two files named like models are two models, whatever is in them."""
    _model(tmp_path / "a.joblib")
    (tmp_path / "b.onnx").write_bytes(b"")
    with pytest.raises(LoadError, match="several models"):
        load_model(tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "tensorflow"}, "no loader for format 'tensorflow', only for onnx, xgboost, "),
        ({"format": "onnx"}, "isn't a model"),
        ({"entry": "gone.joblib"}, r"gone\.joblib isn't a file"),
        ({"entry": "sub"}, "isn't a file"),
        ({"entry": "link"}, "leads out of the artifact"),
        ({"method": "predict_proba"}, "has no method 'predict_proba', it has predict"),
    ],
)
def test_a_manifest_that_doesnt_fit_is_refused(
    keys: dict[str, object], message: str, tmp_path: Path
) -> None:
    """What the manifest claims is checked against what is there."""
    inside = tmp_path / "artifact"
    _model(inside / "model.joblib")
    (inside / "sub").mkdir()
    (tmp_path / "outside").write_bytes(b"x")
    _manifest(inside, **keys)
    if "link" in keys.values():
        (inside / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(LoadError, match=message) as caught:
        load_model(inside, OPTIONS)
    assert str(tmp_path) not in str(caught.value)


def test_the_manifest_sets_method_batching_and_signature(tmp_path: Path) -> None:
    """What the artifact says of itself wins over what the loader finds."""
    _model(tmp_path / "model.joblib")
    _manifest(
        tmp_path,
        format="joblib",
        batchable=False,
        signature={"inputs": [{"name": "metres"}]},
    )
    model = load_model(tmp_path, OPTIONS)
    assert model.batchable is False
    assert [i.name for i in model.signature.inputs] == ["metres"]


def test_a_folder_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is bounded."""
    monkeypatch.setattr(folder_module, "MAX_FILES", 3)
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("x")
    with pytest.raises(LoadError, match="more than 3 files"):
        load_model(tmp_path, OPTIONS)


def test_an_unreadable_file_is_a_load_error(tmp_path: Path) -> None:
    """What the system says is said, paths are not."""
    (tmp_path / "model.joblib").symlink_to(tmp_path / "model.joblib")
    with pytest.raises(LoadError) as caught:
        load_model(tmp_path, OPTIONS)
    assert str(tmp_path) not in str(caught.value)
