"""What a script needs is read and held against what is here; nothing is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.base import LoadError
from loaders.scripts import requirements
from loaders.scripts.requirements import check, unmet
from tests.loaders.scripts.artifacts import artifact, ask, loaded, script

NUMPY = version("numpy")


def requiring(folder: Path, text: str) -> Path:
    return artifact(folder, {"requirements.txt": text})


def test_nothing_asked_for_is_nothing_unmet(tmp_path: Path) -> None:
    assert unmet(tmp_path) == []
    assert unmet(requiring(tmp_path, "\ufeff\r\n# numpy==0\n\n   # x\n")) == []


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        f"numpy=={NUMPY}",
        "NumPy >= 1.0, < 99  # as ever",
        f"numpy=={NUMPY} --hash=sha256:{'0' * 64}",
        "scikit_learn>=1",
        "sklearn",
        "numpy[extra]>=1; python_version >= '3.9'",
        "nonsense-package; sys_platform == 'win32'",
        "nonsense-package==1 ; python_version < '3' or (os_name == 'nt' and extra == 'x')",
        "numpy @ https://example.com/numpy.whl",
        "--index-url https://example.com/simple",
        "--extra-index-url=https://example.com/simple",
        "numpy>=\\\n1.0",
        "numpy (>=1.0)",
        f"numpy~={NUMPY}",
        "numpy!=0.*",
        "nonsense-package; platform_machine in 'vax pdp11' or os.name == 'nt'",
    ],
)
def test_what_is_here(line: str, tmp_path: Path) -> None:
    assert check(requiring(tmp_path, line)) == ([], [])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense-package", "nonsense-package, which isn't installed here"),
        ("nonsense-package >= 2", "nonsense-package>=2, which isn't installed here"),
        ("numpy==0.1", f"numpy==0.1, and {NUMPY} is installed here"),
        ("numpy<1 # old", f"numpy<1, and {NUMPY} is installed here"),
        ("sklearn==0.1", f"sklearn==0.1, and {version('scikit-learn')} is installed here"),
        ("nonsense @ https://example.com/x.whl", "nonsense, which isn't installed here"),
    ],
)
def test_what_is_unmet_is_named_with_what_is_here(line: str, says: str, tmp_path: Path) -> None:
    assert unmet(requiring(tmp_path, f"numpy\n{line}\n")) == [says]


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "git+https://example.com/x.git",
        "https://example.com/x.whl",
        "-r ../other.txt",
        "-c constraints.txt",
        "-r requirements.txt.missing",
        "numpy==",
        "numpy=>1",
        "a b c",
        "numpy; python_version",
        "numpy; " + "(" * 1000,
        "numpy; " + "(" * 1000 + "os_name=='posix'" + ")" * 900,
        "numpy>=" + "1" * 5000,
        "numpy; nonsense == 'x'",
        "numpy; sys_platform ~= 'linux'",
        "-r " + "x" * 1500,
        "-r \0",
        "-r",
        "./local-folder",
        "\x00\x01",
        "numpy" + " " * 900 + "((",  # a pattern with several places for blanks would try them all
        "numpy" + "x" * 2000,
    ],
)
def test_what_cant_be_checked_is_named_apart(line: str, tmp_path: Path) -> None:
    """It doesn't keep a model from loading: nobody knows."""
    found = check(requiring(tmp_path, line))
    assert found.unmet == []
    assert len(found.unchecked) == 1


_ODD = st.sampled_from("numpy<>=!~;@[]()'\"., 1*+-#/\\\n\torandinos_e") | st.characters(
    codec="utf-8"
)


@given(st.text(_ODD))
def test_no_line_is_more_than_unreadable(text: str) -> None:
    """Whatever stands there, it is met, unmet or can't be checked."""
    with TemporaryDirectory() as folder:
        check(requiring(Path(folder), text))


def test_a_pre_release_is_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "version", lambda name: "3.0rc1+cu12")
    assert unmet(requiring(tmp_path, "a>2\nb\nc<3.1,>=3.0rc1\nd==3.0rc1")) == []
    assert unmet(requiring(tmp_path, "a>=3")) == ["a>=3, and 3.0rc1+cu12 is installed here"]


