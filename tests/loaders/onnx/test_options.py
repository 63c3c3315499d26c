"""A manifest's options choose providers, threads and optimisation, within bounds."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from loaders.onnx import options as onnx_options
from loaders.onnx import session as onnx_session
from loaders.onnx.loader import OnnxLoader, OnnxModel
from loaders.onnx.options import CPU
from loaders.onnx.session import ThreadShare
from tests.loaders.support import rows
from tests.support.onnx_models import F, constant, identity, model, node

CORES = len(os.sched_getaffinity(0))
CUDA = "CUDAExecutionProvider"


def _load(path: Path, content: bytes = b"", *, trusted: bool = False, **options: Any) -> OnnxModel:
    (path / "m.onnx").write_bytes(content or identity(F, ["N"]))
    return OnnxLoader().load(path / "m.onnx", LoadOptions(trusted=trusted, options=options))


def _answer(loaded: OnnxModel) -> Any:
    return loaded.run("predict", loaded.prepare(rows(1, 2))).arrays["y"].tolist()


def _providers(loaded: OnnxModel) -> list[str]:
    found: list[str] = loaded._session.get_providers()
    return found


@pytest.mark.parametrize("providers", [None, [], ["CPUExecutionProvider"]])
def test_the_cpu_it_is_unless_asked(
    providers: list[str] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Never what else the build has, which may send data away; and nothing is logged."""
    loaded = _load(tmp_path, providers=providers)
    assert _providers(loaded) == ["CPUExecutionProvider"]
    assert not caplog.records


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="CUDA is here")
def test_a_provider_that_isnt_here_falls_back_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The model serves from the CPU; the log names what is missing, the runtime says nothing."""
    wanted = [CUDA, ["TensorrtExecutionProvider", {"device_id": 0}], "CPUExecutionProvider"]
    loaded = _load(tmp_path, providers=wanted)
    assert _answer(loaded) == [1, 2]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mms.loaders", logging.WARNING)
    assert record.getMessage() == "a provider isn't available, the model runs without it"
    assert vars(record)["missing"] == f"{CUDA}, TensorrtExecutionProvider"
    assert vars(record)["providers"] == "CPUExecutionProvider"
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="CUDA is here")
def test_a_provider_that_cant_start_falls_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the build only says that it has it, as one does whose graphics card is missing."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    assert _answer(_load(tmp_path, providers=[CUDA])) == [1, 2]
    assert [vars(record)["missing"] for record in caplog.records] == [CUDA]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"providers": ["Cuda"]}, "there is no 'Cuda', only CPUExecutionProvider"),
        ({"providers": ["AzureExecutionProvider"]}, "there is no 'AzureExecutionProvider', only"),
        ({"providers": CUDA}, "must be an array of names"),
        ({"providers": [3]}, "must hold names or"),
        ({"providers": [[CUDA]]}, "must hold names or"),
        ({"providers": [[CUDA, "fast"]]}, "must hold names or"),
        ({"providers": [[CUDA, {"device_id": [0]}]]}, "'device_id' of CUDA.* must be one value"),
        ({"providers": [[CUDA, {"gpu_external_alloc": "1"}]]}, "only for artifacts that are trus"),
        ({"providers": [["QNNExecutionProvider", {"backend_path": "x.so"}]]}, "'backend_path'"),
        ({"providers": [["CPUExecutionProvider", {"device_id": 0}]]}, "only for artifacts that"),
        ({"intra_op_num_threads": 0}, "must be a whole number from 1"),
        ({"intra_op_num_threads": 1.5}, "must be a whole number from 1"),
        ({"intra_op_num_threads": True}, "must be a whole number from 1"),
        ({"graph_optimization_level": "most"}, "one of disabled, basic, extended, all"),
        ({"graph_optimization_level": 99}, "one of disabled, basic, extended, all"),
        ({"inter_op": 1}, "has no 'inter_op' for ONNX models, only providers, intra_op_num_thr"),
        ({"session.save": "x"}, "has no 'session.save' for ONNX models"),
    ],
)
def test_options_that_arent_known_or_allowed_are_refused(
    options: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    """With what would be right; a provider's options may name libraries, so few are allowed."""
    with pytest.raises(LoadError, match=problem) as caught:
        _load(tmp_path, **options)
    assert str(caught.value).startswith("manifest.json: 'options")


