"""Bad input over real HTTP: each kind gets its status and a message that names what is wrong."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant_archive, dumped, iris
from tests.support.s3 import Bucket
from tests.support.server import HOST

pytestmark = pytest.mark.e2e
IRIS = "us/ny/iris.joblib"
TARGET = "X-Amzn-SageMaker-Target-Model"


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("input")
    with world(s3_server, bucket, folder, MMS_MAX_BODY="100000") as made:
        made.put(IRIS, dumped(iris()))
        made.put("m.tar.gz", constant_archive(4.0))
        assert made.ask(IRIS, ROW).status == 200
        yield made


BODIES: dict[str, tuple[str, bytes, str]] = {
    "not-json": ("application/json", b"{", "JSON"),
    "empty": ("application/json", b"", "empty"),
    "no-rows": ("application/json", b"[]", "row"),
    "wrong-key": ("application/json", b'{"rows": []}', "instances"),
    "scalar": ("application/json", b"5", "array"),
    "few-columns": ("application/json", b"[[1,2,3,4],[1,2,3]]", "row 1 has 3"),
    "many-columns": ("application/json", b'{"instances":[[1,2,3,4,5]]}', "row 0 has 5"),
    "word": ("application/json", b'[[1,2,"x",4]]', "row 0, column 2"),
    "nested": ("application/json", b"[[1,2,[3],4]]", "row 0, column 2"),
    "nan": ("application/json", b"[[1,2,3,4],[1,NaN,3,4]]", "row 1, column 1"),
    "null": ("application/json", b"[[1,2,3,null]]", "row 0, column 3"),
    "infinite": ("application/json", b"[[1,2,3,1e999]]", "row 0, column 3"),
    "deep": ("application/json", b"[" * 50_000, "nest"),
    "named": ("application/json", b'[{"a":1}]', "row 0"),
    "csv-word": ("text/csv", b"1,2,3,4\n1,2,x,4\n", "row 1, column 2"),
    "csv-ragged": ("text/csv", b"1,2,3,4\n1,2\n", "row 1"),
    "csv-quote": ("text/csv", b'1,2,3,"4\n', "quote"),
    "csv-nan": ("text/csv", b"1,2,3,4\n1,2,nan,4\n", "row 1, column 2"),
    "csv-no-cell": ("text/csv", b"1,2,3,4\n1,,3,4\n", "row 1, column 1"),
    "csv-first-word": ("text/csv", b"1,x,3,4\n1,2,3,4\n", "row 0, column 1"),
    "csv-no-header": ("text/csv; header=absent", b"a,b,c,d\n1,2,3,4\n", "row 0, column 0"),
    "csv-other-mark": ("text/csv", b"1;2;3;4\n", "header=absent"),
    "csv-empty": ("text/csv", b"", "empty"),
    "csv-label": ("text/csv; label_size=1", b"1,2,3,4\n", "label_size"),
    "not-utf8": ("application/json", b'["\xff"]', "UTF-8"),
    "trailing": ("application/json", b"[[1,2,3,4]]]", "column 12"),
    "both-forms": ("application/json", b'{"instances":[[1,2,3,4]],"inputs":{}}', "both"),
    "mixed-rows": ("application/json", b'[[1,2,3,4],{"a":1}]', "row 1 is an object"),
    "number-as-text": ("application/json", b'[["1",2,3,4]]', "row 0, column 0"),
    "huge-integer": ("application/json", b"[[1,2,3," + b"9" * 400 + b"]]", "row 0, column 3"),
}


ROUTES = ("/invocations", "/models/us%2Fny%2Firis.joblib/invoke", "/endpoints/any/invocations")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_wrong_is_a_400_that_says_where(made: World, kind: str, route: str) -> None:
    """Never a 500, and the place is named where there is one; boto3 finds the 400 in its 424."""
    content_type, body, where = BODIES[kind]
    sent = {TARGET: IRIS, "Content-Type": content_type}
    answer = made.server.request("POST", route, body, sent)
    if route.startswith("/endpoints/"):
        assert answer.status == 424
        assert answer.headers["x-amzn-errortype"] == "ModelError"
        assert answer.json()["OriginalStatusCode"] == 400
    else:
        assert (answer.status, answer.code) == (400, "ValidationError"), answer
    assert where.lower() in answer.message.lower(), answer.message


def test_neighbours_of_bad_input_do_not_notice(made: World) -> None:
    """Good and bad requests that come at once get each their own answer."""
    bodies = [b"[[5.1,3.5,1.4,0.2]]", b"[[1,2]]", b"{", b"[[6.7,3.0,5.2,2.3]]"] * 16
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: made.server.invoke(IRIS, body), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        if body in {b"[[1,2]]", b"{"}:
            assert answer.status == 400
        else:
            assert answer.json() == ([0] if body.startswith(b"[[5.1") else [2])


TARGETS = {
    "up": b"../secret.tar.gz",
    "up-inside": b"us/../../x.tar.gz",
    "absolute": b"/etc/passwd",
    "empty-segment": b"us//m.tar.gz",
    "dot": b"./m.tar.gz",
    "backslash": b"us\\m.tar.gz",
    "control": b"us\x01m.tar.gz",
    "nul": b"us\x00m.tar.gz",
    "empty": b"",
    "not-utf8": b"us/\xff.tar.gz",
    "decomposed": "us/e\u0301.tar.gz".encode(),
    "direction": "us/\u202em.tar.gz".encode(),
    "long": b"a/" * 520 + b"m.tar.gz",
    "long-segment": b"x" * 300,
}


@pytest.mark.parametrize("route", ["/invocations", "/models/{}/invoke", "/endpoints/e/invocations"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_target_that_is_wrong_never_reaches_the_store(made: World, kind: str, route: str) -> None:
    """400 at the door, of all three: neither S3 nor the disk is asked."""
    asked = len(made.proxy.seen)
    target = TARGETS[kind]
    connection = http.client.HTTPConnection(HOST, made.server.port, timeout=30)
    connection.putrequest("POST", route.format(quote(target, safe="") or "%20"))
    if "{}" not in route:
        connection.putheader(TARGET, target)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"[]")
    answer = connection.getresponse()
    assert answer.status == 400, answer.read()
    assert json.loads(answer.read())["ErrorCode"] == "ValidationError"
    connection.close()
    assert len(made.proxy.seen) == asked


def test_no_target_is_told_what_to_send(made: World) -> None:
    """The message names the header."""
    answer = made.server.invoke(None, ROW)
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert "X-Amzn-SageMaker-Target-Model" in answer.message


def test_other_spellings_of_a_target_are_other_models(made: World) -> None:
    """A header is not percent-decoded: two spellings never name one model."""
    assert made.server.invoke("us%2Fny%2Firis.joblib", ROW).status == 404
    assert made.server.invoke("US/NY/iris.joblib", ROW).status == 404


@pytest.mark.parametrize("route", ROUTES)
def test_types_that_cannot_be_read_or_written(made: World, route: str) -> None:
    """415 and 406 name what there is."""

    def refused(**headers: str) -> tuple[int, str]:
        sent = {TARGET: IRIS} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = made.server.request("POST", route, b"[[1,2,3,4]]", sent)
        if answer.status == 424:
            return answer.json()["OriginalStatusCode"], answer.message
        return answer.status, answer.message

    status, message = refused(Content_Type="image/png")
    assert (status, "text/csv" in message) == (415, True)
    status, message = refused(Accept="image/png, text/html;q=0.5")
    assert (status, "application/json" in message) == (406, True)
    status, message = refused(Content_Encoding="br")
    assert (status, "gzip" in message) == (415, True)


def raw(made: World, head: bytes, body: bytes = b"") -> tuple[bytes, bytes]:
    """Status line and the rest of what comes back on a bare connection until it closes."""
    with socket.create_connection((HOST, made.server.port), timeout=30) as sock:
        sock.sendall(head + body)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    first, _, rest = answer.partition(b"\r\n")
    return first, rest


@pytest.mark.parametrize("route", ROUTES)
def test_too_large_is_said_before_the_body_has_come(made: World, route: str) -> None:
    """A body is refused by its announced length, or as soon as its chunks are too many."""
    head = f"POST {route} HTTP/1.1\r\nHost: x\r\n{TARGET}: {IRIS}\r\n".encode()
    first, rest = raw(made, head + b"Content-Length: 100001\r\n\r\n")
    assert b" 413 " in first
    assert b"MMS_MAX_BODY" in rest
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    first, rest = raw(made, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 3)
    assert b" 413 " in first
    assert b"MMS_MAX_BODY" in rest


def test_headers_that_are_too_large(made: World) -> None:
    """431 beyond 64 KiB, in the format of all errors."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"x" * 70_000 + b"\r\n\r\n"
    first, rest = raw(made, head)
    assert b" 431 " in first
    assert b"HeadersTooLarge" in rest


