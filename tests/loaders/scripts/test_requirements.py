"""What a script needs is read and held against what is here; nothing is installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from loaders.base import LoadError
from loaders.scripts.pep440 import meets, parse_version
from loaders.scripts.pep508 import holds, parse_requirement
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
        "numpy; " + "(" * 5000,
        "./local-folder",
        "\x00\x01",
    ],
)
def test_what_cant_be_checked_is_named_apart(line: str, tmp_path: Path) -> None:
    """It doesn't keep a model from loading: nobody knows."""
    found = check(requiring(tmp_path, line))
    assert found.unmet == []
    assert len(found.unchecked) == 1


def test_files_that_name_files(tmp_path: Path) -> None:
    """Followed inside the folder, but not round and round."""
    requiring(tmp_path, "-r more/base.txt\n")
    artifact(tmp_path, {"more/base.txt": "nonsense-a\n-r ../requirements.txt\n"})
    assert set(unmet(tmp_path)) == {"nonsense-a, which isn't installed here"}


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    for text in ("x" * (1 << 20) + "yz", "numpy\n" * 2001):
        with pytest.raises(LoadError, match="too long"):
            unmet(requiring(tmp_path, text))


def test_a_load_names_all_that_is_unmet_and_runs_nothing(tmp_path: Path) -> None:
    files = script("raise SystemExit", helper="")
    files["code/requirements.txt"] = "nonsense-a>=2\nnumpy==0.1\n"
    with pytest.raises(LoadError) as caught:
        loaded(tmp_path, files)
    assert str(caught.value).startswith(
        "code/requirements.txt needs nonsense-a>=2, which isn't installed here; "
        f"numpy==0.1, and {NUMPY} is installed here: nothing is installed at a load"
    )


def test_what_cant_be_checked_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = script("def predict_fn(data, model): return 1")
    files["code/requirements.txt"] = "-e .\nnumpy"
    assert ask(loaded(tmp_path, files)) == 1
    (record,) = [r for r in caplog.records if "requirements.txt" in r.message]
    assert vars(record)["lines"] == ["-e ."]


# --- Against packaging ---

_NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda n: ".".join(map(str, n)))
_TAILS = st.sampled_from(
    (
        "",
        "a1",
        "b2",
        "rc1",
        ".post1",
        ".dev1",
        "rc1.dev2",
        "a1.post2",
        "-1",
        "+local.1",
        "alpha",
        "c",
    )
)
_VERSIONS = st.builds(
    lambda epoch, numbers, tail: epoch + numbers + tail,
    st.sampled_from(("", "", "", "1!")),
    _NUMBERS,
    _TAILS,
)
_CLAUSES = st.builds(
    lambda operator, wanted, tail: operator + wanted + tail,
    st.sampled_from(("==", "!=", "<", ">", "<=", ">=", "~=", "===")),
    _VERSIONS,
    st.sampled_from(("", "", "", ".*")),
)


def ours(function: Callable[..., Any], *arguments: str) -> Any:
    """What it says, or "invalid"."""
    try:
        return function(*arguments)
    except ValueError:
        return "invalid"


@given(_VERSIONS, st.lists(_CLAUSES, min_size=1, max_size=2))
def test_versions_are_held_against_specifiers_as_packaging_does_it(
    version_here: str, clauses: list[str]
) -> None:
    """For every pair, also of those that are none."""
    text = ",".join(clauses)
    try:
        theirs: Any = SpecifierSet(text).contains(version_here, prereleases=True)
    except InvalidSpecifier:
        theirs = "invalid"
    assert ours(meets, version_here, text) == theirs


@given(st.text(alphabet="0123.-_abcdefv!+*rposdt ", max_size=12))
def test_no_text_but_a_version_is_one(text: str) -> None:
    try:
        Version(text)
        theirs = True
    except InvalidVersion:
        theirs = False
    assert (ours(parse_version, text) != "invalid") == theirs


@pytest.mark.parametrize(
    "marker",
    [
        "python_version >= '3.9'",
        "python_version < '3.10' or sys_platform == 'linux'",
        "'linux' in sys_platform and not_a_name == 'x'",
        "'lin' in sys_platform",
        "platform_system != 'Windows' and (os_name == 'posix' or os_name == 'nt')",
        "platform_machine not in 'x86_64 aarch64'",
        "implementation_name == 'cpython'",
        "python_full_version ~= '3.0'",
        "python_version in '2.7 3.9'",
        "os.name == 'posix'",
        "python_implementation == 'CPython'",
        "python_version",
        "python_version >= '3.9' and",
        "(python_version >= '3.9'",
        "sys_platform ~= 'linux'",
    ],
)
def test_markers_mean_what_packaging_says(marker: str) -> None:
    try:
        theirs: Any = Marker(marker).evaluate()
    except (InvalidMarker, UndefinedComparison):
        theirs = "invalid"
    assert ours(holds, marker) == theirs


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a-b.c_d",
        "a>=1,<2",
        "a (>=1)",
        "a[b,c]==1",
        "a@ https://x",
        "a ; os_name=='nt'",
        "-a",
        "a-",
        "a>=",
        "a[b",
        "a b",
        "1a",
        "a===any",
    ],
)
def test_lines_are_read_as_packaging_reads_them(line: str) -> None:
    theirs: Any = "invalid"
    with suppress(InvalidRequirement):
        read = Requirement(line)
        theirs = (read.name, read.specifier, read.url or "")
    found = ours(parse_requirement, line)
    if found != "invalid":
        found = (found.name, SpecifierSet(found.versions), found.url)
    assert found == theirs
