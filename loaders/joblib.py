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
from loaders.estimator import EstimatorModel
from loaders.unpickle import first_line, load_restricted

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
            estimator = _unpickled(path, options)
        _report_versions(caught)
        if isinstance(estimator, type):
            raise LoadError(f"the file holds the class {estimator.__name__}, not a fitted model")
        try:
            _require_fitted(estimator)
            return EstimatorModel(estimator, options)
        except (LoadError, MemoryError):
            raise
        except Exception as error:
            raise LoadError(f"the model can't be used: {first_line(error)}") from error


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


def _report_versions(caught: list[warnings.WarningMessage]) -> None:
    """One line where scikit-learn would warn once an estimator."""
    for warning in caught:
        made_by = getattr(warning.message, "original_sklearn_version", None)
        if made_by is not None:
            installed = getattr(warning.message, "current_sklearn_version", "?")
            fields = {"made_by": str(made_by)[:40], "installed": installed}
            _LOG.warning("model of another scikit-learn version", extra=fields)
            return


def _require_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise LoadError(f"the {type(estimator).__name__} isn't fitted") from None
    except TypeError:
        return  # not an estimator of scikit-learn's making: it may know better
