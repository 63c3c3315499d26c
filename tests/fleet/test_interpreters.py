"""What is found in a folder of environments, without running any of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms.fleet.interpreters import EnvironmentsError, scan
from tests.support.environments import OLD, OLD_VERSION, fake_environment, needs_old


def names(folder: Path) -> list[str]:
    return list(scan(folder))


def test_names_and_versions(tmp_path: Path) -> None:
    """Nothing is run: a python that would leave a mark leaves none."""
    mark = tmp_path / "mark"
    fake_environment(
        tmp_path / "envs" / "one", script=f"touch {mark}", scikit_learn="1.2.2", Foo_Bar="2.0+cpu"
    )
    found = scan(tmp_path / "envs")["one"]
    assert found.python == tmp_path / "envs" / "one" / "bin" / "python"
    assert found.versions == {
        "python": "3.11.7",
        "numpy": "1.26.4",
        "scikit-learn": "1.2.2",
        "foo-bar": "2.0+cpu",
    }
    assert not mark.exists()


@needs_old
def test_a_real_one(tmp_path: Path) -> None:
    """As uv makes it; a link to it will do."""
    (tmp_path / "old").symlink_to(OLD)
    versions = scan(tmp_path)["old"].versions
    assert versions["scikit-learn"] == OLD_VERSION
    assert versions["python"].startswith("3.11.")


def test_conda_has_no_pyvenv_cfg(tmp_path: Path) -> None:
    """The library's folder tells the minor version."""
    (fake_environment(tmp_path / "conda") / "pyvenv.cfg").unlink()
    assert scan(tmp_path)["conda"].versions["python"] == "3.11"


def test_what_cannot_be_used_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a line that says why; the others are there."""
    fake_environment(tmp_path / "good")
    fake_environment(tmp_path / "a b")
    fake_environment(tmp_path / "py38").joinpath("pyvenv.cfg").write_text("version = 3.8.20\n")
    no_numpy = fake_environment(tmp_path / "plain")
    next(no_numpy.glob("lib/*/*/numpy-*")).rmdir()
    (fake_environment(tmp_path / "headless") / "bin" / "python").unlink()
    (tmp_path / "empty").mkdir()
    dangling = fake_environment(tmp_path / "dangling") / "bin" / "python"
    dangling.unlink()
    dangling.symlink_to("/nowhere/python")
    (fake_environment(tmp_path / "two") / "lib" / "python3.12" / "site-packages").mkdir(
        parents=True
    )
    (tmp_path / "a file").touch()
    assert names(tmp_path) == ["good"]
    left_out = {
        vars(r)["environment"]: vars(r)["error"]
        for r in caplog.records
        if r.message == "environment left out"
    }
    assert set(left_out) == {"a b", "py38", "plain", "headless", "empty", "dangling", "two"}
    assert left_out["py38"] == "its Python is 3.8.20, and 3.9 is the oldest that will do"
    assert left_out["plain"] == "NumPy isn't installed in it"
    assert left_out["two"] == "it has 2 folders lib/python3.*/site-packages"


@pytest.mark.parametrize("where", [".", "one", "one/bin", "one/bin/python"])
def test_what_others_can_write_stops_the_start(tmp_path: Path, where: str) -> None:
    """It would be code of theirs that runs here."""
    fake_environment(tmp_path / "one")
    path = tmp_path / where
    path.chmod(0o775)
    with pytest.raises(EnvironmentsError, match="can be written by others") as caught:
        scan(tmp_path)
    assert str(caught.value).endswith(f"chmod go-w {path}")
    path.chmod(0o755)
    assert names(tmp_path) == ["one"]


def test_a_library_that_others_can_write(tmp_path: Path) -> None:
    library = next(fake_environment(tmp_path / "one").glob("lib/*/site-packages"))
    library.chmod(0o757)
    with pytest.raises(EnvironmentsError, match="site-packages can be written by others"):
        scan(tmp_path)


@pytest.mark.parametrize("where", ["", "..", "../..", "../../../pyvenv.cfg", "a.pth"])
def test_what_python_starts_with_and_others_can_write(tmp_path: Path, where: str) -> None:
    """Lines of a .pth run at every start, and pyvenv.cfg says where the standard library is."""
    library = next(fake_environment(tmp_path / "one").glob("lib/*/site-packages"))
    path = (library / where).resolve()
    path.touch()
    path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(EnvironmentsError, match=f"{path.name} can be written by others"):
        scan(tmp_path)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentsError, match="No such file or directory: set it to a folder"):
        scan(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentsError, match="Not a directory"):
        scan(tmp_path / "file")
