"""Where a model is loaded, by the versions it was saved by and those there are."""

from __future__ import annotations

import io
import json
import logging
import pickle
import platform
import zipfile
from pathlib import Path

import pytest
import skops.io
from sklearn import __version__
from sklearn.linear_model import LinearRegression

from loaders import environment, load
from loaders.base import Environment, LoadError, LoadOptions
from loaders.environment import OtherEnvironment, Verdict, decide, demand_fit, installed, relevant
from loaders.inspection import inspect
from loaders.load import load_model
from loaders.versions import versions_of
from tests.support.external_onnx import external_onnx

SKLEARN = "scikit-learn"
HERE: dict[str, str | None] = {SKLEARN: "1.9.1", "python": "3.11.7", "numpy": "2.4.1", "foo": None}


def env(name: str, sklearn: str, **versions: str) -> Environment:
    return Environment(name, {SKLEARN: sklearn, "python": "3.11.7", "numpy": "2.4.1", **versions})


def where(policy: str, *others: Environment, **needs: str) -> str:
    verdict = decide({n.replace("_", "-"): v for n, v in needs.items()}, HERE, policy, others)
    if verdict.refused:
        return "refused"
    warns = "here with a warning" if verdict.mismatched else "here"
    return verdict.environment or warns


@pytest.mark.parametrize(
    ("policy", "needs", "place"),
    [
        ("compatible", {"scikit_learn": "1.9.1"}, "here"),
        ("compatible", {"scikit_learn": "1.9.0"}, "here"),
        ("compatible", {"scikit_learn": "1.9"}, "here"),
        ("compatible", {"scikit_learn": "1.9.2rc1"}, "here"),
        ("compatible", {"scikit_learn": "1.8.1"}, "refused"),
        ("compatible", {"scikit_learn": "1.10.0"}, "refused"),
        ("compatible", {"scikit_learn": "2.9.1"}, "refused"),
        ("compatible", {"scikit_learn": "no version"}, "refused"),
        ("compatible", {"scikit_learn": "1.9.1", "python": "3.10.2"}, "here"),
        ("compatible", {"scikit_learn": "1.9.1", "python": "2.7.18"}, "refused"),
        ("compatible", {"scikit_learn": "1.9.1", "python": "3.11"}, "here"),
        ("compatible", {"numpy": "2.0.0"}, "here"),
        ("compatible", {"numpy": "1.26.4"}, "refused"),
        ("compatible", {"foo": "1.0"}, "refused"),
        ("compatible", {}, "here"),
        ("exact", {"scikit_learn": "1.9.1"}, "here"),
        ("exact", {"scikit_learn": "1.9.0"}, "refused"),
        ("exact", {"python": "3.11"}, "here"),
        ("exact", {"python": "3.1"}, "refused"),
        ("exact", {"numpy": "2.4.0"}, "refused"),
        ("warn", {"scikit_learn": "1.2.2"}, "here with a warning"),
        ("warn", {"scikit_learn": "1.9.0"}, "here"),
        ("off", {"scikit_learn": "0.17"}, "here"),
    ],
)
def test_what_fits_here(policy: str, needs: dict[str, str], place: str) -> None:
    """compatible: the same minor of scikit-learn, the same major of others."""
    assert where(policy, **needs) == place


def test_where_else_it_fits() -> None:
    """Here if it does; else the very version, else the newest of the same minor."""
    old, older, oldest = env("c", "1.2.2"), env("b", "1.2.0"), env("a", "1.1.3")
    every = (old, older, oldest)
    assert where("compatible", *every, scikit_learn="1.9.0") == "here"
    assert where("compatible", *every, scikit_learn="1.2.0") == "b"
    assert where("compatible", *every, scikit_learn="1.2.1") == "c"
    assert where("compatible", *every, scikit_learn="1.3.0") == "refused"
    assert where("exact", *every, scikit_learn="1.2.1") == "refused"
    assert where("exact", *every, scikit_learn="1.2.2") == "c"
    assert where("warn", *every, scikit_learn="1.1.0") == "a"
    assert where("warn", *every, scikit_learn="1.3.0") == "here with a warning"
    assert where("off", *every, scikit_learn="1.2.2") == "here"


