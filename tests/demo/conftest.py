from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mms.demo.prepare import Training, stamp

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models as `mms demo` makes them: takes seconds, so once."""
    folder = tmp_path_factory.mktemp("demo") / "models"
    with Training(folder, stamp()) as training:
        assert len(list(training.progress())) >= 13
    return folder
