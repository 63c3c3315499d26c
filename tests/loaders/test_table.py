"""Which loaders there are, who may add to them, and what is said where one is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from loaders import table
from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from loaders.table import TABLE, formats, loader, preload_modules


class Shouting:
    """A loader of somebody else's."""

    format = "shout"

    def recognises(self, path: Path, head: bytes) -> bool:
        del path
        return head.startswith(b"LOUD")

    def load(self, path: Path, options: LoadOptions) -> object:
        raise LoadError(f"heard {path.name} {options.method}")


@pytest.fixture
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("shout", f"{__name__}:Shouting", table.GROUP),
            EntryPoint("absent", "no_such_framework.loader:Loader", table.GROUP),
        ]
    )
    monkeypatch.setattr(table, "entry_points", lambda group: points.select(group=group))
    table._added.cache_clear()
    table._made.cache_clear()


@pytest.mark.usefixtures("_added")
def test_others_may_add_loaders(tmp_path: Path) -> None:
    """An entry point is enough; one whose framework is missing doesn't stop the rest."""
    assert formats() == (*TABLE, "absent", "shout")
    (tmp_path / "x.loud").write_bytes(b"LOUD")
    with pytest.raises(LoadError, match=r"heard x\.loud"):
        load_model(tmp_path, LoadOptions())
    with pytest.raises(LoadError, match=r"needs no_such_framework, which isn't installed"):
        loader("absent")
    table._added.cache_clear()


def test_a_missing_framework_and_a_missing_loader_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is recognised all the same, so the error is about the framework."""
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "model.joblib")
    monkeypatch.setitem(table._NEEDS, "sklearn", "no_such_framework")
    with pytest.raises(LoadError, match="needs no_such_framework, which isn't installed here"):
        load_model(tmp_path, LoadOptions())


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost", "skops"])
def test_a_missing_extra_names_what_to_install(name: str) -> None:
    """In a process where the framework can't be imported; without it too, the file is known."""
    code = (
        f"import sys; sys.modules['{name}'] = None; from loaders import table; "
        f"print(table._made('{name}').format)\n"
        f"try: table.loader('{name}')\n"
        "except table.LoadError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needs = f"format {name} needs {name}, which isn't installed here"
    assert done.stdout == f"{name}\n{needs}: pip install 'mms-server[{name}]'\n"


def test_a_worker_has_imported_what_a_load_of_a_pickle_takes(tmp_path: Path) -> None:
    """Once the zygote has: nothing is imported and no package's metadata read for the first."""
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "model.joblib")
    code = (
        "import sys, pathlib, importlib, importlib.metadata as metadata\n"
        "from loaders import load, table\n"
        "from loaders.base import LoadOptions\n"
        "list(map(importlib.import_module, table.preload_modules()))\n"
        "metadata.version = metadata.distributions = None\n"
        "before = set(sys.modules)\n"
        "load.load_model(pathlib.Path(sys.argv[1]), LoadOptions())\n"
        "print(set(sys.modules) - before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_preload_list_holds_what_is_installed_and_imports() -> None:
    """The zygote imports these names before it forks; the table alone brings no framework."""
    names = preload_modules()
    assert {"numpy", "sklearn", "onnxruntime", "loaders.sklearn.joblib"} <= set(names)
    assert names.index("onnxruntime") < names.index("sklearn")
    code = "import sys, loaders.table; print({'sklearn','pandas','onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
