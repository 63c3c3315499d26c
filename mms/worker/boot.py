"""Starts a zygote in an interpreter of another environment: that one's libraries, our own code.

Run by its path (``python -s boot.py ROOT LIBRARIES RUNTIME CONFIG``): the other interpreter knows
nothing of us. Only our packages are taken from ROOT, each on its own: what else is installed there
(a whole site-packages, when we are a wheel) stays out of reach. So it is with LIBRARIES, of which
only what our side needs and the environment lacks is taken. Imports nothing before that is
arranged.
"""

from __future__ import annotations

import sys

_HERE = __file__.rpartition("/")[0]
# The script's own folder: it would pass off our modules for others' ("codecs"). Left out by
# PYTHONSAFEPATH where that is known, from Python 3.11 on.
sys.path[:] = [folder for folder in sys.path if folder not in {"", _HERE}]

from importlib.util import find_spec, module_from_spec, spec_from_file_location  # noqa: E402 - see above
from pathlib import Path  # noqa: E402

BORROWED = ("packaging",)
"""Pure Python for whatever Python a worker may have."""


def adopt(name: str, root: str) -> None:
    """Make ``root``'s package of that name the one that is imported, and nothing else of it."""
    folder = Path(root, name)
    spec = spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def main(root: str, libraries: str, runtime: str, config: str) -> None:
    for name in sorted({"mms", "loaders", runtime.partition(".")[0]}):
        adopt(name, root)
    for name in BORROWED:
        if find_spec(name) is None:
            adopt(name, libraries)
    from mms.worker import zygote  # only now is there one

    zygote.main(config)


if __name__ == "__main__":
    main(*sys.argv[1:])
