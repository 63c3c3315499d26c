"""A model that is answered by its own script: SageMaker's ``code/inference.py``.

``model_fn``, ``input_fn``, ``predict_fn`` and ``output_fn``, or ``transform_fn`` instead of the
last three; what a script leaves out is as in AWS's scikit-learn container (``defaults``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loaders.base import Batch, InputError, Outputs, Payload, Signature
from loaders.scripts.answers import written
from loaders.scripts.context import Context
from loaders.scripts.doors import at_work_for
from loaders.scripts.errors import Unreadable, Unwritable
from loaders.scripts.functions import Function
from loaders.scripts.modules import ModelCode
from loaders.scripts.place import Script


class ScriptModel:
    """A loaded model and the functions that answer for it. Used by one thread at a time."""

    format = "script"
    methods: tuple[str, ...] = ("predict",)
    batchable = False
    keeps_files = True  # a script may open files of its artifact at any request
    signature = Signature()

    def __init__(
        self, script: Script, code: ModelCode, functions: dict[str, Function], model: Any
    ) -> None:
        self._script = script
        self._code = code
        self._functions = functions
        self._model = model

    def prepare(self, payload: Payload) -> Batch:
        del payload
        raise InputError("this model is answered by its own script, not from rows")

    def run(self, method: str, batch: Batch) -> Outputs:
        del method, batch
        raise InputError("this model is answered by its own script, not from rows")

    def answer_raw(
        self, body: bytes | str, content_type: str, accept: str, headers: Mapping[str, str]
    ) -> tuple[bytes, str]:
        """The body and type of the answer to one request; ``body`` is str for JSON and CSV.

        Raises InputError, Unreadable, Unwritable, ScriptError, or whatever the script does.
        """
        context = Context(str(self._script.folder), headers)
        with at_work_for(self._code):
            if "transform_fn" in self._functions:
                result = self._functions["transform_fn"](
                    context, self._model, body, content_type, accept
                )
            else:
                result = self._steps(context, body, content_type, accept)
            return written(result, accept, context)

    def _steps(self, context: Context, body: bytes | str, content_type: str, accept: str) -> Any:
        functions = self._functions
        try:
            data = functions["input_fn"](context, body, content_type)
        except Exception as error:
            _raise_if_format(error, Unreadable)
            raise
        prediction = functions["predict_fn"](context, data, self._model)
        try:
            return functions["output_fn"](context, prediction, accept)
        except Exception as error:
            _raise_if_format(error, Unwritable)
            raise


def _raise_if_format(error: Exception, kind: type[Exception]) -> None:
    """By their names: the toolkits' own error of that name need not be installed here."""
    if type(error).__name__ in {"UnsupportedFormat", "UnsupportedFormatError"}:
        raise kind(" ".join(str(error).split())) from error
