"""The loader of scikit-learn models saved with skops: ``.skops``.

A file is a zip of a schema and arrays. What the schema may name is what a pickle may name
(``skops_audit``), not what skops would trust; the rest is scikit-learn's, so the model is checked
and served as an unpickled one is.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from loaders.base import LoadError, LoadOptions
from loaders.environment import OtherEnvironment, demand_fit
from loaders.faults import first_line
from loaders.sklearn.checks import check_built
from loaders.sklearn.contents import require_model
from loaders.sklearn.estimator import EstimatorModel
from loaders.sklearn.joblib import made_by
from loaders.sklearn.parts import parts
from loaders.sklearn.skops_zip import check_zip


class SkopsLoader:
    """Loads ``.skops``."""

    format = "skops"

    def recognises(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".skops"

    def load(self, path: Path, options: LoadOptions) -> EstimatorModel:
        check_zip(path)
        try:
            return _model(path, options)
        except (LoadError, OtherEnvironment, MemoryError):
            raise
        except zipfile.BadZipFile as error:
            raise LoadError("the skops file is corrupt or cut short") from error
        except Exception as error:
            raise LoadError(f"the skops file can't be loaded: {first_line(error)}") from error


def _model(path: Path, options: LoadOptions) -> EstimatorModel:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = _trusted(path) if options.trusted else _restricted(path, options.allow_globals)
    saved_by = made_by(caught)
    if saved_by:
        demand_fit({"scikit-learn": saved_by}, options.env_match, options.environments)
    require_model(estimator)
    model = EstimatorModel(estimator, options)
    model.format = "skops"
    return model


def _trusted(path: Path) -> Any:
    import skops.io  # by the first skops file

    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def _restricted(path: Path, extra: frozenset[str]) -> Any:
    from loaders.sklearn.skops_audit import construct  # brings skops, half a second the first time

    estimator = construct(path, extra)
    check_built(parts(estimator))
    return estimator
