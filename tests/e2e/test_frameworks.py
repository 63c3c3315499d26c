"""Models of other frameworks over HTTP: the framework's own numbers, and what goes wrong."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost as xgb
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from mms.demo.s3server import S3Server
from tests.e2e.conftest import Serve
from tests.e2e.world import World, world
from tests.support.s3 import Bucket, tar_of
from tests.support.server import until

pytestmark = pytest.mark.e2e

ROWS, LABELS = load_iris(return_X_y=True)
NAMES = ["a", "b", "c", "d"]
FRAME = pd.DataFrame(ROWS, columns=NAMES)
CSV_BODY = "\n".join(",".join(map(str, row)) for row in ROWS[:20].tolist()).encode()

BOOSTER = xgb.train(
    {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1},
    xgb.DMatrix(FRAME, LABELS),
    5,
)
LIGHT = lgb.train(
    {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1},
    lgb.Dataset(FRAME, LABELS),
    5,
)
CAT = cb.CatBoostRegressor(
    iterations=5, depth=3, verbose=0, allow_writing_files=False, thread_count=1
).fit(FRAME, LABELS)
FOREST = RandomForestClassifier(10, random_state=0).fit(FRAME, LABELS)


def _of_booster(frame: pd.DataFrame) -> Any:
    return BOOSTER.predict(xgb.DMatrix(frame))


EXPECTED: dict[str, tuple[str, Callable[[pd.DataFrame], Any]]] = {
    "m.ubj": ("XGBoost", _of_booster),
    "sagemaker.tar.gz": ("XGBoost", _of_booster),
    "m.txt": ("LightGBM", LIGHT.predict),
    "m.cbm": ("CatBoost", CAT.predict),
    "m.skops": ("skops", FOREST.predict),
}


def _supporting(kind: str, *media: str) -> pytest.MarkDecorator:
    """Every model, with marks for the matrix."""
    return pytest.mark.parametrize(
        "target",
        [
            pytest.param(
                target,
                marks=[
                    pytest.mark.supports(framework=framework, input=kind, format=name)
                    for name in media
                ],
            )
            for target, (framework, _) in EXPECTED.items()
        ],
    )


def _cbm(model: Any, folder: Path) -> bytes:
    model.save_model(str(folder / "own.cbm"))
    return (folder / "own.cbm").read_bytes()


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, bucket: Bucket
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("frameworks")
    with world(s3_server, bucket, folder) as made:
        made.put("m.ubj", bytes(BOOSTER.save_raw("ubj")))
        made.put("sagemaker.tar.gz", tar_of({"xgboost-model": pickle.dumps(BOOSTER)}))
        made.put("m.txt", LIGHT.model_to_string().encode())
        made.put("m.cbm", _cbm(CAT, folder))
        made.put("m.skops", skops.io.dumps(FOREST))
        yield made


@_supporting("dense numbers", "application/json", "text/csv")
def test_a_model_answers_with_the_frameworks_own_numbers(home: World, target: str) -> None:
    """Rows as arrays, bit for bit."""
    expected = np.asarray(EXPECTED[target][1](FRAME[:20]))
    got = home.ask(target, {"instances": ROWS[:20].tolist()}).json()["predictions"]
    assert np.array(got, expected.dtype).tobytes() == expected.tobytes()
    answer = home.server.invoke(target, CSV_BODY, content_type="text/csv")
    assert np.array(answer.json()["predictions"], expected.dtype).tobytes() == expected.tobytes()


@_supporting("dense numbers", "application/x-npy", "application/jsonlines")
def test_arrays_and_lines_are_taken_too(home: World, target: str) -> None:
    """And the answer comes in the same format, in the framework's own type."""
    expected = np.asarray(EXPECTED[target][1](FRAME[:20]))
    out = io.BytesIO()
    np.save(out, ROWS[:20])
    npy = "application/x-npy"
    answer = home.server.invoke(target, out.getvalue(), content_type=npy, Accept=npy)
    got = np.load(io.BytesIO(answer.body))
    assert (got.dtype, got.tobytes()) == (expected.dtype, expected.tobytes())
    lines = "\n".join(map(json.dumps, ROWS[:20].tolist())).encode()
    kind = "application/jsonlines"
    answer = home.server.invoke(target, lines, content_type=kind, Accept="application/json")
    assert np.array(answer.json()["predictions"], expected.dtype).tobytes() == expected.tobytes()


@_supporting("named columns", "application/json", "text/csv")
def test_columns_go_by_name(home: World, target: str) -> None:
    """In JSON, and in CSV with a header in any order."""
    expected = np.asarray(EXPECTED[target][1](FRAME[:20]))
    got = home.ask(target, {"instances": FRAME[:20].to_dict("records")}).json()["predictions"]
    assert np.array(got, expected.dtype).tobytes() == expected.tobytes()
    header = b"d,c,b,a\n"
    backwards = b"\n".join(b",".join(line.split(b",")[::-1]) for line in CSV_BODY.split(b"\n"))
    kind = "text/csv; header=present"
    answer = home.server.invoke(target, header + backwards, content_type=kind)
    assert np.array(answer.json()["predictions"], expected.dtype).tobytes() == expected.tobytes()


@pytest.mark.parametrize("target", EXPECTED)
def test_concurrent_requests_get_their_own_rows(home: World, target: str) -> None:
    """They may run together; whole numbers and broken ones too."""
    expected = np.asarray(EXPECTED[target][1](FRAME))

    def ask(i: int) -> bool:
        sent = [int(v) if v == int(v) else v for v in ROWS[i].tolist()]
        got = home.ask(target, [sent]).json()
        return np.array(got, expected.dtype).tobytes() == expected[i : i + 1].tobytes()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(len(ROWS))))


