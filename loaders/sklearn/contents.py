"""What a pickle holds where it isn't one fitted model, said so that its owner knows what to save.

Dicts and lists around models, classes, arrays, unfitted estimators: each is a ``LoadError`` that
calls it what it is. Looks, never unwraps: which of several things to serve is for the owner to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from loaders.base import LoadError
from loaders.rows.cells import shown

_SHOWN: Final = 6


def require_model(made: Any) -> None:
    """Raise LoadError unless this may be a fitted model."""
    if isinstance(made, type):
        raise LoadError(f"the file holds the class {made.__name__}, not a fitted model")
    if isinstance(made, dict):
        keys = _listed(made, len(made))
        raise LoadError(f"the file holds a dict with {keys}, not a model{_hint(made)}")
    if isinstance(made, (list, tuple, set, frozenset)):
        kinds = _listed((type(item).__name__ for item in made), len(made))
        raise LoadError(f"the file holds a {type(made).__name__} of {kinds}, not a model")
    _require_fitted(made)


def _listed(things: Iterable[Any], count: int) -> str:
    names = [shown(t) for t in islice(things, _SHOWN)]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return ", ".join(names) + more if names else "nothing in it"


def _hint(made: dict[Any, Any]) -> str:
    """The keys of what could be served by itself."""
    able = [k for k, v in made.items() if hasattr(v, "predict") or hasattr(v, "transform")]
    return f": save {_listed(able, len(able))} by itself" if able else ""


def _require_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise LoadError(f"the {type(estimator).__name__} isn't fitted") from None
    except TypeError:
        return  # not an estimator of scikit-learn's making: it may know better
