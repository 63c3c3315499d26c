"""Models with scripts of their own, as SageMaker's containers left them, behind one endpoint."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from sklearn.datasets import load_iris

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import constant, dumped, iris
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Response, Server

pytestmark = pytest.mark.e2e
MODEL_FN = (
    "import joblib, os\n"
    "def model_fn(model_dir): return joblib.load(os.path.join(model_dir, 'model.joblib'))\n"
)
ATTRIBUTES = "X_Amzn_SageMaker_Custom_Attributes"


@pytest.fixture(scope="module")
def home(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A server that trusts its prefix."""
    with world(s3_server, bucket, tmp_path_factory.mktemp("handlers"), MMS_TRUST="all") as made:
        yield made


def put(home: World, target: str, files: Mapping[str, Any]) -> str:
    """An archive of these files; its target."""
    content = {n: f.encode() if isinstance(f, str) else f for n, f in files.items()}
    home.put(target, tar_of(content))
    return target


def put_script(home: World, target: str, body: str, **others: str) -> str:
    files = {f"code/{name}.py": text for name, text in others.items()}
    text = f"def model_fn(model_dir): return None\n{body}"
    return put(home, target, {"code/inference.py": text, **files})


def invoke(home: World, target: str, body: object, **headers: Any) -> Response:
    """With the checks of ``World.ask`` on what goes wrong."""
    answer = home.server.invoke(target, body, **headers)
    if answer.status != 200:
        assert "Traceback" not in answer.body.decode()
        assert str(home.server.folder) not in answer.body.decode()
        assert "\n" not in answer.message
        assert "mms_code_" not in answer.message
    return answer


# --- Real artifacts ---


def test_awss_scikit_learn_example(home: World) -> None:
    """``model_fn`` alone: every form of the container's defaults, the numbers of ``predict``."""
    model, (rows, _) = iris(), load_iris(return_X_y=True)
    files = {
        "model.joblib": dumped(model),
        "code/inference.py": MODEL_FN,
        "code/requirements.txt": "scikit-learn\nnumpy>=1.20\n",
    }
    target = put(home, "iris.tar.gz", files)
    expected = model.predict(rows.astype(np.float32)).tolist()
    text = "\n".join(",".join(map(str, row)) for row in rows)
    npy = io.BytesIO()
    np.save(npy, rows)
    for body, kind in (
        (json.dumps(rows.tolist()).encode(), "application/json"),
        (text.encode(), "text/csv; charset=utf-8"),
        (npy.getvalue(), "application/x-npy"),
    ):
        answer = invoke(home, target, body, content_type=kind)
        assert answer.json() == expected
        assert answer.headers["content-type"] == "application/json"
    answer = invoke(home, target, [rows[0].tolist()], Accept="text/csv")
    assert (answer.body, answer.headers["content-type"]) == (b"0\n", "text/csv")
    answer = invoke(home, target, [rows[0].tolist()], Accept="application/x-npy")
    assert np.load(io.BytesIO(answer.body)).tolist() == [0]
    assert invoke(home, target, rows[0].tolist()).json() == [0]
    assert home.server.metric("mms_model_load_duration_seconds_count", format="script") >= 1


def test_four_functions_in_their_order(home: World) -> None:
    """What one hands over the next one gets, and the last one names the type."""
    body = (
        "import json\n"
        "def input_fn(data, content_type): return json.loads(data)['rows']\n"
        "def predict_fn(data, model): return model.predict(data)\n"
        "def output_fn(prediction, accept):\n"
        " return json.dumps({'score': list(prediction), 'accept': accept}), 'application/x-score'\n"
    )
    files = {"model.joblib": dumped(constant(4.5)), "code/inference.py": MODEL_FN + body}
    answer = invoke(home, put(home, "four.tar.gz", files), {"rows": [[1, 2, 3, 4]]})
    assert answer.headers["content-type"] == "application/x-score"
    assert answer.json() == {"score": [4.5], "accept": "application/json"}


