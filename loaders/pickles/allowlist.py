"""Which names a pickle may bring up, and what for.

``allowlist_data`` holds the names, generated from the installed scikit-learn and committed, and
``older`` those of earlier releases; this module reads each into one table of exact
``"module:name"`` pairs. A class that is ``new`` may be made and filled, ``call`` means called with
arguments, ``value`` only mentioned.
"""

from __future__ import annotations

from typing import Final

from loaders.pickles import older
from loaders.pickles.allowlist_data import CALL, NEW, VALUE

_MOVED: Final = {  # where older versions of the libraries had the same things
    "_loss": "sklearn._loss._loss",  # what 1.5 and later call it in pickles
    "numpy.core.": "numpy._core.",
    "scipy.sparse.csr": "scipy.sparse._csr",
    "scipy.sparse.csc": "scipy.sparse._csc",
}


def _read(*tables: tuple[str, str]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for kind, table in tables:
        for line in table.splitlines():
            module, _, names = line.partition(":")
            for name in names.split():
                full = f"{module}:{name}"
                kinds[full] = f"{kinds[full]} {kind}" if full in kinds else kind
    return kinds


KINDS: Final = _read(("new", NEW), ("call", CALL), ("value", VALUE))
OLDER: Final = _read(("new", older.NEW), ("call", older.CALL), ("value", older.VALUE))


def current_name(module: str) -> str:
    """Today's name of a module that was renamed since a pickle was written."""
    for old, new in _MOVED.items():
        if module == old or (old.endswith(".") and module.startswith(old)):
            return new + module[len(old) :]
    return module
