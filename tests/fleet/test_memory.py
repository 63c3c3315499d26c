"""PSS: of processes that are there."""

from __future__ import annotations

import os

from mms.fleet.memory import pss_bytes, pss_of


def test_a_process_has_a_size() -> None:
    size = pss_bytes(os.getpid())
    assert size is not None
    assert size > 1 << 20


def test_a_process_that_is_gone_has_none_and_is_left_out() -> None:
    assert pss_bytes(2**22 + 1) is None
    assert pss_of([os.getpid(), 2**22 + 1]).keys() == {os.getpid()}
