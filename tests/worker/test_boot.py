"""A zygote in a foreign interpreter: its libraries, our own code, and nothing else of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import packaging.requirements
import pytest

import mms
from mms.errors import ModelLoadError
from mms.fleet.environment import foreign
from mms.fleet.fleet import Fleet
from tests.fleet.world import DEADLINE_S, Recorder, options
from tests.support.environments import OLD, OLD_VERSION, needs_old
from tests.support.server import ROOT

pytestmark = needs_old

LIBRARIES: Final = Path(packaging.__file__).parent.parent

PROBE = """
import json, sys
def main(config):
    found = {}
    for name in ("numpy", "sklearn", "orjson", "click", "uvicorn", "mms", "loaders", "codecs",
                 "packaging", "packaging.requirements"):
        try:
            __import__(name)
            found[name] = sys.modules[name].__file__
        except ImportError:
            found[name] = None
    found["path"] = sys.path
    print(json.dumps(found))
"""


def wheel(folder: Path) -> Path:
    """Our packages as a wheel puts them: in a site-packages with others', one of them poisoned."""
    site = folder / "site-packages"
    for package in ("mms", "loaders"):
        shutil.copytree(ROOT / package, site / package)
    (site / "mms" / "worker" / "zygote.py").write_text(PROBE)
    for name in ("numpy", "sklearn", "click"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    return site


def boot(python: Path, folder: Path, libraries: Path = LIBRARIES) -> dict[str, Any]:
    """What is importable from where, once such a wheel's boot is through."""
    site = wheel(folder)
    done = subprocess.run(
        [python, "-s", site / "mms/worker/boot.py", site, libraries, "mms.worker.runtime", "{}"],
        env=foreign({**os.environ, "PYTHONPATH": str(site)}),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_from_a_wheel_only_our_packages_are_taken(tmp_path: Path) -> None:
    """NumPy and the rest are the environment's own; what it hasn't got, it hasn't got."""
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong one')")
    found = boot(OLD / "bin" / "python", tmp_path)
    site = tmp_path / "site-packages"
    own = str(OLD / "lib")
    assert found["numpy"].startswith(own)
    assert found["sklearn"].startswith(own)
    assert found["orjson"] is found["click"] is found["uvicorn"] is None
    assert found["mms"] == str(site / "mms" / "__init__.py")
    assert found["loaders"] == str(site / "loaders" / "__init__.py")
    assert str(site) not in found["codecs"]
    ours = (str(tmp_path), str(LIBRARIES))
    assert not any(folder.startswith(ours) or not folder for folder in found["path"])


def test_packaging_is_lent_where_there_is_none(tmp_path: Path) -> None:
    """It alone of all that is installed beside it."""
    found = boot(OLD / "bin" / "python", tmp_path)
    assert found["packaging.requirements"] == packaging.requirements.__file__
    assert (LIBRARIES / "click").exists()
    assert found["click"] is None


def test_packaging_of_the_environment_is_preferred(tmp_path: Path) -> None:
    """Its own libraries may hold on to it."""
    env = tmp_path / "env"
    subprocess.run([OLD / "bin" / "python", "-m", "venv", "--without-pip", env], check=True)
    (site,) = env.glob("lib/python*/site-packages")
    own = site / "packaging"
    own.mkdir()
    (own / "__init__.py").touch()
    found = boot(env / "bin" / "python", tmp_path)
    assert found["packaging"] == str(own / "__init__.py")
    assert found["packaging.requirements"] is None


@asynccontextmanager
async def old_fleet(**changes: object) -> AsyncIterator[Fleet]:
    """Workers in the interpreter of the old scikit-learn."""
    python = OLD / "bin" / "python"
    made = options(python=python, environment="old", **changes)
    fleet = Fleet(workers=1, options=made, listener=Recorder())
    await fleet.start()
    try:
        await fleet.wait_ready(DEADLINE_S)
        yield fleet
    finally:
        await fleet.aclose()


async def test_a_worker_runs_there_with_what_is_there(tmp_path: Path) -> None:
    """The standard library, NumPy and the framework are enough for it; it loads a model."""
    save = (
        "import pickle, sys; from sklearn.linear_model import LinearRegression;"
        "pickle.dump(LinearRegression().fit([[0.], [1.]], [0., 1.]), open(sys.argv[1], 'wb'))"
    )
    (tmp_path / "m").mkdir()
    python, path = OLD / "bin" / "python", tmp_path / "m" / "m.pkl"
    subprocess.run([python, "-c", save, path], check=True)  # noqa: ASYNC221 - nothing else to do
    async with old_fleet(runtime="mms.worker.runtime") as fleet:
        [worker] = fleet.workers
        environ = Path(f"/proc/{fleet.zygote_pid}/environ").read_bytes()  # noqa: ASYNC240
        assert b"PYTHONPATH" not in environ
        assert b"PYTHONMALLOC=malloc\0" in environ
        loaded = await worker.load(1, tmp_path / "m", {"env_match": "exact", "environments": {}})
        assert loaded.format == "sklearn"
        maps = Path(f"/proc/{worker.pid}/maps").read_text()  # noqa: ASYNC240
        assert str(OLD.resolve() / "lib") in maps
        assert str(Path(sys.prefix, "lib")) not in maps


async def test_a_script_is_held_against_what_is_there(tmp_path: Path) -> None:
    """Its requirements are read by a library that the environment hasn't got."""
    assert not list(OLD.glob("lib/python*/site-packages/packaging"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").touch()
    (tmp_path / "code" / "requirements.txt").write_text("numpy>=2; python_version > '3'\npandas<3")
    async with old_fleet(runtime="mms.worker.runtime") as fleet:
        [worker] = fleet.workers
        with pytest.raises(
            ModelLoadError, match=r"needs numpy>=2, and 1\.26\.4 is installed here:"
        ):
            await worker.load(1, tmp_path, {"trusted": True, "environments": {}})


async def test_a_framework_that_is_missing_there_is_to_be_installed_there(tmp_path: Path) -> None:
    """By its own name: nothing of ours belongs into that environment."""
    version = {"content": json.dumps(OLD_VERSION)}
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps({"_sklearn_version": version}))
    async with old_fleet(runtime="mms.worker.runtime") as fleet:
        [worker] = fleet.workers
        with pytest.raises(ModelLoadError, match=r"skops, which isn't installed.*install skops$"):
            await worker.load(1, tmp_path, {"env_match": "exact", "environments": {}})


def test_the_versions_agree() -> None:
    """The environment is the one that the tests' pins describe."""
    pins = (ROOT / "tests" / "support" / "envs" / f"{OLD.name}.txt").read_text().splitlines()
    assert f"scikit-learn=={OLD_VERSION}" in pins
    assert Path(mms.__file__).is_relative_to(ROOT)
