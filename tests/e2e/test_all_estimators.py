"""Every estimator of scikit-learn answers over HTTP as it does in process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from http.client import HTTPConnection
from operator import or_
from typing import Any

import numpy as np
import pytest
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.estimators import Case, as_json, cases
from tests.support.models import dumped
from tests.support.s3 import Bucket
from tests.support.server import HOST, Response

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),  # scikit-learn's advice on tiny data
    pytest.mark.timeout(300),  # all of scikit-learn, on a machine that may be busy
]

_NO_METHOD = "which has no predict or transform"
REFUSED = dict.fromkeys(
    (
        "AgglomerativeClustering",
        "ClassicalMDS",
        "DBSCAN",
        "EmpiricalCovariance",
        "GraphicalLasso",
        "GraphicalLassoCV",
        "HDBSCAN",
        "LedoitWolf",
        "LocalOutlierFactor",  # without novelty=True
        "MDS",
        "MinCovDet",
        "NearestNeighbors",
        "OAS",
        "OPTICS",
        "ShrunkCovariance",
        "SpectralBiclustering",
        "SpectralClustering",
        "SpectralCoclustering",
        "SpectralEmbedding",
        "TSNE",
    ),
    _NO_METHOD,
)
"""Classes that can't answer for new rows, and what a client is told."""

UNANSWERED = {"PatchExtractor": "not enough values to unpack"}
"""Classes that load but refuse rows of single values: this one takes images."""

BIT_EQUAL = (
    "sklearn.dummy",
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._hist_gradient_boosting",
    "sklearn.ensemble._iforest",
    "sklearn.tree",
)
"""Modules whose classes give a row in a batch the very bits that they give it alone."""
TOLERANCE = {"f4": (1e-5, 1e-6), "f8": (1e-9, 1e-12)}  # relative, absolute
"""What a batch may change in the answers of all others, by their type."""
SLICES = (slice(0, 1), slice(1, 5))


class Asker:
    """Clients with a connection each that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = threading.local()
        self._connections: list[HTTPConnection] = []
        self.pool = ThreadPoolExecutor(6)

    def ask(self, case: Case, method: str, body: bytes, kind: str = "application/json") -> Response:
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(HOST, self._port, timeout=60)
            self._connections.append(self._own.connection)
        headers = {
            "Content-Type": kind,
            "Accept": kind,
            "X-Amzn-SageMaker-Target-Model": case.name,
            "X-Amzn-SageMaker-Custom-Attributes": f"method={method}",
        }
        self._own.connection.request("POST", "/invocations", body, headers)
        got = self._own.connection.getresponse()
        return Response(got.status, {}, got.read())

    def close(self) -> None:
        self.pool.shutdown()
        for connection in self._connections:
            connection.close()


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world(s3_server, bucket, tmp_path_factory.mktemp("estimators")) as made:
        for case in cases():
            made.put(case.name, dumped(case.estimator))
        yield made


@pytest.fixture(scope="module")
def asker(made: World) -> Iterator[Asker]:
    asker = Asker(made.server.port)
    yield asker
    asker.close()


def _json(rows: Any) -> bytes:
    return json.dumps({"instances": as_json(rows)}).encode()


def _expected(case: Case, method: str, rows: Any) -> list[Any]:
    """The arrays of the answer in process: one, or one a target."""
    with threadpool_limits(1):
        answer = getattr(case.estimator, method)(rows)
    parts = answer if isinstance(answer, list) else [answer]
    return [part.toarray() if hasattr(part, "toarray") else np.asarray(part) for part in parts]


def _predictions(arrays: list[Any]) -> list[Any]:
    """These arrays as the body has them."""
    if len(arrays) == 1:
        return list(arrays[0].tolist())
    named = [[{f"output_{i}": value} for value in a.tolist()] for i, a in enumerate(arrays)]
    return [reduce(or_, row) for row in zip(*named, strict=True)]


def _served() -> list[Case]:
    return [c for c in cases() if c.kind not in REFUSED and c.kind not in UNANSWERED]


def test_what_is_not_served_is_known(made: World, asker: Asker) -> None:
    """Of all classes these and no others can't answer, each for its reason."""
    refused, unanswered = {}, {}
    for case in cases():
        answer = asker.ask(case, (case.methods or ["predict"])[0], _json(case.rows[:3]))
        if answer.status == 422:
            refused[case.kind] = answer.message
        elif answer.status == 400:
            unanswered[case.kind] = answer.message
        else:
            assert answer.status == 200, (case.name, answer.body)
            assert case.methods, case.name
    assert refused.keys() == REFUSED.keys()
    assert unanswered.keys() == UNANSWERED.keys()
    for kind, message in (refused | unanswered).items():
        assert (REFUSED | UNANSWERED)[kind] in message
    assert {kind for kind, _ in all_estimators()} == {case.kind for case in cases()}
    assert len({case.kind for case in _served()}) >= 190


