"""CSV's header parted from its rows, and the demand that there be rows at all.

Whether a first row that nobody declared is a header is the model's to say: the caller hands in how
it tells. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from loaders.base import InputError, Payload

_ONLY_A_HEADER: Final = (
    "there are no rows: the only one is taken for a header, as it has the model's names or no "
    "number; if it is none, send header=absent in Content-Type"
)


def demand_rows(rows: Sequence[Any]) -> None:
    """Raise InputError where there are none."""
    if not rows:
        raise InputError("there are no rows")


def parted(
    payload: Payload, is_header: Callable[[list[str]], bool]
) -> tuple[list[str] | None, list[Any]]:
    """The header, declared or told by ``is_header``, and the rows; raises InputError."""
    header, rows = payload.header, payload.rows
    demand_rows(rows)
    if header is None and payload.maybe_header and is_header(rows[0]):
        header, rows = rows[0], rows[1:]
        if not rows:
            raise InputError(_ONLY_A_HEADER)
    return header, rows
