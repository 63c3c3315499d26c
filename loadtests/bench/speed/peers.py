"""Other model servers, where pip can install them: each in a virtual environment of its own.

They stand below ``.venv/peers`` and are kept, so that only the first run waits for them. One that
can't be had is left out with a line that says why; the models' libraries are the versions of ours.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from loadtests.bench.outcome import Tell
from loadtests.bench.processes import HOST, ROOT, free_port
from loadtests.bench.speed.asking import Request, agree
from loadtests.bench.speed.sides import Place, Side, model_environ, predictions
from loadtests.bench.speed.workloads import TITLES, Question, Workload

PEERS = ROOT / ".venv" / "peers"
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "joblib", "onnxruntime")
_INSTALL_S = 900.0


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    title: str
    packages: tuple[str, ...]
    arguments: Callable[[Place], list[str]]  # of its Python
    request: Callable[[Workload, Question], Request]
    serves: frozenset[str] = frozenset(TITLES)  # names of workloads

    @property
    def folder(self) -> Path:
        return PEERS / self.name

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def side(self) -> Side:
        return Side(
            name=self.name,
            title=self.title,
            command=lambda place: [self.python, *self.arguments(place)],
            environ=model_environ,
            request=self.request,
            serves=self.serves,
        )


def _mosec(place: Place) -> list[str]:
    listen = ["--address", HOST, "--port", str(place.port), "--path", str(place.folder / "ipc")]
    return ["-m", "loadtests.bench.servers.mosec_server", *listen, "--log-level", "warning"]


def _litserve(_: Place) -> list[str]:
    return ["-m", "loadtests.bench.servers.litserve_server"]


def _mlserver(place: Place) -> list[str]:
    """Its own runtime for scikit-learn; settings are files in the folder that it is started on."""
    model = {
        "name": "model",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.workload.path)},
        "max_batch_size": 64,
        "max_batch_time": 0.001,
    }
    listen = {"host": HOST, "http_port": place.port, "parallel_workers": 2, "debug": False}
    ports = {"grpc_port": free_port(), "metrics_port": free_port()}
    (place.folder / "model-settings.json").write_text(json.dumps(model))
    (place.folder / "settings.json").write_text(json.dumps(listen | ports))
    return ["-c", "from mlserver.cli.main import root; root()", "start", str(place.folder)]


def _v2_request(_: Workload, question: Question) -> Request:
    """The Open Inference Protocol: one tensor in, one out."""
    shape = [question.rows, len(question.instances[0])]
    tensor = {"name": "x", "shape": shape, "datatype": "FP64", "data": question.instances}

    def is_right(body: bytes) -> bool:
        outputs = json.loads(body).get("outputs") or [{}]
        return agree(outputs[0].get("data"), question.predictions)

    return Request(
        path="/v2/models/model/infer",
        body=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
        is_right=is_right,
    )


_PEERS = (
    Peer(
        "mosec",
        "mosec, batching, two workers",
        ("mosec",),
        _mosec,
        predictions("/inference"),
    ),
    Peer(
        "litserve",
        "LitServe, batching, two workers",
        ("litserve",),
        _litserve,
        predictions("/predict"),
    ),
    Peer(
        "mlserver",
        "MLServer, batching, two workers",
        ("mlserver", "mlserver-sklearn", "uvloop<0.22"),  # its workers want an older one
        _mlserver,
        _v2_request,
        frozenset({"sklearn", "forest"}),
    ),
)
_WITHOUT_ADAPTER = {
    "multi-model-server": "it takes models as archives with a handler, and Java 8: not written"
}


def install(tell: Tell) -> dict[str, Side]:
    """Those that are there or can be installed, by name."""
    found = {}
    for peer in _PEERS:
        if wrong := _install(peer, tell):
            tell(f"{peer.name} is left out: {wrong}")
        else:
            found[peer.name] = peer.side()
    for name, why in _WITHOUT_ADAPTER.items():
        tell(f"{name} is left out: {why}")
    return found


def _install(peer: Peer, tell: Tell) -> str:
    """An empty string once it is there, else why not."""
    done = peer.folder / ".installed"
    if done.exists():
        return ""
    tell(f"Installing {' '.join(peer.packages)} into {peer.folder.relative_to(ROOT)}")
    shutil.rmtree(peer.folder, ignore_errors=True)
    pins = [f"{name}=={metadata.version(name)}" for name in _LIBRARIES]
    pip = [peer.python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(peer.folder)],
        [*pip, *peer.packages, *pins],
    ):
        if wrong := _run(command):
            return wrong
    done.touch()
    return ""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith("ERROR")]
    return (failed or lines or [f"exit code {done.returncode}"])[-1]
