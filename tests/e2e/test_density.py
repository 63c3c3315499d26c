"""Density: a thousand small models live in one small server."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.models import ROW, constant, dumped
from tests.support.processes import everything
from tests.support.server import Server, until

pytestmark = pytest.mark.e2e
COUNT = 1000
GROWTH = 120 << 20


def test_a_thousand_tiny_models_answer_from_one_server(tmp_path: Path) -> None:
    """Each its own constant, all from memory the second time, in 120 MB more than an idle one."""
    models = tmp_path / "models"
    models.mkdir()
    for number in range(COUNT):
        (models / f"m{number}.joblib").write_bytes(dumped(constant(float(number))))
    with (
        Server(tmp_path / "server", {"MMS_MODELS": str(models)}) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        until(lambda: server.metric("mms_workers") == 2, "both workers are ready")
        idle = everything(server)

        def ask(number: int) -> str:
            answer = server.invoke(f"m{number}.joblib", {"instances": ROW})
            assert answer.json() == {"predictions": [float(number)]}
            return answer.tier

        assert Counter(pool.map(ask, range(COUNT))) == {"store": COUNT}
        assert Counter(pool.map(ask, range(COUNT))) == {"memory": COUNT}
        assert everything(server) - idle <= GROWTH
        until(lambda: server.metric("mms_resident_models") == COUNT, "all are resident")