def test_the_newest_patch_is_so_by_its_numbers() -> None:
    new, old = env("a", "1.2.10"), env("b", "1.2.9")
    assert where("compatible", old, new, scikit_learn="1.2.1") == "a"


def test_an_environment_must_fit_in_everything() -> None:
    """One with the right scikit-learn and the wrong NumPy is none."""
    wrong = env("wrong", "1.2.2", numpy="2.0.0")
    needs = {SKLEARN: "1.2.2", "numpy": "1.23.5"}
    assert decide(needs, HERE, "compatible", [wrong]).refused
    right = env("right", "1.2.0", numpy="1.26.4")
    assert decide(needs, HERE, "compatible", [wrong, right]).environment == "right"


def test_a_refusal_has_both_versions_and_the_ways_out() -> None:
    with pytest.raises(LoadError) as caught:
        demand_fit({SKLEARN: "1.2.2"}, "compatible")
    assert str(caught.value) == (
        f"the model was saved by scikit-learn 1.2.2, this server has {__version__}: load it in an "
        "environment with scikit-learn 1.2 (MMS_ENVS), re-save it, or set MMS_ENV_MATCH=warn"
    )
    needs = {SKLEARN: "1.2.2", "python": "2.7.18", "no-such-thing": "\n" * 1000}
    with pytest.raises(LoadError) as caught:
        demand_fit(needs, "exact")
    text = str(caught.value)
    assert f"this server has no no-such-thing and Python {platform.python_version()} and" in text
    assert "with no-such-thing " in text
    assert "scikit-learn 1.2.2 (MMS_ENVS)" in text
    assert "\n" not in text
    assert len(text) < 1000


def test_what_is_let_pass_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mms.loaders"):
        demand_fit({SKLEARN: __version__}, "warn")
        assert not caplog.records
        demand_fit({SKLEARN: "1.2.2"}, "warn")
    [record] = caplog.records
    assert vars(record)["saved_by"] == "scikit-learn 1.2.2"
    assert vars(record)["installed"] == f"scikit-learn {__version__}"


def test_what_is_installed() -> None:
    """Asked by distribution; whatever the name is."""
    assert installed(SKLEARN) == __version__
    assert installed("python") == platform.python_version()
    assert installed("no-such-thing") is installed("") is installed("../x") is None


def test_only_pickles_depend_on_versions() -> None:
    """An ONNX model runs wherever it was made."""
    needs = {SKLEARN: "1.2.2", "python": "3.8"}
    assert relevant(needs, "onnx") == {}
    assert relevant(needs, "sklearn") == needs
    assert decide({}, HERE, "exact") == Verdict()


def old_model(folder: Path, version: str = "1.2.2", kind: str = "pkl") -> Path:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    if kind == "pkl":
        data = pickle.dumps(model).replace(__version__.encode(), version.encode())
        (folder / "m.pkl").write_bytes(data)
        return folder
    with (
        zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as saved,
        zipfile.ZipFile(folder / f"m.{kind}", "w") as archive,
    ):
        for name in saved.namelist():
            data = saved.read(name).replace(__version__.encode(), version.encode())
            archive.writestr(name, data)
    return folder


KINDS = pytest.mark.parametrize("kind", ["pkl", "skops"])


