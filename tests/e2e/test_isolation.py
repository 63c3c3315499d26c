"""Mixed traffic: what is slow, cold or wrong costs nobody else an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from tests.support.gated_models import Gated
from tests.support.models import ROW, constant, constant_archive, dumped
from tests.support.s3 import Bucket
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e
COLD = 50


def test_a_hot_model_and_ping_answer_while_others_load_and_one_is_stuck(
    serve: Callable[..., Server], bucket: Bucket, bucket_prefix: str, tmp_path: Path
) -> None:
    """Fifty cold loads and a model that doesn't return fail no request of anybody else."""
    gate = tmp_path / "gate"
    bucket.put(f"{bucket_prefix}stuck.joblib", dumped(Gated(gate)))
    bucket.put(f"{bucket_prefix}hot.joblib", dumped(constant(-1.0)))
    names = {f"cold{number}.tar.gz": float(number) for number in range(COLD)}
    with ThreadPoolExecutor(COLD + 8) as pool:
        list(
            pool.map(
                lambda item: bucket.put(bucket_prefix + item[0], constant_archive(item[1])),
                names.items(),
            )
        )
        server = serve(MMS_TRUST="all")

        def hot() -> Response:
            return server.invoke("hot.joblib", {"instances": ROW})

        assert hot().status == 200
        home = server.invoke("stuck.joblib", {"instances": [[0]]}).json()
        stuck = pool.submit(server.invoke, "stuck.joblib", {"instances": [[1]]})
        until(Path(f"{gate}.running").exists, "the model is stuck")
        cold = {n: pool.submit(server.invoke, n, {"instances": ROW}) for n in names}
        rounds = 0
        while rounds < 20 or not all(future.done() for future in cold.values()):
            answer = hot()
            assert (answer.tier, answer.json()) == ("memory", {"predictions": [-1.0]})
            assert server.get("/ping").status == 200
            rounds += 1
        for name, future in cold.items():
            assert future.result().json() == {"predictions": [names[name]]}
        assert not stuck.done()
        gate.touch()
        assert stuck.result(60).json() == home


GOOD = [
    [[5.1, 3.5, 1.4, 0.2]],
    [[6.0, 2.9, 4.5, 1.5]],
    [[6.9, 3.1, 5.4, 2.1], [5.0, 3.4, 1.5, 0.2]],
]
BAD = [
    {"instances": [[1, 2, 3]]},
    {"instances": [["a", 2, 3, 4]]},
    {"instances": []},
    b"{",
    {"instances": [[1, 2, 3, 4], [1, 2]]},
]


def test_bad_rows_cost_their_neighbours_in_the_batch_nothing(
    serve: Callable[..., Server], bucket: Bucket, bucket_prefix: str
) -> None:
    """Every good request gets its own rows' answer, every bad one a 400, out of shared batches."""
    rng = np.random.default_rng(0)
    rows, labels = load_iris(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=60, random_state=0).fit(rows, labels)
    bucket.put(f"{bucket_prefix}forest.joblib", dumped(forest))
    server = serve()
    assert server.invoke("forest.joblib", {"instances": ROW}).status == 200
    kinds = [int(kind) for kind in rng.integers(0, len(GOOD) + len(BAD), 600)]

    def ask(kind: int) -> Response:
        body = {"instances": GOOD[kind]} if kind < len(GOOD) else BAD[kind - len(GOOD)]
        return server.invoke("forest.joblib", body)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, kinds))
    for kind, answer in zip(kinds, answers, strict=True):
        if kind < len(GOOD):
            wanted = forest.predict(np.array(GOOD[kind])).tolist()
            assert answer.json() == {"predictions": wanted}
        else:
            assert (answer.status, answer.code) == (400, "ValidationError")
    counted = "mms_batch_requests_sum"
    until(lambda: server.metric(counted) > len(kinds), "all batches are counted")
    assert server.metric(counted) > 1.5 * server.metric("mms_batch_requests_count")
