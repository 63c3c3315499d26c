"""Content types and negotiation: what request headers may hold and what comes of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.sklearn.estimator import METHODS as ESTIMATORS
from mms import media
from mms.errors import NotAcceptable, UnsupportedMediaType, ValidationError
from mms.media import CSV, JSON, METHODS, Spec, decode_spec, encode_spec, headers
from mms.media.headers import spec_for


def spec(
    content_type: bytes | None = None,
    accept: bytes | None = None,
    attributes: bytes | None = None,
    default: str = "",
) -> Spec:
    return decode_spec(spec_for(content_type, accept, attributes, default))


@pytest.mark.parametrize("nothing", [None, b"", b"  "])
def test_headers_that_are_missing_or_empty_mean_json_and_the_default_method(
    nothing: bytes | None,
) -> None:
    assert spec(nothing, nothing, nothing) == Spec(
        content_type=JSON, params=(), accept=JSON, method=None
    )


@pytest.mark.parametrize(
    ("header", "media_type", "params"),
    [
        (b"application/json", JSON, {}),
        (b"application/json; charset=utf-8", JSON, {}),
        (b"Application/JSON;charset=UTF-8", JSON, {}),
        (b'application/json; charset="utf-8"', JSON, {}),
        (b'application/json; charset="ut\\f-8"', JSON, {}),
        (b"application/json; charset=utf-8-sig", JSON, {"charset": "utf_8_sig"}),
        (b"application/json; profile=x; version=1", JSON, {}),
        (b"application/vnd.example.v2+json", JSON, {}),
        (b"text/csv", CSV, {}),
        (b" text/csv ; ; header = present ;", CSV, {"header": "present"}),
        (b"text/csv; charset=utf-8; label_size=0", CSV, {}),
        (b"text/csv;header=ABSENT;charset=latin1", CSV, {"charset": "latin_1", "header": "absent"}),
        (b"text/csv;charset=ISO-8859-1", CSV, {"charset": "latin_1"}),
        (b"text/csv;charset=windows-1252", CSV, {"charset": "cp1252"}),
        (b"text/csv;charset=Shift_JIS", CSV, {"charset": "shift_jis"}),
        (b"text/csv; charset=utf-8; charset=UTF8", CSV, {}),
    ],
)
def test_a_content_type_is_parsed_with_its_parameters(
    header: bytes, media_type: str, params: dict[str, str]
) -> None:
    got = spec(header)
    assert (got.content_type, dict(got.params)) == (media_type, params)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"application/xml", "'application/xml' is not read here"),
        (b"application/x-www-form-urlencoded", "send application/json or text/csv"),
        (b"json", "send application/json or text/csv"),
        (b"*/*", "is not read here"),
        (b"text/csvx", "is not read here"),
        (b"\xff\xfe\x00", "'\\xff\\xfe\\x00' is not read here"),
        (b"image/x+json", "is not read here"),
        (b"text/csv; charset=klingon", "charset 'klingon' is not known"),
        (b"text/csv; charset=hex", "charset 'hex' is not known"),
        (b"text/csv; charset=zlib", "charset 'zlib' is not known"),
        (b"text/csv; charset=rot13", "charset 'rot13' is not known"),
        (b"text/csv; charset=idna", "charset 'idna' is not known"),
        (b"text/csv; charset=unicode_escape", "is not known"),
        (b"text/csv; charset=aliases", "is not known"),
        (b"text/csv; charset=", "charset '' is not known"),
        (b"text/csv; charset", "charset '' is not known"),
    ],
)
def test_a_type_or_charset_that_cannot_be_read_is_unsupported(header: bytes, said: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        spec(header)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"text/csv; header=yes", "header='yes'"),
        (b"text/csv; header", "header=''"),
        (b"text/csv; label_size=1", "label_size='1'"),
        (b"text/csv; header=present; header=absent", "header twice"),
        (b"text/csv, text/csv", "can't be read at character 9"),
        (b'text/csv; charset="utf-8', "can't be read"),
        (b"text/csv;" + b"a" * 100_000, "100009 characters long"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_a_validation_error(header: bytes, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(header)
    assert said in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("accept", "default", "answer"),
    [
        (b"*/*", "", JSON),
        (b"*/*", CSV, CSV),
        (None, CSV, CSV),
        (None, "text/csv; charset=utf-8", CSV),
        (b"application/json", CSV, JSON),
        (b"text/csv", "", CSV),
        (b"TEXT/CSV", "", CSV),
        (b"text/*", "", CSV),
        (b"application/*", CSV, JSON),
        (b"text/csv;q=0.9, application/json;q=0.8", "", CSV),
        (b"text/csv;q=0.2, application/json", "", JSON),
        (b"text/csv, application/json", "", CSV),  # equals: what stands first
        (b"application/json, text/csv", CSV, JSON),
        (b"application/json, text/plain, */*", CSV, JSON),  # equals: named before wildcard
        (b"*/*, text/csv", "", CSV),
        (b"text/html, */*;q=0.1", CSV, CSV),
        (b"application/json;q=0, */*", "", CSV),  # q=0 excludes, whatever the wildcard says
        (b"*/*;q=0.9, application/*;q=0.1", "", CSV),  # the most specific range gives the q
        (b"text/csv;header=present;q=1", "", CSV),
        (b"text/html, image/gif, *; q=.2, */*; q=.2", "", JSON),  # Java's HttpURLConnection
        (b",, text/csv ,,", "", CSV),
        (b'application/json;profile="a,b;q=0", text/csv;q=0.1', "", JSON),
        (b"application/json;Q=0.1, text/csv;q=0.2", "", CSV),
    ],
)
def test_the_answers_type_is_negotiated(accept: bytes | None, default: str, answer: str) -> None:
    assert spec(None, accept, None, default).accept == answer


@pytest.mark.parametrize(
    "accept",
    [b"text/html", b"*/*;q=0", b"application/json;q=0", b"application/json;q=0, text/html"],
)
def test_an_accept_that_allows_nothing_names_what_can_be_had(accept: bytes) -> None:
    with pytest.raises(NotAcceptable, match="application/json, text/csv"):
        spec(None, accept)


def test_a_default_that_cannot_be_written_is_no_silent_json() -> None:
    """It is named to those who rely on it, and doesn't hurt who asks for a type."""
    with pytest.raises(NotAcceptable, match="application/x-thing"):
        spec(None, b"*/*", None, "application/x-thing")
    assert spec(None, b"text/csv", None, "application/x-thing").accept == CSV