def test_routes_and_methods_that_do_not_exist(made: World) -> None:
    """404 and 405 in the format of all errors, with Allow."""
    answer = made.server.get("/nothing/here")
    assert (answer.status, answer.code) == (404, "NotFound")
    answer = made.server.get("/invocations")
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    assert "POST" in answer.headers["allow"]


def test_the_boto3_route_needs_a_target_and_an_endpoint_name(made: World) -> None:
    """Both are said as boto3's ValidationError."""
    for path, sent in (
        ("/endpoints/any/invocations", {}),
        ("/endpoints/-a/invocations", {TARGET: IRIS}),
        (f"/endpoints/{'a' * 64}/invocations", {TARGET: IRIS}),
    ):
        answer = made.server.request("POST", path, b"[[1]]", sent)
        assert (answer.status, answer.code) == (400, "ValidationError")
        assert answer.headers["x-amzn-errortype"] == "ValidationError"


def test_a_header_that_is_not_the_url_s_model(made: World) -> None:
    """The URL decides; a header that names another model is refused."""
    sent = {TARGET: "m.tar.gz"}
    answer = made.server.request("POST", ROUTES[1], b"[[1,2,3,4]]", sent)
    assert (answer.status, answer.code) == (400, "ValidationError")


@pytest.mark.parametrize("name", ["%2e%2e%2fx.joblib", "us%2f%2E%2e%2fx.joblib", "%2fetc", "a%00b"])
def test_a_way_out_that_is_percent_encoded_is_seen_through(made: World, name: str) -> None:
    """A name in the URL is decoded once, and judged after that."""
    asked = len(made.proxy.seen)
    answer = made.server.request("POST", f"/models/{name}/invoke", b"[[1,2,3,4]]")
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert len(made.proxy.seen) == asked


