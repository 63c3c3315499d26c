"""The data sets the demo's models are trained on: those scikit-learn ships, so nothing is fetched.

Two of them are also made into tables as people have them, with named columns, numbers beside
categories. Never imported by the demo's own process: only the training needs scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn import datasets

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What to learn: ``x`` is an array, or a frame where the columns have names."""

    x: Any
    y: Any


def load(name: str) -> Data:
    return _DATA[name]()


def _plain(loader: Callable[..., Any]) -> Data:
    bunch = loader()
    return Data(x=bunch.data, y=bunch.target)


def _named(loader: Callable[..., Any]) -> Data:
    """Classes by their names and columns by theirs."""
    bunch = loader(as_frame=True)
    return Data(x=bunch.data, y=np.asarray(bunch.target_names)[bunch.target])


def _species() -> Data:
    bunch = datasets.load_iris()
    return Data(x=bunch.data, y=bunch.target_names[bunch.target])


def _wine_list() -> Data:
    """Wines as a merchant describes them: two words and three measurements."""
    bunch = datasets.load_wine(as_frame=True)
    raw = bunch.data
    frame = raw[["alcohol", "malic_acid", "proline"]].assign(
        colour=_binned(raw["color_intensity"], (3.0, 5.5), ("pale", "ruby", "deep")),
        hue=_binned(raw["hue"], (0.8, 1.05), ("brown", "red", "purple")),
    )
    return Data(x=frame, y=bunch.target_names[bunch.target])


def _patients() -> Data:
    """Patients as a form has them: bands for age and weight, numbers for the laboratory."""
    bunch = datasets.load_diabetes(as_frame=True, scaled=False)
    raw = bunch.data
    frame = raw[["bp", "s3", "s5"]].assign(
        age=_binned(raw["age"], (35, 50, 65), ("young", "middle", "older", "old")),
        weight=_binned(raw["bmi"], (25, 30), ("normal", "over", "obese")),
    )
    return Data(x=frame, y=bunch.target.to_numpy())


def _binned(values: pd.Series[Any], edges: tuple[float, ...], words: tuple[str, ...]) -> Any:
    bounds = [-np.inf, *edges, np.inf]
    return pd.cut(values, bounds, labels=list(words)).astype(str)


_DATA: dict[str, Callable[[], Data]] = {
    "iris": _species,
    "iris numbers": lambda: _plain(datasets.load_iris),
    "wine": lambda: _plain(datasets.load_wine),
    "wine columns": lambda: _named(datasets.load_wine),
    "wine list": _wine_list,
    "breast cancer": lambda: _plain(datasets.load_breast_cancer),
    "diabetes": lambda: _plain(datasets.load_diabetes),
    "patients": _patients,
    "digits": lambda: _plain(datasets.load_digits),
}