def test_any_type_in_and_any_type_out(home: World) -> None:
    """The script's own business: an image goes in, another comes out, byte for byte."""
    body = "def transform_fn(model, data, kind, accept): return kind.encode() + data[::-1], accept"
    target = put_script(home, "image.tar.gz", body)
    pixels = bytes(range(256)) * 100
    answer = invoke(home, target, pixels, content_type="image/png", Accept="image/webp, */*;q=0.1")
    assert answer.body == b"image/png" + pixels[::-1]
    assert answer.headers["content-type"] == "image/webp"


def test_custom_attributes_reach_the_script(home: World) -> None:
    """Through the context; ``method=`` is a script's to understand as it likes."""
    body = "def predict_fn(data, model, context): return context.custom_attributes"
    target = put_script(home, "attributes.tar.gz", body)
    sent = {ATTRIBUTES: "trace=7,method=own"}
    assert invoke(home, target, [1], **sent).json() == "trace=7,method=own"


def test_models_without_scripts_are_as_strict_as_ever(home: World) -> None:
    """A script next door doesn't make them take any type."""
    home.put("plain.joblib", dumped(constant(1.0)))
    rows = [[1, 2, 3, 4]]
    assert invoke(home, "plain.joblib", rows).json() == [1.0]
    assert invoke(home, "plain.joblib", rows, content_type="image/png").status == 415
    assert invoke(home, "plain.joblib", rows, Accept="image/png").status == 406
    answer = invoke(home, "plain.joblib", rows, **{ATTRIBUTES: "method=own"})
    assert (answer.status, answer.code) == (400, "ValidationError")


# --- Many at once ---


def test_equal_names_of_many_models_are_kept_apart(home: World) -> None:
    """Sixteen clients, eight models with a helper of the same name, asked at the same time."""
    body = (
        "import helper, importlib\n"
        "def predict_fn(data, model):\n"
        " import late\n"
        " from pkg.leaf import NAME\n"
        " return [helper.NAME, late.NAME, NAME, importlib.import_module('late').NAME]"
    )
    targets = []
    for number in range(8):
        files = {
            "code/inference.py": f"def model_fn(d): pass\n{body}",
            "code/helper.py": f"NAME = {number}",
            "code/late.py": f"NAME = {number}",
            "code/pkg/leaf.py": "from .base import NAME",
            "code/pkg/base.py": f"NAME = {number}",
        }
        targets.append(put(home, f"same/{number}.tar.gz", files))

    def ask(number: int) -> tuple[int, Any]:
        return number % 8, invoke(home, targets[number % 8], [1]).json()

    with ThreadPoolExecutor(16) as pool:
        for number, answer in pool.map(ask, range(320)):
            assert answer == [number] * 4


# --- What goes wrong ---


def test_unmet_requirements_are_named_and_nothing_runs(home: World, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    files = {
        "code/inference.py": f"open({str(mark)!r}, 'w')",
        "code/requirements.txt": "nonsense-package>=2  # ours\nnumpy==0.1",
    }
    answer = invoke(home, put(home, "unmet.tar.gz", files), [1])
    assert (answer.status, answer.code) == (422, "ModelLoadError")
    assert "nonsense-package>=2, which isn't installed here" in answer.message
    assert "numpy==0.1, and" in answer.message
    assert not mark.exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('no weights\\nhere')", r"RuntimeError: no weights$"),
        ("import nonsense_module", r"No module named 'nonsense_module'"),
        ("import sys; sys.exit(1)", r"SystemExit: 1"),
        ("async def predict_fn(data, model): pass", r"predict_fn is async"),
        ("open(__file__ + '.none')", r"'code/inference\.py\.none'"),
    ],
)
def test_a_load_that_fails_says_why(home: World, body: str, says: str) -> None:
    """Type and first line."""
    answer = invoke(home, put_script(home, f"{abs(hash(body))}.tar.gz", body), [1])
    assert (answer.status, answer.code) == (422, "ModelLoadError")
    assert re.search(says, answer.message), answer.message