@pytest.mark.supports(framework="scikit-learn", input="dense numbers", format="application/json")
def test_every_estimator_answers_alone_bit_for_bit(made: World, asker: Asker) -> None:
    """Every method of every estimator: the answer to a request is that of the call."""
    asked = 0
    for case in _served():
        for method in case.methods:
            answer = asker.ask(case, method, _json(case.rows[:3]))
            assert answer.status == 200, (case.name, method, answer.body)
            expected = _predictions(_expected(case, method, case.rows[:3]))
            assert _bits(answer.json()["predictions"]) == _bits(expected), (case.name, method)
            asked += 1
    assert asked > 390


def _bits(value: Any) -> str:
    return json.dumps(value)  # NaN is NaN, and -0.0 isn't 0.0


def test_every_estimator_answers_among_others_as_alone(made: World, asker: Asker) -> None:
    """In whatever batches come about, an answer is the request's own, within the tolerance."""
    for case in _served():
        asked = [(method, part) for method in case.methods for part in SLICES]
        waiting = [asker.pool.submit(asker.ask, case, m, _json(case.rows[p])) for m, p in asked]
        for (method, part), future in zip(asked, waiting, strict=True):
            answer = future.result()
            assert answer.status == 200, (case.name, method, answer.body)
            expected = _expected(case, method, case.rows[part])
            _assert_close(case, method, answer.json()["predictions"], expected)
    alone = made.server.metric("mms_batch_requests_bucket", le="1.0")
    assert made.server.metric("mms_batch_requests_count") > alone + 20


def _assert_close(case: Case, method: str, found: list[Any], expected: list[Any]) -> None:
    is_exact = type(case.estimator).__module__.startswith(BIT_EQUAL)
    for i, array in enumerate(expected):
        if is_exact or array.dtype.kind != "f":
            same = _bits(_predictions(expected)) == _bits(found)
            assert same, (case.name, method)
            continue
        got = [row[f"output_{i}"] for row in found] if len(expected) > 1 else found
        np.testing.assert_allclose(
            np.array(got, array.dtype),
            array,
            *TOLERANCE[array.dtype.str[1:]],
            err_msg=f"{case.name} {method}",
        )


@pytest.mark.supports(framework="scikit-learn", input="dense numbers", format="text/csv")
def test_the_same_numbers_in_csv(made: World, asker: Asker) -> None:
    """Every fifth estimator of numbers, read and written as CSV: the same bits."""
    numeric = [c for c in _served() if isinstance(c.rows, np.ndarray) and c.rows.ndim == 2]
    assert len(numeric) > 150
    for case in numeric[::5]:
        lines = "".join(",".join(map(repr, row)) + "\n" for row in case.rows[:3].tolist())
        for method in case.methods:
            answer = asker.ask(case, method, lines.encode(), "text/csv")
            assert answer.status == 200, (case.name, method, answer.body)
            arrays = _expected(case, method, case.rows[:3])
            table = np.hstack([a.reshape(len(a), -1).astype(object) for a in arrays])
            expected = "".join((",".join(map(str, row)) or '""') + "\n" for row in table.tolist())
            assert answer.body.decode() == expected, (case.name, method)
