"""The loader of scikit-learn models, saved with joblib or pickle.

By default through the restricted unpickler; joblib's own only where the operator trusts the prefix.
Recognises a file by its first bytes, so a tar archive or an error page named ``.joblib`` is told
from a model. Never writes, never maps memory.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from loaders import sniff
from loaders.base import LoadError, LoadOptions
from loaders.environment import demand_fit, installed
from loaders.faults import first_line
from loaders.pickles.unpickle import load_restricted
from loaders.pickles.vocabulary import printable
from loaders.sklearn.checks import check_built
from loaders.sklearn.contents import require_model
from loaders.sklearn.estimator import EstimatorModel

SUFFIXES: Final = (".joblib", ".pkl", ".pickle")


class JoblibLoader:
    """Loads ``.joblib``, ``.pkl`` and ``.pickle``."""

    format = "sklearn"

    def recognises(self, path: Path, head: bytes) -> bool:
        kind = sniff.compression(head)
        named = path.name.lower().endswith(SUFFIXES) or ".joblib." in path.name.lower()
        if kind == "lz4":
            return named  # load says what to do
        if kind is None:
            return sniff.is_pickle(head) or (named and sniff.may_be_old_pickle(head))
        inner = sniff.inner_head(head, kind)
        if not inner:  # bz2 gives nothing before its first block is whole
            return named
        return sniff.is_pickle(inner) or (named and sniff.may_be_old_pickle(inner))

    def load(self, path: Path, options: LoadOptions) -> EstimatorModel:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = _unpickled(path, options)
            except LoadError as error:
                raise _with_versions(error, _versions(made_by(caught))) from error
        saved_by = made_by(caught)
        if saved_by:  # only the load has shown it: it was out of sight before
            demand_fit({"scikit-learn": saved_by}, options.env_match, options.environments)
        versions = _versions(saved_by)
        try:
            require_model(made)
            return EstimatorModel(made, options, versions)
        except MemoryError:
            raise
        except LoadError as error:
            raise _with_versions(error, versions) from error
        except Exception as error:
            what = LoadError(f"the model can't be used: {first_line(error)}")
            raise _with_versions(what, versions) from error


def _unpickled(path: Path, options: LoadOptions) -> Any:
    if not options.trusted:
        estimator, built = load_restricted(path, options.allow_globals)
        check_built([estimator, *built])
        return estimator
    import joblib  # the full unpickler, only for trusted prefixes

    try:
        return joblib.load(path)
    except MemoryError:
        raise
    except Exception as error:
        raise LoadError(f"the model file can't be unpickled: {first_line(error)}") from error


def made_by(caught: list[warnings.WarningMessage]) -> str:
    """Which version made the model, where scikit-learn warned that it is another; else ""."""
    for warning in caught:
        saved_by = getattr(warning.message, "original_sklearn_version", None)
        if saved_by is not None:
            return str(saved_by)[:40]
    return ""


def _versions(saved_by: str) -> str:
    if not saved_by:
        return ""
    here = installed("scikit-learn")
    return f"scikit-learn {printable(saved_by)} made the model, {here} is installed here"


def _with_versions(error: LoadError, versions: str) -> LoadError:
    return LoadError(f"{error}; {versions}", needs=error.needs) if versions else error
