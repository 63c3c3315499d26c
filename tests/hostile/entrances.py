"""The places where bytes from outside come in, as functions that take them and nothing else.

Each returns what it made of them in a word, or raises one of ``OWN_ERRORS``. Anything else that is
raised is a fault of ours. A folder is where it may write, below ``inside`` only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders.base import InputError, LoadError, LoadOptions, Payload
from loaders.load import load_model
from loaders.manifest import parse_manifest
from mms import media
from mms.errors import MmsError
from mms.store.archive import unpack
from mms.store.limits import Limits
from mms.target import parse_target
from mms.worker.codecs import CODECS, decode
from tests.store.streams import BytesStream

OWN_ERRORS: Final = (LoadError, InputError, MmsError, MemoryError)
PROBE: Final = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
"""Rows of four numbers, which is what the models that are mutated take."""


def artifact(name: str, body: bytes, folder: Path) -> str:
    """From the store's bytes to a model, as the server does it."""
    inside = folder / "inside"
    inside.mkdir()
    unpack(BytesStream(body), name, inside, Limits())
    return type(load_model(inside, LoadOptions())).__name__


def pickled(body: bytes, folder: Path) -> str:
    """A model file, loaded, and asked for whatever it can do."""
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    (inside / "model.pkl").write_bytes(body)
    model = load_model(inside, LoadOptions())
    try:
        batch = model.prepare(Payload(form="instances", rows=PROBE))
        for method in model.methods:
            with np.errstate(all="ignore"):
                model.run(method, batch)
    except OWN_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 - a model may fail in its own way: 500 ModelError
        return f"failed: {type(error).__name__}"
    return "answered"


def archive(body: bytes, folder: Path) -> str:
    inside = folder / "inside"
    inside.mkdir()
    found = unpack(BytesStream(body), "m.tar.gz", inside, Limits(ratio_floor_bytes=1 << 20))
    for path in folder.rglob("*"):
        assert not path.is_symlink(), "a link was made"
        assert path == inside or path.is_relative_to(inside), "something was written outside"
    written = sum(path.stat().st_size for path in inside.rglob("*") if path.is_file())
    assert written == sum(found.files.values()), "sizes differ from what is there"
    return "unpacked"


def _body(content_type: str) -> Callable[[bytes, Path], str]:
    def enter(body: bytes, folder: Path) -> str:
        del folder
        return decode(body, media.Spec(content_type=content_type)).form

    return enter


def manifest(body: bytes, folder: Path) -> str:
    del folder
    parse_manifest(body)
    return "read"


def target(body: bytes, folder: Path) -> str:
    """A name that is let through stays below the prefix."""
    del folder
    name = str(parse_target(body))
    parts = name.rstrip("/").split("/")
    assert not {"", ".", ".."} & set(parts), "a name that leads away"
    return "parsed"


FUZZED: Final[dict[str, Callable[[bytes, Path], str]]] = {
    "unpickler": pickled,
    "archive": archive,
    **{kind: _body(kind) for kind in CODECS},
    "manifest": manifest,
    "target": target,
}


def outcome(enter: Callable[[], str]) -> dict[str, str]:
    """What became of it; ``fault`` names what should never happen."""
    try:
        return {"made": enter()}
    except OWN_ERRORS as error:
        return {"refused": str(getattr(error, "message", error)) or type(error).__name__}
    except BaseException as error:  # noqa: BLE001 - to find them is what this is for
        return {"fault": f"{type(error).__name__}: {str(error)[:500]}", "where": _where(error)}


def _where(error: BaseException) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else ""


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
