"""The loader of LightGBM models: the text that ``Booster.save_model`` writes, under any name.

Answers what ``Booster.predict`` gives, in one thread. The text is checked before LightGBM sees it
(``lightgbm_text``). Categories of a DataFrame are kept in the file and respected; one that training
didn't have is a missing value, as in LightGBM.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from loaders.base import LoadError, LoadOptions
from loaders.boosting.categories import Matrix, matrix_columns
from loaders.boosting.lightgbm_text import Header, check_text
from loaders.boosting.trees import BoostingModel, Ensemble, column_names, option, refuse_oversize
from loaders.faults import first_line

_OUTPUTS: Final = {
    "value": {},
    "raw_score": {"raw_score": True},
    "leaf": {"pred_leaf": True},
    "contribs": {"pred_contrib": True},
}


class LightGbmLoader:
    """Loads ``.txt``, ``.lgb`` and ``.model``."""

    format = "lightgbm"

    def recognises(self, path: Path, head: bytes) -> bool:
        del path  # the content decides: other texts are no models
        return head.startswith((b"tree\nversion=", b"tree\r\nversion="))

    def load(self, path: Path, options: LoadOptions) -> BoostingModel:
        refuse_oversize(path, "a LightGBM")
        header, text = check_text(path.read_bytes())
        try:
            booster = _booster(text)
        except MemoryError:
            raise
        except Exception as error:
            raise LoadError(f"LightGBM can't load the model: {first_line(error)}") from error
        return BoostingModel(_ensemble(booster, header, options), options)


class _Silence:
    """LightGBM would print its warnings; what stops it is raised anyway."""

    def info(self, _message: str) -> None: ...

    def warning(self, _message: str) -> None: ...


def _booster(text: str) -> Any:
    import lightgbm as lgb  # by the first LightGBM model

    lgb.register_logger(_Silence())
    return lgb.Booster(model_str=text)


def _ensemble(booster: Any, header: Header, options: LoadOptions) -> Ensemble:
    wanted = _OUTPUTS[option(options, "output", tuple(_OUTPUTS))]
    count = len(header.names)
    categories = _categories(header)
    columns = matrix_columns(column_names(header.names, count), count, categories)
    codes = {i: {c: code for code, c in enumerate(known)} for i, known in categories.items()}
    matrix = Matrix(columns, codes)
    return Ensemble(
        format="lightgbm",
        columns=columns,
        ready=matrix.ready,
        calls={"predict": lambda values: booster.predict(values, num_threads=1, **wanted)},
        cell=matrix.cell,
    )


def _categories(header: Header) -> dict[int, Sequence[Any]]:
    """The DataFrame's categories by feature."""
    kept = header.kept
    if not kept:
        return {}
    is_known = isinstance(kept, list) and all(isinstance(known, list) for known in kept)
    if not is_known or any(isinstance(c, (list, dict)) for known in kept for c in known):
        raise LoadError("the LightGBM model is corrupt: its categories can't be read")
    if len(kept) != len(header.categorical) or max(header.categorical) >= len(header.names):
        raise LoadError(
            "the LightGBM model keeps categories of a DataFrame, but doesn't say of which columns"
        )
    return dict(zip(sorted(header.categorical), kept))
