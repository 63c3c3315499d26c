"""The ``context`` that a handler may ask for: what newer toolkits pass as the last argument.

The same names as there, as far as they mean something here: the model's folder, the request's
headers, and what the response is to say. Data only; one object for each request, one for a load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ATTRIBUTES: Final = "X-Amzn-SageMaker-Custom-Attributes"


class Context:
    """``headers`` are the request's: Content-Type, Accept and the custom attributes."""

    def __init__(self, model_dir: str, headers: Mapping[str, str]) -> None:
        self.model_dir = model_dir
        self.manifest: dict[str, Any] = {}  # a MAR file's, which artifacts here are not
        self.system_properties = {
            "model_dir": model_dir,
            "gpu_id": None,
            "batch_size": 1,
            "server_name": "MMS",
        }
        self.request_processor = [self]  # as the toolkits reach for the getters
        self._headers = {name.lower(): (name, value) for name, value in headers.items()}
        self.response_type: str | None = None
        self.response_status: tuple[int, str] = (200, "")

    @property
    def custom_attributes(self) -> str:
        return self.get_request_property(ATTRIBUTES) or ""

    @property
    def request_headers(self) -> dict[str, str]:
        return self.get_request_properties()

    def get_request_properties(self) -> dict[str, str]:
        return dict(self._headers.values())

    def get_request_property(self, key: str) -> str | None:
        found = self._headers.get(key.lower())
        return found[1] if found else None

    def get_all_request_header(self, idx: int = 0) -> dict[str, str]:
        del idx  # there is one request at a time
        return self.get_request_properties()

    def get_request_header(self, idx: int, key: str) -> str | None:
        del idx
        return self.get_request_property(key)

    def set_response_content_type(self, idx: int, value: str) -> None:
        del idx
        self.response_type = value

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        del idx
        self.response_status = (code, phrase)
