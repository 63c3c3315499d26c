"""The table of loaders: names to modules, imported when first needed.

The entry-point group ``mms.loaders`` adds to it (``name = "package.module:Class"``). Says which
loader knows a file, and what is missing where one can't be had. Holds no framework and no state but
the loaders that were imported.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from loaders.base import Loader, LoadError
from loaders.environment import installed

GROUP: Final = "mms.loaders"
TABLE: Final = {
    "onnx": "loaders.onnx.loader:OnnxLoader",
    "xgboost": "loaders.boosting.xgboost:XGBoostLoader",
    "lightgbm": "loaders.boosting.lightgbm:LightGbmLoader",
    "catboost": "loaders.boosting.catboost:CatBoostLoader",
    "skops": "loaders.sklearn.skops:SkopsLoader",
    "sklearn": "loaders.sklearn.joblib:JoblibLoader",
}
_ALIASES: Final = {"joblib": "sklearn", "pickle": "sklearn", "scikit-learn": "sklearn"}
_NEEDS: Final = {
    "onnx": "onnxruntime",
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "skops": "skops",
}
_EXTRAS: Final = frozenset({"xgboost", "lightgbm", "catboost", "skops"})

# The lightest first: a worker that is forked early is missing only what is rarely used.
_PRELOAD: Final = (
    "numpy",
    "onnxruntime",
    "loaders.onnx.loader",
    "joblib",
    "loaders.sklearn.joblib",
    # Every loader looks at every file: without its framework it is a small module.
    "loaders.sklearn.skops",
    "loaders.boosting.xgboost",
    "loaders.boosting.lightgbm",
    "loaders.boosting.catboost",
    "pandas",
    "sklearn",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.ensemble",
)


@cache
def _added() -> dict[str, str]:
    try:
        points: Any = entry_points(group=GROUP)
    except TypeError:  # Python 3.9 knows no arguments, and gives a dict
        everything: Any = entry_points()
        points = everything.get(GROUP, ())
    return {point.name: point.value for point in points}


def formats() -> tuple[str, ...]:
    """The names of all formats there are loaders for, installed or not."""
    return (*TABLE, *(name for name in sorted(_added()) if name not in TABLE))


def loader(name: str) -> Loader:
    """The loader of that name; raises LoadError saying whether it or its framework is missing."""
    name = _ALIASES.get(name, name)
    made = _made(name)
    if name in _NEEDS and not _is_installed(_NEEDS[name]):
        raise _missing(name, _NEEDS[name])
    return made


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it was tried, and blocked or broken
        return False


def _missing(name: str, module: str) -> LoadError:
    what = f"format {name} needs {module}, which isn't installed here"
    if name in _EXTRAS:  # of ours, unless this is another environment
        ours = installed("mms-server") is not None
        what += ": pip install " + (f"'mms-server[{name}]'" if ours else module)
    return LoadError(what, needs=module)


@cache
def _made(name: str) -> Loader:
    """The loader itself: our own can recognise files without their frameworks."""
    where = TABLE.get(name) or _added().get(name)
    if where is None:
        raise LoadError(f"there is no loader for format {name!r}, only for {', '.join(formats())}")
    module, _, attribute = where.partition(":")
    try:
        made: Loader = getattr(import_module(module), attribute)()
    except ImportError as error:
        what = error.name or module
        raise _missing(name, what) from error
    return made


def recognise(path: Path, head: bytes, wanted: str | None) -> str | None:
    """The format of a file by its content and name; only ``wanted`` where that is given."""
    for name in formats() if wanted is None else (_ALIASES.get(wanted, wanted),):
        try:
            candidate = _made(name)
        except LoadError:
            if wanted is not None:
                raise
            continue  # an added loader whose framework isn't here can't tell its files
        if candidate.recognises(path, head):
            return name
    return None


def preload_modules() -> list[str]:
    """What a zygote imports before it forks workers, the lightest loaders first.

    What every load asks of the installation is asked here, so that the workers inherit the answers.
    """
    formats()
    installed("scikit-learn")
    roots = ((module, module.partition(".")[0]) for module in _PRELOAD)
    return [module for module, root in roots if find_spec(root) is not None]