def test_exceptions_are_told_by_their_kind(home: World) -> None:
    """On the container's route and, as boto3 has them, on the runtime's."""
    body = (
        "class Bad(Exception):\n status_code, message = 400, 'no such row'\n"
        "def predict_fn(data, model):\n"
        " if data[0][0] == 1: raise Bad\n"
        " raise KeyError('lost')"
    )
    target = put_script(home, "raises.tar.gz", body)
    answer = invoke(home, target, [1])
    assert (answer.status, answer.code, answer.message) == (400, "ValidationError", "no such row")
    answer = invoke(home, target, [2])
    assert (answer.status, answer.code, answer.message) == (500, "ModelError", "KeyError: 'lost'")
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=home.server.url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        for sent, status, message in (
            ("[1]", 400, "no such row"),
            ("[2]", 500, "KeyError: 'lost'"),
        ):
            with pytest.raises(ClientError) as caught:
                client.invoke_endpoint(
                    EndpointName="any",
                    TargetModel=target,
                    Body=sent,
                    ContentType="application/json",
                )
            said: dict[str, Any] = dict(caught.value.response)
            assert said["Error"]["Code"] == "ModelError"
            assert said["ResponseMetadata"]["HTTPStatusCode"] == 424
            assert (said["OriginalStatusCode"], said["OriginalMessage"]) == (status, message)
    finally:
        client.close()


DEATHS = {
    "exit": "import os\nos._exit(3)",
    "segfault": "import ctypes, faulthandler\nfaulthandler.disable()\nctypes.string_at(0)",
    "loop": "while True: pass",
}


@pytest.mark.parametrize("kind", DEATHS)
def test_a_script_that_takes_its_process_down_costs_its_own_request(home: World, kind: str) -> None:
    """The caller is told, the neighbour answers on, and so does the model itself."""
    neighbour = put_script(home, "good.tar.gz", "def predict_fn(data, model): return 'good'")
    lines = "\n".join(f"  {line}" for line in DEATHS[kind].splitlines())
    body = f"def predict_fn(data, model):\n if data[0][0] == 13:\n{lines}\n return 'well'"
    target = put_script(home, f"{kind}.tar.gz", body)
    assert invoke(home, target, [1]).json() == "well"
    answer = invoke(home, target, [13])
    assert answer.status in {500, 504}, answer
    assert invoke(home, neighbour, [1]).json() == "good"
    assert invoke(home, target, [1]).json() == "well"


def test_a_script_that_meddles_with_the_process_hurts_nobody(home: World) -> None:
    """Prints, other folders, closed outputs, signals, paths: the next model doesn't notice."""
    body = (
        "import os, signal, sys\n"
        "print('hello'); sys.path.insert(0, '/nowhere'); os.chdir('/')\n"
        "try: signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "except ValueError: pass\n"
        "sys.modules['joblib_of_mine'] = sys\n"
        "def predict_fn(data, model):\n"
        " print('x' * 100000)\n os.write(1, b'y' * 1000)\n sys.stdout.write('z')\n return 1"
    )
    meddler = put_script(home, "meddler.tar.gz", body)
    assert invoke(home, meddler, [1]).json() == 1
    look = (
        "import os, sys\ndef predict_fn(d, m): return ['/nowhere' in sys.path, os.getcwd() == '/']"
    )
    for number in range(4):  # so that one of them is where the meddler is
        target = put_script(home, f"look{number}.tar.gz", look)
        assert invoke(home, target, [1]).json() == [False, False]
    assert invoke(home, meddler, [1]).json() == 1


