"""The memory budget, by the kernel's count of the processes below the front."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mms.demo.s3server import S3Server
from tests.support.faults import FaultProxy
from tests.support.gated_models import Gated
from tests.support.models import ROW, dumped, weighty
from tests.support.processes import Peak, below_front
from tests.support.s3 import Bucket
from tests.support.server import Response, Server, until

pytestmark = pytest.mark.e2e
MB = 1 << 20
ROOM = 100 * MB
WEIGHT = 16 * MB
COUNT = 12  # about twice what fits
# What a load or a predict takes for the moment is known only when the PSS is read next, at most two
# seconds later: in each worker a model's size for a load's buffers, and half of one for predicts.
TOLERANCE = 3 * WEIGHT
PREFIX = "memory/"


def environ(s3_server: S3Server, endpoint_url: str) -> dict[str, str]:
    return {
        **s3_server.environ(),
        "MMS_MODELS": f"s3://{s3_server.bucket}/{PREFIX}",
        "MMS_S3_ENDPOINT_URL": endpoint_url,
        "MMS_TRUST": "all",
    }


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def names(bucket: Bucket) -> list[str]:
    """Models of one weight; the answer of ``wN.joblib`` is N."""
    found = [f"w{number}.joblib" for number in range(COUNT)]
    for number, name in enumerate(found):
        bucket.put(PREFIX + name, dumped(weighty(float(number), WEIGHT)))
    return found


@pytest.fixture(scope="module")
def budget(s3_server: S3Server, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> int:
    """What a server takes that has answered in both workers, and room for about five models."""
    settings = environ(s3_server, s3_server.endpoint_url)
    with Server(tmp_path_factory.mktemp("idle"), settings) as idle:
        until(lambda: idle.metric("mms_workers") == 2, "both workers are ready")
        for name in names[:4]:
            ask(idle, name)
        unload_all(idle)
        return below_front(idle) + ROOM


@pytest.fixture(scope="module")
def server(
    s3_server: S3Server,
    proxy: FaultProxy,
    budget: int,
    names: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    settings = environ(s3_server, proxy.endpoint_url) | {"MMS_MEMORY_BUDGET": str(budget)}
    with Server(tmp_path_factory.mktemp("small"), settings) as started:
        until(lambda: started.metric("mms_workers") == 2, "both workers are ready")
        yield started


def ask(server: Server, name: str) -> Response:
    """The model's own number, or the test fails."""
    answer = server.invoke(name, {"instances": ROW})
    assert answer.status == 200, (name, answer)
    assert answer.json() == {"predictions": [float(name[1 : -len(".joblib")])]}
    return answer


def unload_all(server: Server) -> None:
    for model in server.get("/models").json()["models"]:
        assert server.request("DELETE", f"/models/{model['modelName']}").status == 200


def test_more_models_than_fit_take_turns_within_the_budget(
    server: Server, names: list[str], budget: int
) -> None:
    """Every request is answered, most from disk, and the processes stay within the budget."""
    order = random.Random(1)
    tiers = {"store": 0, "disk": 0, "memory": 0}
    with Peak(lambda: below_front(server)) as peak:
        for _ in range(5):
            for name in order.sample(names, len(names)):
                tiers[ask(server, name).tier] += 1
    assert peak.readings > 20
    assert tiers["store"] == len(names)
    assert tiers["disk"] > 10
    assert peak.value <= budget + TOLERANCE
    until(lambda: server.metric("mms_evictions_total", tier="memory") > 10, "evictions count")


def test_the_one_used_between_all_others_stays(server: Server, names: list[str]) -> None:
    """The least recently used leaves first: a hot model never has to come back."""
    hot, *others = names
    ask(server, hot)
    for name in others * 2:
        ask(server, name)
        assert ask(server, hot).tier == "memory"


def test_many_at_once_are_all_answered(server: Server, names: list[str], budget: int) -> None:
    """Loads wait for each other's room; nobody is refused, and the budget holds."""
    order = random.Random(2)
    wanted = [name for _ in range(6) for name in order.sample(names, len(names))]
    with Peak(lambda: below_front(server)) as peak, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: ask(server, name), wanted))
    assert peak.value <= budget + TOLERANCE


def test_a_model_in_use_is_never_unloaded(
    server: Server, names: list[str], bucket: Bucket, tmp_path: Path
) -> None:
    """The oldest of all stays while it runs, though the others push each other out."""
    gate = tmp_path / "gate"
    bucket.put(f"{PREFIX}busy.joblib", dumped(Gated(gate, WEIGHT)))
    home = server.invoke("busy.joblib", {"instances": [[0]]}).json()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.invoke, "busy.joblib", {"instances": [[1]]})
        until(Path(f"{gate}.running").exists, "the model runs")
        tiers = [ask(server, name).tier for name in names * 2]
        assert tiers.count("memory") < len(names)
        assert not busy.done()
        gate.touch()
        assert busy.result(60).json() == home
    again = server.invoke("busy.joblib", {"instances": [[0]]})
    assert (again.tier, again.json()) == ("memory", home)


def test_what_can_never_fit_costs_no_warm_model(
    server: Server, names: list[str], bucket: Bucket, proxy: FaultProxy
) -> None:
    """507 for it, at once the second time; those in memory stay there."""
    # Twice the room: even a young server, with little beside its models yet, hasn't that much.
    bucket.put(f"{PREFIX}huge.joblib", dumped(weighty(1.0, 2 * ROOM)))
    warm = names[:2]
    for name in warm:
        ask(server, name)
    gets = []
    for _ in range(2):
        refused = server.invoke("huge.joblib", {"instances": ROW})
        assert (refused.status, refused.code) == (507, "InsufficientStorage")
        assert "MMS_MEMORY_BUDGET" in refused.message
        gets.append(proxy.count("GET", "huge.joblib"))
    assert gets[0] == gets[1] > 0
    assert [ask(server, name).tier for name in warm] == ["memory", "memory"]


def test_unloaded_memory_is_given_back(server: Server, names: list[str]) -> None:
    """The kernel has it again once DELETE is answered."""
    unload_all(server)
    empty = below_front(server)
    for name in names[:4]:
        ask(server, name)
    full = below_front(server)
    assert full - empty > 4 * WEIGHT
    unload_all(server)
    assert below_front(server) < empty + WEIGHT // 2
