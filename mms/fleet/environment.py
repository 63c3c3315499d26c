"""What of the front's environment the zygote and its workers get to see: no secrets, few threads.

A worker runs models, some with code of their own, and anyone with its rights can read its
``/proc/PID/environ``. Pure: the environment is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_OURS_OR_AWS = ("AWS_", "MMS_")
_PYTHONS_OWN = ("PYTHON", "VIRTUAL_ENV", "CONDA_")
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|_KEYS?$", re.IGNORECASE
)
_USER_AND_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")

SETTINGS: Final = {
    # One core's worth of threads each: there is a worker for every core.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
    "JOBLIB_MULTIPROCESSING": "0",
    # ONNX Runtime 1.32 reports home otherwise, from a thread that would be there at the fork.
    "ORT_DISABLE_TELEMETRY": "1",
    # Python's objects are counted by mallinfo2, and given back by malloc_trim, only this way.
    "PYTHONMALLOC": "malloc",
    # malloc_trim can't cut the end off any arena but the first; threads' own kept tens of megabytes
    # of unloaded models each.
    "MALLOC_ARENA_MAX": "1",
}


def scrubbed(environ: Mapping[str, str], *, root: str | None = None) -> dict[str, str]:
    """A worker's environment; ``root`` goes first on the module path (a checkout that runs)."""
    kept = {n: v for n, v in environ.items() if not is_secret(n, v)}
    if root is not None:
        kept["PYTHONPATH"] = ":".join(filter(None, (root, kept.get("PYTHONPATH", ""))))
    return kept | SETTINGS


def foreign(environ: Mapping[str, str]) -> dict[str, str]:
    """The same for an interpreter of another environment: what is said to Python isn't for it."""
    kept = {n: v for n, v in environ.items() if not n.startswith(_PYTHONS_OWN)}
    return scrubbed(kept) | {"PYTHONSAFEPATH": "1"}


def is_secret(name: str, value: str) -> bool:
    """By its name, or by holding ``scheme://user:password@``."""
    upper = name.upper()
    return (
        upper.startswith(_OURS_OR_AWS)
        or _SECRET.search(upper) is not None
        or _USER_AND_PASSWORD.search(value) is not None
    )
