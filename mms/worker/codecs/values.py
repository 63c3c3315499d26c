"""Output arrays to plain Python values, the same numbers, for the codecs that write text.

A float32 becomes the double of exactly its value, so that an answer equals ``predict().tolist()``
and, cast to float32, the very float32 again.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import uuid
from typing import Any

import numpy as np

from loaders.base import Array


class Unwritable(Exception):
    """The model is right, but this media type can't say it; the message says what to ask for."""


def plain(array: Array) -> Any:
    """Nested lists; a scalar for an array without axes. Leaves may need :func:`leaf`."""
    if array.dtype.kind in "mM":  # tolist() would make bare integers of nanoseconds
        return array.astype(str).tolist()
    return array.tolist()


def by_label(array: Array, labels: tuple[Any, ...]) -> Any:
    """A table as one object a row, by the labels of its columns."""
    names = [str(label) for label in labels]
    return [dict(zip(names, cells)) for cells in plain(array)]


_AS_TEXT = (
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    complex,
    np.datetime64,
    np.timedelta64,
    np.longdouble,
)


def leaf(value: object) -> Any:
    """A value that isn't JSON's, as one that is; raises TypeError when there is none."""
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, np.ndarray):
        return plain(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"the model answered with a {type(value).__name__}, which can't be written")
