"""What scripts import of SageMaker's own toolkits, for where these aren't installed.

Many scripts take their codecs, types and errors from ``sagemaker_inference`` or
``sagemaker_containers``, whose real versions bring a whole web server. These stand-ins have what a
script may use while it serves, and behave alike, but that nothing is ever unpickled. An installed
toolkit is left alone.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

import numpy as np

from loaders.scripts import defaults
from loaders.scripts.doors import is_installed

ROOTS: Final = frozenset({"sagemaker_containers", "sagemaker_inference"})
_PROVIDING: Final = threading.Lock()
_FRAMEWORK: Final = "sagemaker_containers.beta.framework"


class Response:
    """``worker.Response``: a body, its type and a status."""

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,
        status: int = 200,
        headers: Any = None,
        mimetype: str | None = None,
    ) -> None:
        self.response = response
        self.mimetype = mimetype or accept
        self.status_code = status
        self.headers = headers or {}


class BaseInferenceToolkitError(Exception):
    """An error with a status of its own."""

    def __init__(self, status_code: int, message: str = "", phrase: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.phrase = phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    pass


class UnsupportedFormatError(Exception):
    """The toolkits' own name for a content type that nothing here reads or writes."""


class ClientError(Exception):
    pass


class DefaultInferenceHandler:
    """What a script's own handler class derives from."""

    def default_input_fn(self, input_data: Any, content_type: str, context: Any = None) -> Any:
        del context
        return decode(input_data, content_type)

    def default_output_fn(self, prediction: Any, accept: str, context: Any = None) -> Any:
        del context
        return encode(prediction, accept)


def decode(obj: Any, content_type: str) -> Any:
    """A body as an array, of the types that its text suggests."""
    if content_type == defaults.JSON:
        return np.array(json.loads(obj))
    if content_type == defaults.CSV:
        return np.genfromtxt(io.StringIO(obj), dtype=None, delimiter=",", encoding="utf-8")
    try:
        return defaults.decode(obj, content_type)
    except defaults.UnsupportedFormat as error:
        raise UnsupportedFormatError(str(error)) from None


def encode(array_like: Any, content_type: str) -> Any:
    try:
        return defaults.encode(array_like, content_type)
    except defaults.UnsupportedFormat as error:
        raise UnsupportedFormatError(str(error)) from None


def provide(root: str) -> None:
    """Stand in for a toolkit that isn't installed; all of it is there when this returns."""
    with _PROVIDING:  # else a second thread would find the first of its modules and no more
        if is_installed(root):
            return
        for name, members in _MODULES.items():
            if name.partition(".")[0] == root:
                _add(name, members)


def _add(name: str, members: dict[str, Any]) -> None:
    module = ModuleType(name)
    module.__path__ = []
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    vars(module).update(members)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)


_TYPES: Final = {
    "JSON": defaults.JSON,
    "CSV": defaults.CSV,
    "NPY": defaults.NPY,
    "NPZ": defaults.NPZ,
    "OCTET_STREAM": "application/octet-stream",
    "ANY": "*/*",
    "UTF8_TYPES": [defaults.JSON, defaults.CSV],
}
_ERRORS: Final = {
    "BaseInferenceToolkitError": BaseInferenceToolkitError,
    "GenericInferenceToolkitError": GenericInferenceToolkitError,
    "UnsupportedFormatError": UnsupportedFormatError,
    "ClientError": ClientError,
}
_MODULES: Final[dict[str, dict[str, Any]]] = {  # parents first
    "sagemaker_inference": {},
    "sagemaker_inference.content_types": _TYPES,
    "sagemaker_inference.decoder": {"decode": decode},
    "sagemaker_inference.encoder": {"encode": encode},
    "sagemaker_inference.errors": _ERRORS,
    "sagemaker_inference.default_inference_handler": {
        "DefaultInferenceHandler": DefaultInferenceHandler
    },
    "sagemaker_containers": {},
    "sagemaker_containers.beta": {},
    _FRAMEWORK: {},
    f"{_FRAMEWORK}.content_types": _TYPES,
    f"{_FRAMEWORK}.encoders": {"decode": decode, "encode": encode},
    f"{_FRAMEWORK}.errors": _ERRORS,
    f"{_FRAMEWORK}.worker": {"Response": Response},
    # What a script that trains as well imports beside them.
    f"{_FRAMEWORK}.env": {},
    f"{_FRAMEWORK}.modules": {},
    f"{_FRAMEWORK}.transformer": {},
}