@pytest.mark.parametrize(
    "accept",
    [b"json", b"text/csv text/html", b"text/csv;q=2", b"text/csv;q=x", b"text/csv;q", b"\x00",
     b'text/csv;a="', b"a/b," * 300],
)  # fmt: skip
def test_an_accept_that_cannot_be_read_is_a_validation_error(accept: bytes) -> None:
    with pytest.raises(ValidationError, match="Accept"):
        spec(None, accept)


def test_the_front_lets_through_what_estimators_have() -> None:
    """It imports no framework, so it has the names for itself."""
    assert METHODS == ESTIMATORS


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_taken_from_the_custom_attributes(method: str) -> None:
    assert spec(None, None, f"trace=1, method={method} ,x".encode()).method == method


@pytest.mark.parametrize(
    "attributes",
    [b"c000b4f9-df62-4c85", b"trace=1", b"my-method=GET", b"method", b"\xff\x00=,,=", b"," * 1024],
)
def test_other_attributes_belong_to_the_caller(attributes: bytes) -> None:
    assert spec(None, None, attributes).method is None


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (b"method=fit", "predict, predict_proba, predict_log_proba"),
        (b"method=", "method=''"),
        (b"method=__class__", "is no method"),
        (b"method=predict,method=transform", "several methods"),
        (b"x" * 1025, "at most 1024"),
    ],
)
def test_a_wrong_method_or_too_many_attributes_are_validation_errors(
    attributes: bytes, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(None, None, attributes)
    assert said in caught.value.message


HEADERS = st.none() | st.one_of(
    st.binary(max_size=40),
    st.text(alphabet=';,=" \t\\q0.1/*+jsontexcvhar', max_size=60).map(str.encode),
    st.lists(
        st.sampled_from(
            [b"text/csv", b"application/json", b"*/*", b";", b",", b"q=0.5", b"charset", b"=", b'"',
             b"header=present", b"method=predict", b"utf-16", b"\\", b"\x00"]
        ), max_size=8,
    ).map(b"".join),
)  # fmt: skip


@given(HEADERS, HEADERS, HEADERS, st.sampled_from(["", JSON, CSV, "x", "*/*", ";;"]))
@settings(max_examples=300)
def test_any_headers_give_a_spec_or_one_of_our_errors(
    content_type: bytes | None, accept: bytes | None, attributes: bytes | None, default: str
) -> None:
    try:
        got = spec(content_type, accept, attributes, default)
    except (ValidationError, NotAcceptable, UnsupportedMediaType) as error:
        message = error.message
    else:
        message = ""
        assert got.content_type in media.TYPES
        assert got.accept in media.TYPES
        assert got.method in (None, *METHODS)
        b"1".decode(got.param("charset", "utf-8"), "replace")  # a codec Python has
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    "header", [b"text/csv;" * 8000, b'text/csv;a="' + b"\\" * 60_000, b" \t" * 40_000, b";" * 2000]
)
def test_a_huge_header_is_refused_by_its_size(header: bytes) -> None:
    with pytest.raises(ValidationError, match="at most 1024"):
        spec(header)
    with pytest.raises(ValidationError, match="at most 1024"):
        spec(None, header)


