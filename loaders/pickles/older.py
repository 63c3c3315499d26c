"""What pickles of scikit-learn 1.0 to 1.8 bring up and those of the installed one don't.

A worker of another environment reads them with the libraries that wrote them, so their names have
to be on the list there; where the installed version hasn't got them, they can't be resolved. Found
as the list itself was: by fitting and tracing every estimator of each of these releases. The losses
of gradient boosting are made by Cython's generated functions, which trust the tuple they are given;
what is handed out for those checks it first.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from loaders.pickles.reconstruct import demand

NEW: Final = """\
sklearn._loss.glm_distribution: DistributionBoundary GammaDistribution PoissonDistribution
sklearn._loss.glm_distribution: TweedieDistribution
sklearn.compose._column_transformer: _RemainderColsList
sklearn.covariance._graph_lasso: _DictWithDeprecatedKeys
sklearn.ensemble._gb_losses: BinomialDeviance ExponentialLoss HuberLossFunction LeastAbsoluteError
sklearn.ensemble._gb_losses: LeastSquaresError MultinomialDeviance QuantileLossFunction
sklearn.ensemble._hist_gradient_boosting.loss: BinaryCrossEntropy CategoricalCrossEntropy
sklearn.ensemble._hist_gradient_boosting.loss: LeastAbsoluteDeviation LeastSquares Poisson
sklearn.linear_model._glm.link: IdentityLink LogLink
sklearn.metrics._dist_metrics: BrayCurtisDistance CanberraDistance ChebyshevDistance DiceDistance
sklearn.metrics._dist_metrics: EuclideanDistance HammingDistance HaversineDistance JaccardDistance
sklearn.metrics._dist_metrics: KulsinskiDistance MahalanobisDistance ManhattanDistance
sklearn.metrics._dist_metrics: MatchingDistance MinkowskiDistance RogersTanimotoDistance
sklearn.metrics._dist_metrics: RussellRaoDistance SEuclideanDistance SokalMichenerDistance
sklearn.metrics._dist_metrics: SokalSneathDistance WMinkowskiDistance WMinkowskiDistance32
sklearn.metrics._dist_metrics: WMinkowskiDistance64
sklearn.model_selection._classification_threshold: _CurveScorer
sklearn.utils: Bunch
"""
CALL: Final = """\
sklearn.linear_model._sgd_fast: Huber Log SquaredLoss
"""
VALUE: Final = """\
pandas.core.indexes.base: Index
pandas.core.indexes.range: RangeIndex
"""

_LOSSES: Final = "sklearn._loss._loss"
_NUMBERS: Final = {  # how many a loss keeps
    "CyAbsoluteError": 0,
    "CyExponentialLoss": 0,
    "CyHalfBinomialLoss": 0,
    "CyHalfGammaLoss": 0,
    "CyHalfMultinomialLoss": 0,
    "CyHalfPoissonLoss": 0,
    "CyHalfSquaredError": 0,
    "CyHalfTweedieLoss": 1,
    "CyHalfTweedieLossIdentity": 1,
    "CyHuberLoss": 1,
    "CyPinballLoss": 1,
}


def build_loss(loss: Any, state: Any) -> None:
    """Fill a loss with as many numbers as it keeps."""
    _check_numbers(type(loss).__name__, state)
    if hasattr(loss, "__setstate__"):  # else it has been made whole
        loss.__setstate__(state)


def _check_numbers(name: str, state: Any) -> None:
    demand(type(state) is tuple and len(state) == _NUMBERS.get(name, -1), "a loss")
    demand(all(type(number) is float for number in state), "a loss")


def _loss_maker(name: str) -> Callable[..., Any]:
    def remade(cls: Any, checksum: object, state: Any) -> Any:
        demand(isinstance(cls, type) and type(checksum) is int, "a loss")
        demand(cls.__name__ == name and cls.__module__ in {_LOSSES, "_loss"}, "a loss")
        if state is not None:
            _check_numbers(name, state)
        real = getattr(import_module(_LOSSES), remade.__name__)  # there: the class was found
        return real(cls, checksum, state)

    remade.__name__ = remade.__qualname__ = f"__pyx_unpickle_{name}"
    remade.__module__ = _LOSSES
    return remade


GUARDED: Final = {f"{_LOSSES}:__pyx_unpickle_{name}": _loss_maker(name) for name in _NUMBERS}
