from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.api.paging import limit_of, name_in, page_of, token_of
from mms.errors import ValidationError
from mms.types import ModelListing

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def listing(names: set[str]) -> list[ModelListing]:
    return [ModelListing(name=name, url="/" + name) for name in names]


@given(st.sets(NAMES, max_size=30), st.integers(1, 12))
def test_pages_show_every_model_once_and_the_last_has_no_token(names: set[str], limit: int) -> None:
    """Also when the last page is exactly full; no page but an empty list's is empty."""
    seen: list[str] = []
    after = None
    for _ in range(len(names) + 1):
        page = page_of(listing(names), limit=limit, after=after)
        seen += [model.name for model in page.models]
        assert len(page.models) == limit or page.next_token is None
        assert page.models or not names
        if page.next_token is None:
            break
        after = name_in(page.next_token)
    assert seen == sorted(names)


@given(st.sets(NAMES, min_size=3, max_size=20), st.data())
def test_models_that_come_and_go_hide_no_others(names: set[str], data: st.DataObject) -> None:
    """What stays loaded through both calls is seen exactly once."""
    first = page_of(listing(names), limit=2, after=None)
    assert first.next_token is not None
    gone = data.draw(st.sets(st.sampled_from(sorted(names))))
    come = data.draw(st.sets(NAMES, max_size=3)) - names
    second = page_of(listing(names - gone | come), limit=100, after=name_in(first.next_token))
    shown = [model.name for model in [*first.models, *second.models]]
    assert len(shown) == len(set(shown))
    assert names - gone <= set(shown)


@given(NAMES)
def test_a_token_of_ours_is_read_back(name: str) -> None:
    """Whatever the model is called."""
    assert name_in(token_of(name)) == name


@given(NAMES, st.data())
def test_a_token_with_one_character_changed_is_refused(name: str, data: st.DataObject) -> None:
    """Tokens carry a checksum."""
    token = token_of(name)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("Aa0-_.=é").filter(lambda c: c != token[place]))
    with pytest.raises(ValidationError):
        name_in(token[:place] + other + token[place + 1 :])


@given(st.text(max_size=40))
def test_any_other_text_is_refused(token: str) -> None:
    """Offsets, as other servers use them, among them."""
    with pytest.raises(ValidationError):
        name_in(token)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (None, 100), ("1", 1), ("100", 100), ("101", 100), ("0", 1), ("-5", 1), ("+7", 7),
        ("007", 7), ("9" * 5000, 100), ("-" + "9" * 5000, 1),
    ],
)  # fmt: skip
def test_the_limit_is_clamped(text: str | None, limit: int) -> None:
    """1 to 100, whatever number was asked for."""
    assert limit_of(text) == limit


@pytest.mark.parametrize("text", ["", "ten", "1.5", "1e1", "--1", "٣", " 1"])
def test_a_limit_that_is_no_number_is_refused(text: str) -> None:
    """Rather than guessed."""
    with pytest.raises(ValidationError, match="limit"):
        limit_of(text)
