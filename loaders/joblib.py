"""The loader of scikit-learn models, saved with joblib or pickle.

By default through the restricted unpickler; joblib's own only where the operator trusts the prefix.
Recognises a file by its first bytes, so a tar archive or an error page named ``.joblib`` is told
from a model. Never writes, never maps memory.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, Final

from loaders import sniff
from loaders.base import LoadError, LoadOptions
from loaders.checks import check_built
from loaders.contents import require_model
from loaders.estimator import EstimatorModel
from loaders.unpickle import first_line, load_restricted
from loaders.vocabulary import printable

SUFFIXES: Final = (".joblib", ".pkl", ".pickle")
_LOG: Final = logging.getLogger("mms.loaders")


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
                raise _with_versions(error, _other_version(caught)) from error
        versions = _other_version(caught)
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


def _other_version(caught: list[warnings.WarningMessage]) -> str:
    """Which version made the model, where scikit-learn warned that it is another; else ""."""
    for warning in caught:
        made_by = getattr(warning.message, "original_sklearn_version", None)
        if made_by is not None:
            made_by = printable(str(made_by)[:40])
            installed = getattr(warning.message, "current_sklearn_version", "?")
            fields = {"made_by": made_by, "installed": installed}
            _LOG.warning("model of another scikit-learn version", extra=fields)
            return f"scikit-learn {made_by} made the model, {installed} is installed here"
    return ""


def _with_versions(error: LoadError, versions: str) -> LoadError:
    return LoadError(f"{error}; {versions}") if versions else error