@given(
    st.builds(
        Spec,
        content_type=st.sampled_from(list(media.TYPES)),
        params=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3).map(tuple),
        accept=st.sampled_from(list(media.TYPES)),
        method=st.none() | st.sampled_from(METHODS),
    )
)
def test_a_spec_survives_the_way_to_the_worker(value: Spec) -> None:
    assert decode_spec(encode_spec(value)) == value


def test_the_same_headers_cost_one_negotiation() -> None:
    """Cached, also where the caller's own attributes differ, and bounded."""
    headers._spec.cache_clear()
    for trace in range(10):
        spec_for(b"text/csv", b"*/*", b"trace=%d,method=predict" % trace, "")
    assert headers._spec.cache_info().misses == 1
    assert headers._spec.cache_info().maxsize
    assert decode_spec.cache_info().maxsize


def test_the_front_pays_for_the_standard_library_only() -> None:
    code = "import sys, mms.media; print(*{m.partition('.')[0] for m in sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "loaders", "starlette"}.isdisjoint(out.stdout.split())


# --- Any type ---


def any_spec(
    content_type: bytes | None = None,
    accept: bytes | None = None,
    attributes: bytes | None = None,
    default: str = "",
) -> Spec:
    return decode_spec(spec_for(content_type, accept, attributes, default, any_type=True))


@pytest.mark.parametrize(
    ("content_type", "accept", "attributes", "refusal"),
    [
        (b"image/png", None, None, UnsupportedMediaType),
        (None, b"image/png", None, NotAcceptable),
        (b"text/csv; header=maybe", None, None, ValidationError),
        (None, b"can't be read", None, ValidationError),
        (None, None, b"method=own", ValidationError),
    ],
)
def test_headers_that_only_a_script_can_mean_get_through(
    content_type: bytes | None,
    accept: bytes | None,
    attributes: bytes | None,
    refusal: type[UnsupportedMediaType | NotAcceptable | ValidationError],
) -> None:
    """With the very error that they are to all other models."""
    got = any_spec(content_type, accept, attributes)
    with pytest.raises(refusal) as caught:
        spec(content_type, accept, attributes)
    assert got.refusal == (caught.value.code, caught.value.message)
    assert (got.content_type, got.accept) == ("", "")
    texts = (got.raw_content_type, got.raw_accept, got.attributes)
    assert texts == tuple((t or b"").decode() for t in (content_type, accept, attributes))


def test_usual_headers_say_the_same_and_themselves() -> None:
    """What a model without a script goes by isn't changed by those with one."""
    got = any_spec(b"text/csv; charset=latin1", b"text/*", b"x=1,method=transform")
    known = spec(b"text/csv; charset=latin1", b"text/*", b"x=1,method=transform")
    for name in ("content_type", "params", "accept", "method", "coding", "max_body"):
        assert getattr(got, name) == getattr(known, name)
    assert got.refusal is None
    assert got.raw_content_type == "text/csv; charset=latin1"
    assert got.wanted == "application/json"


def test_headers_without_end_are_refused_for_scripts_too() -> None:
    for position in range(3):
        given: list[bytes | None] = [None] * 3
        given[position] = b"a/b;" + b"x" * 1024
        with pytest.raises(ValidationError, match="characters long"):
            any_spec(given[0], given[1], given[2])