def test_a_percent_sign_in_a_key_is_a_character_as_any(made: World) -> None:
    """The store is asked for that very key, and decoding twice never happens."""
    made.put("us%2Fm.tar.gz", constant_archive(7.0))
    assert made.server.invoke("us%2Fm.tar.gz", ROW).json() == [7.0]
    answer = made.server.request("POST", "/models/us%252Fm.tar.gz/invoke", json.dumps(ROW).encode())
    assert answer.json() == [7.0]
    assert made.server.request("POST", "/models/us%2Fm.tar.gz/invoke", b"[]").status == 404


@pytest.mark.parametrize("path", [*ROUTES, "/ping", "/models", "/models/x", "/metrics"])
def test_a_method_that_a_route_has_not_is_refused_with_those_it_has(made: World, path: str) -> None:
    """Whatever the route: 405, Allow, an id, and nothing asked of the store."""
    asked = len(made.proxy.seen)
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE"):
        answer = made.server.request(method, path)
        assert (answer.status, answer.code) == (405, "MethodNotAllowed")
        assert answer.headers["allow"]
        assert answer.json()["RequestId"] == answer.headers["x-amzn-requestid"]
    for near in ("/invocations/", "//invocations", "/%69nvocations", "/endpoints//invocations"):
        answer = made.server.request("POST", near, b"[[1,2,3,4]]", {TARGET: IRIS})
        assert (answer.status, answer.code) == (404, "NotFound")
    assert len(made.proxy.seen) == asked


def test_custom_attributes_are_not_echoed_unasked(made: World) -> None:
    """Neither the caller's own nor ours, without MMS_ECHO_ATTRIBUTES."""
    answer = made.server.invoke(IRIS, ROW, X_Amzn_SageMaker_Custom_Attributes="trace=1")
    assert answer.status == 200
    assert "x-amzn-sagemaker-custom-attributes" not in answer.headers
    assert "trace" not in repr(answer)