def test_trusted_artifacts_may_set_any_option_of_a_provider(tmp_path: Path) -> None:
    """They may run code anyway."""
    wanted = [["QNNExecutionProvider", {"backend_path": "x.so"}]]
    assert _answer(_load(tmp_path, trusted=True, providers=wanted)) == [1, 2]


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_every_level_of_optimisation_answers_the_same(level: str, tmp_path: Path) -> None:
    loaded = _load(tmp_path, graph_optimization_level=level)
    assert _answer(loaded) == [1, 2]
    chosen = loaded._session.get_session_options().graph_optimization_level
    assert (
        chosen.name == f"ORT_{'DISABLE_ALL' if level == 'disabled' else 'ENABLE_' + level.upper()}"
    )


def test_only_quantised_models_keep_what_rewrites_quantised_models(tmp_path: Path) -> None:
    """It is a quarter of a small session; and both kinds answer."""
    scale, zero = constant("s", 0.5, np.float32), constant("z", 0, np.uint8)
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    ends = [("x", F, ["N"])], [("y", F, ["N"])]
    quantised = _load(tmp_path, model(nodes, *ends, [scale, zero]))
    assert _answer(quantised) == [1, 2]
    large = _load(tmp_path, identity(F, ["N"]) + b"\x32" + b"\x80\x80\x40" + bytes(1 << 20))
    plain = _load(tmp_path)
    without = [_without_quantisation(loaded) for loaded in (quantised, large, plain)]
    assert without == [False, False, True]


def _without_quantisation(loaded: OnnxModel) -> bool:
    try:
        entry = loaded._session.get_session_options().get_session_config_entry(
            "session.disable_quant_qdq"
        )
    except RuntimeError:  # it isn't set
        return False
    return bool(entry == "1")


def test_the_manifest_of_an_artifact_is_where_options_come_from(tmp_path: Path) -> None:
    """As the whole way through the table of loaders has it."""
    (tmp_path / "m.onnx").write_bytes(identity(F, ["N"]))
    (tmp_path / "manifest.json").write_text('{"options": {"providers": ["Nope"]}}')
    with pytest.raises(LoadError, match="there is no 'Nope'"):
        load_model(tmp_path, LoadOptions())


# --- Threads ---


def _threads() -> int:
    """How many there are once none comes or goes: one that has ended is listed for a moment."""
    counts = [0]
    while len(counts) < 5 or len(set(counts[-5:])) > 1:
        time.sleep(0.01)
        counts.append(len(list(Path("/proc/self/task").iterdir())))
    return counts[-1]


def _heavy() -> bytes:
    """Enough work for a second thread, were there one."""
    weights = constant("w", np.ones((256, 256)), np.float32)
    shape: list[int | str | None] = ["N", 256]
    return model([node("MatMul", "x w", "y")], [("x", F, shape)], [("y", F, shape)], [weights])


def test_threads_dont_grow_with_sessions(tmp_path: Path) -> None:
    """A thousand models have no threads of their own, idle or run."""
    content = _heavy()
    first = _load(tmp_path, content)
    before = _threads()
    loaded = [first, *(_load(tmp_path, content) for _ in range(50))]
    batch = first.prepare(rows(*[[1.0] * 256] * 64))
    for one in loaded:
        one.run("predict", batch)
    assert _threads() <= before


def test_more_threads_are_had_when_asked_for_and_go_with_the_model(tmp_path: Path) -> None:
    """No more than there are cores, whatever is asked for."""
    before = _threads()
    loaded = _load(tmp_path, intra_op_num_threads=1_000_000)
    assert _threads() - before == CORES - 1
    assert _answer(loaded) == [1, 2]
    del loaded
    gc.collect()
    assert _threads() == before


def test_all_sessions_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes when all is taken runs on one thread, with a line; who goes gives back."""
    monkeypatch.setattr(onnx_options, "cores", lambda: 3)
    monkeypatch.setattr(onnx_session, "_share", ThreadShare(3))
    before = _threads()
    loaded = [_load(tmp_path, intra_op_num_threads=3) for _ in range(4)]
    assert _threads() - before == 3
    assert [vars(r)["threads"] for r in caplog.records] == [2, 1, 1]
    assert {r.getMessage() for r in caplog.records} == {
        "a model gets fewer threads than it asks for, as other models have them"
    }
    assert all(_answer(one) == [1, 2] for one in loaded)
    del loaded
    gc.collect()
    with pytest.raises(LoadError):
        _load(tmp_path, b"\x08\x09 broken", intra_op_num_threads=3)
    caplog.clear()
    _load(tmp_path, intra_op_num_threads=3)
    assert not caplog.records