@pytest.mark.parametrize("target", ["m.ubj", "m.txt", "m.cbm"])
def test_a_missing_value_is_one(home: World, target: str) -> None:
    """``null`` and NaN, as the framework takes them."""
    frame = FRAME[:2].copy()
    frame.loc[:, "c"] = np.nan
    expected = np.asarray(EXPECTED[target][1](frame))
    for missing in (None, float("nan")):
        rows = [[*row[:2], missing, row[3]] for row in ROWS[:2].tolist()]
        got = home.ask(target, rows).json()
        assert np.array(got, expected.dtype).tobytes() == expected.tobytes()


CITIES = pd.DataFrame({
    "x": np.linspace(-1, 1, 60),
    "city": pd.Categorical(["Tokyo", "Berlin", "New York"] * 20),
})  # fmt: skip
HEIGHTS = CITIES["x"] + (CITIES["city"] == "Berlin")


def _with_categories(framework: str, folder: Path) -> tuple[str, bytes, Any]:
    """A model of a DataFrame with a column of texts: its name, its file, and its predictions."""
    if framework == "XGBoost":
        data = xgb.DMatrix(CITIES, HEIGHTS, enable_categorical=True)
        booster = xgb.train({"max_depth": 3, "nthread": 1}, data, 4)
        return "cities.ubj", bytes(booster.save_raw("ubj")), booster.predict(data)
    if framework == "LightGBM":
        settings = {"verbose": -1, "num_threads": 1, "min_data_per_group": 5}
        light = lgb.train(settings, lgb.Dataset(CITIES, HEIGHTS), 4)
        light.save_model(folder / "cities.txt")
        return "cities.txt", (folder / "cities.txt").read_bytes(), light.predict(CITIES)
    texts = CITIES.astype({"city": str})
    settings = {"iterations": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    cat = cb.CatBoostRegressor(**settings).fit(texts, HEIGHTS, cat_features=["city"])
    return "cities.cbm", _cbm(cat, folder), cat.predict(texts)


@pytest.mark.parametrize(
    "framework",
    [
        pytest.param(
            name,
            marks=[
                pytest.mark.supports(framework=name, input="categories", format="application/json"),
                pytest.mark.supports(framework=name, input="categories", format="text/csv"),
            ],
        )
        for name in ("XGBoost", "LightGBM", "CatBoost")
    ],
)
def test_categories_are_sent_as_they_are(home: World, framework: str, tmp_path: Path) -> None:
    """As texts, by position, by name and in CSV; the model knows their codes."""
    target, body, expected = _with_categories(framework, tmp_path)
    home.put(target, body)
    arrays: list[list[Any]] = CITIES.to_numpy(dtype=object).tolist()
    lines = "x,city\n" + "".join(f"{x!r},{city}\n" for x, city in arrays)
    answers = [
        home.ask(target, arrays).json(),
        home.ask(target, CITIES.astype({"city": str}).to_dict("records")).json(),
        home.server.invoke(target, lines.encode(), content_type="text/csv").json()["predictions"],
    ]
    for got in answers:
        assert np.array(got, expected.dtype).tobytes() == expected.tobytes()


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"{}")
        archive.writestr("big", bytes(100 << 20))
    return out.getvalue()


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "old": ("xgboost-model", b"binf" + bytes(range(256)), "old binary format"),
    "deep": ("m.json", b'{"learner":{' + b'"a":{' * 200_000, "corrupt or cut short"),
    "bomb": ("m.ubj", b"{L" + (7).to_bytes(8, "big") + b"learner{" + b"[$d#L\x7f", "corrupt"),
    "circle": (
        "m.txt",
        LIGHT.model_to_string().replace("left_child=", "left_child=-").encode(),
        "LightGBM model is corrupt",
    ),
    "truncated": ("m.cbm", b"CBM1\xff\xff\xff\x7f", "CatBoost model is corrupt"),
    "zip": ("m.skops", _zip_bomb(), "far more than its size"),
    "torch": ("m.pt", b"PK\x03\x04", "TorchScript isn't supported here: export the model to ONNX"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_is_refused_in_one_line(home: World, kind: str) -> None:
    """422, and no worker is lost."""
    name, body, says = BROKEN[kind]
    before = home.losses()
    home.put(f"{kind}.tar.gz", tar_of({name: body}))
    answer = home.ask(f"{kind}.tar.gz", [[1, 2, 3, 4]])
    assert (answer.status, answer.code) == (422, "ModelLoadError"), answer
    assert says in answer.message
    assert home.losses() == before


def test_a_model_that_crashes_its_framework_is_given_up(
    serve: Serve, bucket: Bucket, bucket_prefix: str, tmp_path: Path
) -> None:
    """A crafted tree that CatBoost follows out of its arrays costs two workers, not the server."""
    data = _cbm(CAT, tmp_path)
    depths = (5).to_bytes(4, "little") + (3).to_bytes(4, "little") * 5
    assert data.count(depths) == 1
    crafted = depths[:4] + b"\xff\xff\xff\x7f" + depths[8:]
    bucket.put(bucket_prefix + "crash.cbm", data.replace(depths, crafted))
    bucket.put(bucket_prefix + "m.cbm", data)
    server = serve()  # of its own: a worker that crashes writes a trace of its stack to the log
    answer = server.invoke("crash.cbm", [[1, 2, 3, 4]])
    assert (answer.status, answer.code) == (422, "ModelLoadError"), answer
    assert "killed the process that loaded it, twice" in answer.message
    until(lambda: len(server.events("worker ended")) == 2, "both ends are logged")
    until(lambda: len(server.events("worker ready")) == 4, "both are replaced")
    assert server.invoke("m.cbm", ROWS[:1].tolist()).json() == CAT.predict(ROWS[:1]).tolist()
