"""Payloads: what one side encodes the other decodes; what no worker of ours says is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.fleet import payloads
from mms.fleet.payloads import Reply
from mms.fleet.wire import ProtocolError
from mms.types import Loaded

REPLIES = st.lists(
    st.builds(
        Reply, st.sampled_from(payloads.CODES), st.binary(max_size=20), st.binary(max_size=50)
    ),
    max_size=5,
)
LOADED = Loaded(format="onnx", bytes=5, methods=("predict",), batchable=True, load_s=0.5)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=50)), max_size=5),
)
def test_batches_come_back(model_id: int, requests: list[tuple[bytes, bytes]]) -> None:
    payload = b"".join(payloads.encode_batch(model_id, requests))
    assert payloads.decode_batch(payload) == (model_id, requests)


@given(REPLIES, st.integers(0, 2**40), st.floats(0, 1e6))
def test_results_come_back(replies: list[Reply], rows: int, predict_s: float) -> None:
    """Numbers too big for their field are cut, not refused."""
    payload = b"".join(payloads.encode_result(replies, rows, predict_s))
    result = payloads.decode_result(payload, len(replies))
    assert result.replies == replies
    assert result.rows == min(rows, 2**32 - 1)
    assert result.predict_s == pytest.approx(min(predict_s, 2**32 / 1e6), abs=1e-6)


@given(st.binary(max_size=100), st.integers(0, 5))
def test_a_garbled_result_is_a_protocol_error_at_worst(payload: bytes, expected: int) -> None:
    with contextlib.suppress(ProtocolError):
        payloads.decode_result(payload, expected)


@given(REPLIES, st.data())
def test_a_result_cut_or_lengthened_is_refused(replies: list[Reply], data: st.DataObject) -> None:
    """No reply is ever made of another's bytes."""
    payload = b"".join(payloads.encode_result(replies, 1, 0.0))
    cut = data.draw(st.integers(0, len(payload) - 1))
    for wrong in (payload[:cut], payload + b"x"):
        with pytest.raises(ProtocolError):
            payloads.decode_result(wrong, len(replies))


@pytest.mark.parametrize("expected", [0, 2])
def test_as_many_replies_as_requests(expected: int) -> None:
    payload = b"".join(payloads.encode_result([Reply("", b"", b"")], 1, 0.0))
    with pytest.raises(ProtocolError):
        payloads.decode_result(payload, expected)


def test_a_code_of_no_business_becomes_a_model_error() -> None:
    """A worker can't answer for the front: no 401, no 503."""
    payload = b"".join(payloads.encode_result([Reply("Unauthorized", b"", b"m")], 1, 0.0))
    assert payloads.decode_result(payload, 1).replies == [Reply("ModelError", b"", b"m")]


def test_a_reply_that_is_not_bytes_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TypeError):
        payloads.encode_result([Reply("", b"", "text")], 1, 0.0)  # type: ignore[arg-type]


def test_loads_come_back() -> None:
    options = {"trusted": True, "allow_globals": ["a:B"]}
    request = payloads.decode_load(payloads.encode_load(7, Path("/x/y"), options))
    assert request == (7, Path("/x/y"), options)


def test_loaded_comes_back() -> None:
    assert payloads.decode_loaded(payloads.encode_loaded(LOADED)) == LOADED


def test_models_of_one_signature_share_it() -> None:
    """Of ten thousand small models the front would keep more of it than of all the rest."""

    def decoded(width: int) -> dict[str, object]:
        signature: dict[str, object] = {"inputs": [{"name": "x", "shape": [None, width]}]}
        loaded = Loaded(
            format="f", bytes=1, methods=("predict",), batchable=True, signature=signature
        )
        back = payloads.decode_loaded(payloads.encode_loaded(loaded))
        assert back == loaded
        return back.signature

    assert decoded(4) is decoded(4)
    assert decoded(4) is not decoded(5)


def test_a_signature_too_big_is_left_out() -> None:
    """A model of a hundred thousand columns is still a model."""
    big = Loaded(format="f", bytes=1, methods=(), batchable=False, signature={"a": "x" * 2**20})
    assert payloads.decode_loaded(payloads.encode_loaded(big)).signature == {}


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": -1},
        {"bytes": True},
        {"bytes": 1.5},
        {"bytes": 2**64},
        {"format": None},
        {"format": "x" * 101},
        {"methods": "predict"},
        {"methods": [1]},
        {"batchable": 1},
        {"signature": []},
        {"load_s": -1.0},
        {"load_s": 10**400},
        {"load_s": float("nan")},
        {"load_s": float("inf")},
        {"load_s": "1"},
    ],
)
def test_each_field_of_loaded_is_checked(change: dict[str, object]) -> None:
    fields = json.loads(payloads.encode_loaded(LOADED)) | change
    with pytest.raises(ProtocolError):
        payloads.decode_loaded(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 500_000,
        b"1" * 5_000,
        b" " * (payloads.MAX_JSON + 1),
        b'{"code": "Unauthorized", "message": ""}',
        b'{"code": [], "message": ""}',
        b'{"code": "ModelError"}',
    ],
)
def test_json_that_is_none_is_refused(payload: bytes) -> None:
    """Too deep, too long, not JSON, no object, an unknown code: one kind of error."""
    with pytest.raises(ProtocolError):
        payloads.decode_failed(payload)


def test_an_error_message_is_bounded() -> None:
    """Whoever wrote it."""
    code, message = payloads.decode_failed(payloads.encode_failed("ModelLoadError", "x" * 10**6))
    assert (code, len(message)) == ("ModelLoadError", payloads.MAX_TEXT)


def test_only_a_load_may_ask_for_another_environment() -> None:
    """As the answer to a request it isn't a code that there is."""
    failed = payloads.encode_failed("OtherEnvironment", "old")
    assert payloads.decode_failed(failed) == ("OtherEnvironment", "old")
    [reply] = payloads.decode_result(
        b"".join(payloads.encode_result([payloads.Reply("OtherEnvironment", b"", b"")], 1, 0)), 1
    ).replies
    assert reply.code == "ModelError"
