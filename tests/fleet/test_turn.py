from __future__ import annotations

import asyncio

import pytest

from mms.fleet.turn import Turn


async def test_what_is_asked_for_in_a_turn_is_done_at_its_end_in_that_order() -> None:
    """And what it asks for itself is done in the same turn."""
    turn, done = Turn(), list[str]()
    turn.at_end(lambda: turn.at_end(lambda: done.append("flush")))
    turn.at_end(lambda: done.append("pump"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["pump", "flush"]
    turn.at_end(lambda: done.append("next"))
    await asyncio.sleep(0)
    assert done == ["pump", "flush", "next"]


async def test_a_call_that_fails_costs_no_other_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn, done = Turn(), list[str]()

    def fail() -> None:
        raise LookupError("a bug")

    turn.at_end(fail)
    turn.at_end(lambda: done.append("other"))
    await asyncio.sleep(0)
    turn.at_end(lambda: done.append("later"))
    await asyncio.sleep(0)
    assert done == ["other", "later"]
    assert "failed" in caplog.text