@KINDS
def test_the_decision_comes_before_the_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nothing of the file is run, nor its framework asked for."""
    folder = old_model(tmp_path, kind=kind)
    monkeypatch.setattr(load, "loader", None)
    with pytest.raises(LoadError, match=r"saved by scikit-learn 1\.2\.2"):
        load_model(folder, LoadOptions())
    others = (env("old", "1.2.1"),)
    with pytest.raises(OtherEnvironment, match="old"):
        load_model(folder, LoadOptions(environments=others))
    with pytest.raises(OtherEnvironment, match="old"):
        load_model(folder, LoadOptions(environments=others, env_match="warn"))


@KINDS
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(("policy", "lines"), [("warn", 1), ("off", 0)])
def test_a_model_that_is_let_pass_is_logged_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    policy: str,
    lines: int,
    kind: str,
    trusted: bool,
) -> None:
    """Not again for what the load shows."""
    with caplog.at_level(logging.INFO, "mms.loaders"):
        options = LoadOptions(env_match=policy, trusted=trusted)
        load_model(old_model(tmp_path, kind=kind), options)
    assert len(caplog.records) == lines


@KINDS
def test_a_manifests_names_are_those_of_distributions(tmp_path: Path, kind: str) -> None:
    """However they are written; also where no file tells."""
    folder = old_model(tmp_path, __version__, kind)
    others = (env("old", "1.2.1", **{"foo-bar": "2.1"}),)
    told = {"FOO_bar": "2.0", "Python": "3.11.1", "SKlearn": "1.2.0"}
    (folder / "manifest.json").write_text(json.dumps({"versions": told}))
    with pytest.raises(LoadError, match=r"saved by foo-bar 2\.0, this server has no foo-bar"):
        load_model(folder, LoadOptions())
    other = (env("other", __version__, **{"foo-bar": "2.1"}), *others)
    with pytest.raises(OtherEnvironment, match="other"):
        load_model(folder, LoadOptions(environments=other))
    (folder / f"m.{kind}").unlink()
    assert inspect(folder, LoadOptions()).needs == {
        "foo-bar": "2.0", "python": "3.11.1", SKLEARN: "1.2.0",
    }  # fmt: skip
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").touch()
    with pytest.raises(OtherEnvironment, match="old"):
        load_model(folder, LoadOptions(environments=others, trusted=True))


@pytest.mark.parametrize(("kind", "runs"), [("pkl", True), ("skops", True), ("onnx", False)])
def test_what_a_trusted_load_would_run(tmp_path: Path, kind: str, runs: bool) -> None:
    """A skops file, too, may then hold objects of any type."""
    if kind == "onnx":
        for name, data in external_onnx(1.0).items():
            (tmp_path / name).write_bytes(data)
    else:
        old_model(tmp_path, kind=kind)
    assert inspect(tmp_path, LoadOptions(trusted=True)).runs_code == runs
    assert not inspect(tmp_path, LoadOptions()).runs_code


def test_off_never_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "versions_of", None)
    load_model(old_model(tmp_path), LoadOptions(env_match="off"))


def test_a_manifests_versions_count(tmp_path: Path) -> None:
    """Where the pickle itself fits."""
    folder = old_model(tmp_path, __version__)
    load_model(folder, LoadOptions())
    (folder / "manifest.json").write_text('{"versions": {"numpy": "1.26.4"}}')
    with pytest.raises(LoadError, match=r"saved by numpy 1\.26\.4"):
        load_model(folder, LoadOptions())


def test_a_load_that_fails_is_explained_by_what_lies_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the version wasn't seen before it."""
    folder = old_model(tmp_path)
    data = (folder / "m.pkl").read_bytes()
    (folder / "m.pkl").write_bytes(data[:-2] + b"\xff.")
    real = versions_of
    monkeypatch.setattr(
        load,
        "versions_of",
        lambda path, manifest, *, thoroughly=False: real(path, manifest) if thoroughly else {},
    )
    with pytest.raises(LoadError, match=r"saved by scikit-learn 1\.2\.2"):
        load_model(folder, LoadOptions())
    with pytest.raises(LoadError, match=r"corrupt|unpickled"):
        load_model(folder, LoadOptions(env_match="off"))


def test_ranks_take_versions_that_are_none() -> None:
    assert environment._rank({SKLEARN: "1"}, Environment("x", {})) == (0, ())
