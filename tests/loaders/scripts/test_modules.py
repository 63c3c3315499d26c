"""A model's own modules are its alone: by whatever way they are imported, and in any thread."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from loaders.scripts.doors import Door
from loaders.scripts.model import ScriptModel
from tests.loaders.scripts.artifacts import artifact, ask, loaded, script

MAX_THREADS = 16


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """``sys.path`` and the tables of modules are as before, but for what is the library's."""
    paths, names, main = list(sys.path), set(sys.modules), sys.modules["__main__"]
    yield
    gc.collect()
    assert sys.path == paths
    new = set(sys.modules) - names
    assert not {name for name in new if isinstance(sys.modules[name], Door)}
    assert not {name for name in new if name.startswith("mms_code_")}
    sys.modules["__main__"] = main


WAYS = {
    "early": "import helper\ndef predict_fn(data, model): return helper.NAME",
    "from": "from helper import NAME\ndef predict_fn(data, model): return NAME",
    "star": "from helper import *\ndef predict_fn(data, model): return NAME",
    "late": "def predict_fn(data, model):\n import helper\n return helper.NAME",
    "late-from": "def predict_fn(data, model):\n from helper import NAME as n\n return n",
    "relative": "from .helper import NAME\ndef predict_fn(data, model): return NAME",
    "by-name": (
        "import importlib\n"
        "def predict_fn(data, model): return importlib.import_module('helper').NAME"
    ),
    "dunder": "def predict_fn(data, model): return __import__('helper').NAME",
    "table": (
        "import sys, helper\ndef predict_fn(data, model): return sys.modules['helper'].NAME"
    ),
    "exec": (
        "def predict_fn(data, model):\n"
        " space = {}\n exec('import helper; name = helper.NAME', space)\n return space['name']"
    ),
    "thread": (
        "import threading\n"
        "def predict_fn(data, model):\n"
        " found = []\n"
        " def look():\n  import importlib\n  found.append(importlib.import_module('helper').NAME)\n"
        " thread = threading.Thread(target=look)\n thread.start()\n thread.join()\n"
        " return found[0]"
    ),
    "second-hand": (
        "def predict_fn(data, model):\n from other import name\n return name()"
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_model_finds_its_own_helper(way: str, tmp_path: Path) -> None:
    """Two models with a ``helper`` of other content, asked in turn, never mix them up."""
    other = "def name():\n import helper\n return helper.NAME"
    models = [
        loaded(tmp_path / name, script(WAYS[way], helper=f"NAME = {name!r}", other=other))
        for name in ("one", "two")
    ]
    for _ in range(2):
        assert [ask(model) for model in models] == ["one", "two"]
    assert not hasattr(sys.modules.get("helper", None), "NAME")


def test_models_find_their_own_modules_in_many_threads(tmp_path: Path) -> None:
    """Late imports of equal names, all at once, in as many models as threads."""
    body = (
        "def predict_fn(data, model):\n"
        " import importlib\n"
        " from pkg.deep import leaf\n"
        " import pkg.deep.leaf as again\n"
        " return [leaf.NAME, again.NAME, importlib.import_module('pkg.deep.leaf').NAME]"
    )
    models = []
    for number in range(MAX_THREADS):
        files = {
            **script(body),
            "code/pkg/__init__.py": "",
            "code/pkg/deep/base.py": f"NAME = {number}",
            "code/pkg/deep/leaf.py": "from .base import NAME\nfrom ..deep import base",
        }
        models.append(loaded(tmp_path / str(number), files))
    together = Barrier(MAX_THREADS)

    def run(number: int) -> list[object]:
        together.wait(30)
        return [ask(models[number]) for _ in range(20)]

    with ThreadPoolExecutor(MAX_THREADS) as pool:
        for number, answers in enumerate(pool.map(run, range(MAX_THREADS))):
            assert answers == [[number] * 3] * 20


@pytest.mark.parametrize("unpickler", ["pickle.load", "pickle._load", "joblib.load"])
@pytest.mark.parametrize("module", ["helper", "inference", "__main__"])
def test_pickles_find_the_models_own_classes(module: str, unpickler: str, tmp_path: Path) -> None:
    """A pickle names a class by the public name of its module; each model gets its own class."""
    pickled = f"\x80\x02c{module}\nKept\n)\x81.".encode("latin-1")
    where = "from helper import Kept" if module != "helper" else ""
    body = (
        f"import os, joblib, pickle\n{where}\n"
        "def model_fn(folder):\n"
        " with open(os.path.join(folder, 'm.pkl'), 'rb') as file:\n"
        f"  return {unpickler}(file)\n"
        "def predict_fn(data, model): return [model.name, type(model).__name__]"
    )
    for name in ("one", "two"):
        helper = f"class Kept:\n name = {name!r}"
        model = loaded(tmp_path / name, {**script(body, helper=helper), "m.pkl": pickled})
        assert ask(model) == [name, "Kept"]


def test_a_model_file_that_needs_the_code_loads_without_model_fn(tmp_path: Path) -> None:
    """Our own loader, too, finds the classes of the model that it loads."""
    helper = (
        "from sklearn.base import BaseEstimator\n"
        "class Kept(BaseEstimator):\n"
        " __sklearn_is_fitted__ = lambda self: True\n"
        " def predict(self, rows): return rows.sum(axis=1)"
    )
    files = {
        "code/inference.py": "",
        "code/helper.py": helper,
        "m.pkl": b"\x80\x02chelper\nKept\n)\x81.",
    }
    assert ask(loaded(tmp_path, files), "[[1, 2], [3, 4]]") == [3.0, 7.0]


def test_main_is_the_script_itself(tmp_path: Path) -> None:
    """The usual trick for pickles of a training script works, and for its own model only."""
    body = (
        "import sys, __main__\n"
        "class Kept: name = {name!r}\n"
        "class Other: name = {name!r}\n"
        "__main__.Kept = Kept\n"
        "setattr(sys.modules['__main__'], 'Other2', Other)\n"
        "def predict_fn(data, model):\n"
        " main = sys.modules['__main__']\n return [main.Kept.name, main.Other2.name]"
    )
    models = [loaded(tmp_path / name, script(body.format(name=name))) for name in ("one", "two")]
    assert [ask(model) for model in models] == [["one", "one"], ["two", "two"]]
    assert not hasattr(sys.modules["__main__"], "Other2")


def test_globals_are_each_models_own_even_with_equal_code(tmp_path: Path) -> None:
    """What a script keeps in a global of its module is never another model's."""
    body = (
        "import os\nkept = None\n"
        "def model_fn(folder):\n global kept\n kept = os.path.basename(folder)\n"
        "def predict_fn(data, model): return kept"
    )
    models = [loaded(tmp_path / name, script(body)) for name in ("one", "two")]
    assert [ask(model) for model in models] == ["one", "two"]


def test_a_module_is_imported_once_for_a_model(tmp_path: Path) -> None:
    """By its name, by a relative name and by two files: the same module."""
    body = (
        "import helper, other\nfrom . import helper as again\n"
        "def predict_fn(data, model): return [helper is again, helper is other.helper]"
    )
    assert ask(loaded(tmp_path, script(body, helper="", other="import helper"))) == [True, True]


def test_own_files_win_over_what_is_installed_but_not_for_others(tmp_path: Path) -> None:
    """``joblib.py`` in code/ is joblib to that code, and to nobody else."""
    body = "def predict_fn(data, model):\n import joblib\n return joblib.NAME"
    assert ask(loaded(tmp_path / "a", script(body, joblib="NAME = 'mine'"))) == "mine"
    assert not hasattr(importlib.import_module("joblib"), "NAME")
    body = "def predict_fn(data, model):\n import joblib\n return joblib.__name__"
    assert ask(loaded(tmp_path / "b", script(body))) == "joblib"


def test_own_files_never_win_over_the_standard_library(tmp_path: Path) -> None:
    """``json.py`` in code/ would break Python itself in the toolkit; here it is passed over."""
    body = "import json, os.path\ndef predict_fn(data, model): return json.loads('[1]')"
    assert ask(loaded(tmp_path, script(body, json="1/0", os="1/0"))) == [1]


def test_a_folder_of_data_is_no_module_where_one_is_installed(tmp_path: Path) -> None:
    """``code/sklearn/`` without an ``__init__`` doesn't hide the library."""
    body = "def predict_fn(data, model):\n import sklearn\n return hasattr(sklearn, '__version__')"
    files = {**script(body), "code/sklearn/extra.py": "", "code/sklearn/model.json": "{}"}
    assert ask(loaded(tmp_path, files)) is True


def test_lib_is_searched_too(tmp_path: Path) -> None:
    """``code/lib`` is where SageMaker's SDK puts dependencies; as a package it works as well."""
    body = (
        "import dep\nfrom lib import dep as other\n"
        "def predict_fn(data, model): return [dep.NAME, other.NAME]"
    )
    files = {**script(body), "code/lib/dep/__init__.py": "from .x import NAME",
             "code/lib/dep/x.py": "NAME = 5"}  # fmt: skip
    assert ask(loaded(tmp_path, files)) == [5, 5]


@pytest.mark.parametrize("change", ["insert(0, ", "append("])
def test_a_script_may_extend_its_own_path(change: str, tmp_path: Path) -> None:
    """Folders of the artifact that a script puts on sys.path are searched for it, not for all."""
    body = (
        "import os, sys\n"
        f"sys.path.{change}os.path.join(os.path.dirname(__file__), 'src'))\n"
        "sys.path.append('/opt/ml/model/code')\n"
        "import tool\n"
        "def predict_fn(data, model):\n import late_tool\n return [tool.NAME, late_tool.NAME]"
    )
    models = []
    for name in ("one", "two"):
        files = {**script(body), "code/src/tool.py": f"NAME = {name!r}"}
        files["code/src/late_tool.py"] = f"NAME = {name!r}"
        models.append(loaded(tmp_path / name, files))
    assert [ask(model) for model in models] == [["one", "one"], ["two", "two"]]
    assert not any(str(tmp_path) in path for path in sys.path)


def test_a_path_of_shared_code_is_for_all_who_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a request to another model sees it first, between two lines of a script that loads."""
    text = (
        "import os, sys\n"
        "sys.path.append(os.path.join(os.path.dirname(__file__), 'more'))\n"
        "sys.between()\n"
        "from tool import NAME\n"
        "def model_fn(d): return NAME\n"
        "def predict_fn(data, model):\n import json\n return model"
    )
    shared = artifact(tmp_path / "shared", {"inference.py": text, "more/tool.py": "NAME = 'tool'"})
    options = {"shared_code": str(shared)}
    monkeypatch.setattr(sys, "between", lambda: None, raising=False)
    first = loaded(tmp_path / "a", {"weights.bin": "x"}, **options)
    answers: list[object] = []
    monkeypatch.setattr(sys, "between", lambda: answers.append(ask(first)))
    second = loaded(tmp_path / "b", {"weights.bin": "x"}, **options)
    assert [ask(second), *answers] == ["tool", "tool"]


def test_what_a_model_has_not_is_missing_though_another_has_it(tmp_path: Path) -> None:
    """No model gets at a module of another one, by a statement or by a string."""
    first = loaded(tmp_path / "a", script("import helper", helper="NAME = 1"))
    body = "def predict_fn(data, model):\n import helper\n return helper.NAME"
    with pytest.raises(ModuleNotFoundError, match="No module named 'helper'"):
        ask(loaded(tmp_path / "b", script(body)))
    body = (
        "import importlib\n"
        "def predict_fn(data, model): return importlib.import_module('helper').NAME"
    )
    with pytest.raises(AttributeError, match="there is no module 'helper' here"):
        ask(loaded(tmp_path / "c", script(body)))
    with pytest.raises(LoadError, match="No module named 'helper'"):
        loaded(tmp_path / "d", script("import helper"))
    del first


def test_names_in_messages_are_the_scripts_own(tmp_path: Path) -> None:
    """No private name and no folder of the machine in what a caller reads."""
    for body in ("import pkg.none", "from pkg import none", "open(__file__ + 'x')"):
        with pytest.raises(LoadError) as caught:
            loaded(tmp_path, {**script(body), "code/pkg/__init__.py": ""})
        assert "mms_code_" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_late_imports_need_no_files(tmp_path: Path) -> None:
    """The artifact may have left the disk when a script imports a module of its own."""
    body = "def predict_fn(data, model):\n from late import NAME\n return NAME"
    model = loaded(tmp_path, script(body, late="NAME = 3"))
    for path in (tmp_path / "code").iterdir():
        path.unlink()
    assert ask(model) == 3


def test_nothing_is_written_and_no_compiled_file_is_believed(tmp_path: Path) -> None:
    """No ``__pycache__`` appears, and one that came along isn't read."""
    files = script("import helper\ndef predict_fn(d, m): return helper.NAME", helper="NAME = 1")
    stale = f"code/__pycache__/helper.{sys.implementation.cache_tag}.pyc"
    artifact(tmp_path, {**files, stale: b"\0" * 32})
    before = sorted(tmp_path.rglob("*"))
    model = load_model(tmp_path, LoadOptions(trusted=True))
    assert isinstance(model, ScriptModel)
    assert ask(model) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_classes_know_where_they_are_from(tmp_path: Path) -> None:
    """What looks a class's module up (dataclasses, pickle, copy) finds it."""
    helper = (
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "@dataclasses.dataclass\nclass Kept:\n x: typing.ClassVar[int] = 1\n y: int = 2"
    )
    body = (
        "import copy, pickle, typing\nfrom helper import Kept\n"
        "def predict_fn(data, model):\n"
        " again = pickle.loads(pickle.dumps(copy.deepcopy(Kept(5))))\n"
        " return [again == Kept(5), list(typing.get_type_hints(Kept))]"
    )
    assert ask(loaded(tmp_path, script(body, helper=helper))) == [True, ["x", "y"]]


def test_an_unloaded_models_modules_go(tmp_path: Path) -> None:
    """What a script kept in globals is freed with its model, whatever refers to what."""
    body = "class Kept: pass\nkept = [Kept()]\nkept.append(kept)\ndef predict_fn(d, m): return 1"
    model = loaded(tmp_path, script(body))
    name = next(n for n in sys.modules if n.startswith("mms_code_") and n.endswith(".inference"))
    kept = weakref.ref(vars(sys.modules[name])["Kept"])
    assert ask(model) == 1
    del model
    gc.collect()
    assert name not in sys.modules
    assert kept() is None


def test_many_models_that_came_and_went_leave_nothing(tmp_path: Path) -> None:
    """Neither names of their own, nor what Python keeps of folders and of doors that two need."""
    body = (
        "import helper, own_{n}\n"
        "try:\n import pkg.missing\nexcept ImportError: pass\n"
        "def predict_fn(data, model):\n import late_{n}, helper\n return {n}"
    )
    kept = loaded(tmp_path / "kept", script("import helper", helper=""))
    before = set(sys.modules), set(sys.path_importer_cache), len(sys.meta_path)
    for n in range(10):
        own = {f"own_{n}": "", f"late_{n}": "", "helper": ""}
        files = script(body.replace("{n}", str(n)), **own)
        assert ask(loaded(tmp_path / str(n), {**files, "code/pkg/__init__.py": ""})) == n
    gc.collect()
    assert (set(sys.modules), set(sys.path_importer_cache), len(sys.meta_path)) == before
    assert isinstance(sys.modules["helper"], Door)
    del kept


def test_a_failed_load_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ZeroDivisionError"):
        loaded(tmp_path, script("import helper\n1/0", helper=""))
    gc.collect()
    assert not [name for name in sys.modules if name.startswith("mms_code_")]


def test_an_endless_code_folder_is_refused(tmp_path: Path) -> None:
    """Sources are held in memory, so there is a bound."""
    files = {**script(""), **{f"code/m{n}.py": b"#" * (9 << 20) for n in range(4)}}
    with pytest.raises(LoadError, match="more than 32 MiB of Python"):
        loaded(tmp_path, files)
