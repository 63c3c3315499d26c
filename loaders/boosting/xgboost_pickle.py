"""A pickled Booster's buffer, as SageMaker's XGBoost container and ``joblib.dump`` left them.

The restricted unpickler fills a mere holder in place of the Booster, so XGBoost isn't even
imported, and what was in the pickle is bytes. Those are checked like a file's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loaders.base import LoadError
from loaders.pickles.unpickle import load_restricted


class Holder:
    """Stands where a Booster stood."""

    handle: Any = None


def pickled_booster(path: Path) -> bytes:
    """The buffer of the Booster in a pickle; raises LoadError, MemoryError."""
    made, _ = load_restricted(path, stand_ins={"xgboost.core:Booster": Holder})
    if not isinstance(made, Holder):
        raise LoadError(
            f"the pickle holds a {type(made).__name__}, not an XGBoost Booster: save the model "
            "itself, with Booster.save_model('model.ubj')"
        )
    if not isinstance(made.handle, (bytes, bytearray)) or not made.handle:
        raise LoadError("the pickled Booster is empty: save it after training")
    return bytes(made.handle)