def test_what_is_installed_may_have_no_proper_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "version", lambda name: "unknown")
    assert check(requiring(tmp_path, "a\nb===unknown")) == ([], [])
    assert unmet(requiring(tmp_path, "a>=1")) == ["a>=1, and unknown is installed here"]


def test_files_that_name_files(tmp_path: Path) -> None:
    """Followed inside the folder, each once, however often and roundabout they are named."""
    requiring(tmp_path, "-r more/base.txt\n" * 500 + "-r more/../requirements.txt")
    artifact(tmp_path, {"more/base.txt": "nonsense-a\n" + "-r ../requirements.txt\n" * 500})
    assert check(tmp_path) == (["nonsense-a, which isn't installed here"], [])


def test_a_file_is_looked_at_once(tmp_path: Path) -> None:
    """However often it is asked for: each may ask for all of them."""
    text = "-r requirements.txt\n-r b.txt\n" * 3
    requiring(tmp_path, text)
    artifact(tmp_path, {"b.txt": text + "nonsense-a\n"})
    assert check(tmp_path) == (["nonsense-a, which isn't installed here"], [])


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    texts = (
        "#" * (1 << 20) + "yz",
        "numpy\n" * 2001,
        "numpy\n" * 1500 + "-r more.txt",
        ("numpy" * 30 + "\n") * 1000,
    )
    for text in texts:
        with pytest.raises(LoadError, match="too long"):
            unmet(requiring(artifact(tmp_path, {"more.txt": "numpy\n" * 1500}), text))


@pytest.mark.parametrize(
    "line",
    [
        "a" * 500,
        "numpy" + ",".join([">=1"] * 128),
        "numpy; " + " or ".join(["os_name=='x'"] * 30),
        "numpy; " + "(" * 60 + "os_name=='x'" + ")" * 60,
        "numpy[" + "a," * 200,
        "numpy" + " " * 400 + "=",
        "nonsense>=" + "1." * 200 + "x",
    ],
)
def test_a_full_file_takes_no_time(line: str, tmp_path: Path) -> None:
    """As many lines as there may be, whatever they are."""
    count = min(2000, (1 << 17) // len(line))
    begun = time.process_time()
    check(requiring(tmp_path, f"{line}\n" * count))
    assert time.process_time() - begun < 5


def test_what_is_told_of_a_line_is_short(tmp_path: Path) -> None:
    (told,) = unmet(requiring(tmp_path, "a" * 1500))
    assert told == f"{'a' * 100}..., which isn't installed here"


def test_nothing_is_imported_for_nothing(tmp_path: Path) -> None:
    """The parser's import is paid for by those that have requirements."""
    code = (
        "import sys; from pathlib import Path; from loaders.scripts.requirements import check;"
        f"check(Path({str(tmp_path)!r})); print('packaging' in sys.modules)"
    )
    for text, imports in (("", "False"), ("numpy", "True")):
        requiring(tmp_path, text)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == imports


def test_a_load_names_all_that_is_unmet_and_runs_nothing(tmp_path: Path) -> None:
    files = script("raise SystemExit", helper="")
    files["code/requirements.txt"] = "nonsense-a>=2\nnumpy==0.1\n"
    with pytest.raises(LoadError) as caught:
        loaded(tmp_path, files)
    assert str(caught.value).startswith(
        "code/requirements.txt needs nonsense-a>=2, which isn't installed here; "
        f"numpy==0.1, and {NUMPY} is installed here: nothing is installed at a load"
    )


def test_of_many_that_are_unmet_some_are_named(tmp_path: Path) -> None:
    files = script("")
    files["code/requirements.txt"] = "\n".join(f"nonsense-{n}" for n in range(1000))
    with pytest.raises(LoadError) as caught:
        loaded(tmp_path, files)
    assert "nonsense-9, which isn't installed here; and 990 more: nothing is" in str(caught.value)


def test_what_cant_be_checked_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = script("def predict_fn(data, model): return 1")
    files["code/requirements.txt"] = "-e .\nnumpy"
    assert ask(loaded(tmp_path, files)) == 1
    (record,) = [r for r in caplog.records if "requirements.txt" in r.message]
    assert vars(record)["lines"] == ["-e ."]