def test_an_untrusted_prefix_runs_nothing(
    s3_server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    """422 that names the setting, and no effect."""
    mark = tmp_path / "ran"
    with world(s3_server, bucket, tmp_path / "untrusted") as strict:
        target = put_script(strict, "m.tar.gz", f"open({str(mark)!r}, 'w')")
        answer = invoke(strict, target, [1])
        assert (answer.status, answer.code) == (422, "ModelLoadError")
        assert "MMS_TRUST=all" in answer.message
        assert strict.server.invoke(target, b"x", content_type="image/png").status == 415
    assert not mark.exists()


# --- SageMaker's containers ---


def unpacked(folder: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


SHARED = (
    "import os, helper\n"
    "def model_fn(model_dir): return os.path.basename(model_dir)\n"
    "def predict_fn(data, model): return [model, helper.NAME]"
)


def test_the_multi_model_container(tmp_path: Path) -> None:
    """A model with code/ answers by it; one without by the script that all share."""
    base = tmp_path / "ml"
    unpacked(base / "models" / "code", {"serve.py": SHARED, "helper.py": "NAME = 'shared'"})
    own = "import helper\ndef model_fn(d): pass\ndef predict_fn(data, model): return helper.NAME"
    models = {
        "own": {"code/serve.py": own, "code/helper.py": "NAME = 'own'"},
        "none": {"weights.bin": "x"},
    }
    settings = {
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": "serve.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": str(base / "model" / "code"),  # what the SDK sets
        "MMS_TRUST": "all",
    }
    with Server(tmp_path / "server", settings) as server:
        for name, files in models.items():
            folder = unpacked(tmp_path / "platform" / name, files)
            before = sorted(folder.rglob("*"))
            body = json.dumps({"model_name": name, "url": str(folder)}).encode()
            answer = server.request("POST", "/models", body)
            assert answer.status == 200, answer
            assert sorted(folder.rglob("*")) == before
        sent = {"Content-Type": "application/json"}
        answers = {
            name: server.request("POST", f"/models/{name}/invoke", b"[1]", sent).json()
            for name in models
        }
        assert answers == {"own": "own", "none": ["none", "shared"]}


def test_the_single_model_container(tmp_path: Path) -> None:
    """Its own code/, found where the SDK says it is."""
    base = tmp_path / "ml"
    script = MODEL_FN + "def predict_fn(data, model): return [*model.predict(data), 'own']"
    files = {"model.joblib": dumped(constant(2.0)), "code/inference.py": script}
    unpacked(base / "model", files)
    settings = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": str(base / "model" / "code"),
        "MMS_TRUST": "all",
    }
    with Server(tmp_path / "server", settings) as server:
        assert server.invoke(None, [[1, 2, 3, 4]]).json() == [2.0, "own"]


# --- Files ---


def test_a_script_finds_its_files_as_long_as_it_is_loaded(
    s3_server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    """What it opens at a request is there, whatever the disk tier had to make room for since."""
    reads = (
        "import pathlib\n"
        "def model_fn(model_dir): return pathlib.Path(model_dir)\n"
        "def predict_fn(data, model): return [len((model / 'words.txt').read_text())]\n"
    )
    filler = b"\0" * 400_000
    settings = {"MMS_TRUST": "all", "MMS_DISK_BUDGET": "1MiB"}
    with world(s3_server, bucket, tmp_path, **settings) as home:
        put(home, "reader.tar.gz", {"code/inference.py": reads, "words.txt": "x" * 300_000})
        assert invoke(home, "reader.tar.gz", [[1]]).json() == [300_000]
        for i in range(4):  # more than the disk tier has room for
            put(home, f"filler{i}.tar.gz", {"model.joblib": dumped(iris()), "filler.bin": filler})
            assert home.ask(f"filler{i}.tar.gz", [[5.1, 3.5, 1.4, 0.2]]).status == 200
        assert invoke(home, "reader.tar.gz", [[1]]).json() == [300_000]
        assert "reader.tar.gz" in home.on_disk()
        home.unload("reader.tar.gz")
        for i in range(4, 8):
            put(home, f"filler{i}.tar.gz", {"model.joblib": dumped(iris()), "filler.bin": filler})
            assert home.ask(f"filler{i}.tar.gz", [[5.1, 3.5, 1.4, 0.2]]).status == 200
        assert "reader.tar.gz" not in home.on_disk()
