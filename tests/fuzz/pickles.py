"""Pickles of real models, mutated opcode by opcode: most stay pickles, and are wrong further in."""

from __future__ import annotations

import pickle
import pickletools
import random
import warnings
from functools import cache
from struct import pack, unpack
from typing import Any

import numpy as np
from sklearn.cluster import Birch, BisectingKMeans, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from tests.fuzz.bytes import anyhow

Ops = list[tuple[int, bytes]]
"""Each opcode's code and all of its bytes."""
_EDGES = (0, 1, -1, 2, 3, 5, 127, 255, -128, 1 << 15, 1 << 31, -(1 << 31), 1 << 62)


@cache
def seeds() -> tuple[bytes, ...]:
    """A small model of each kind whose native code trusts its state, and some plain ones."""
    rows, labels = load_iris(return_X_y=True)
    rows, labels = rows[::5], labels[::5]
    models: list[Any] = [
        LogisticRegression(max_iter=50),
        SGDClassifier(max_iter=5, tol=None),
        make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3)),
        RandomForestClassifier(2, max_depth=3),
        GradientBoostingClassifier(n_estimators=2, max_depth=2),
        HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2),
        IsolationForest(n_estimators=2, max_samples=8),
        SVC(),
        OneClassSVM(),
        KNeighborsClassifier(2, algorithm="kd_tree", leaf_size=4),
        KNeighborsClassifier(2, algorithm="ball_tree", leaf_size=4),
        KernelDensity(leaf_size=4),
        KMeans(2, n_init=1),
        BisectingKMeans(3),
        Birch(n_clusters=2),
        GaussianProcessRegressor(),
        MLPClassifier((3,), max_iter=3),
        SplineTransformer(n_knots=3),
        KBinsDiscretizer(3),
        ColumnTransformer([("a", OneHotEncoder(handle_unknown="ignore"), [0]), ("b", "drop", [1])]),
    ]
    made = []
    for number, model in enumerate(models):
        with warnings.catch_warnings(action="ignore"):  # they needn't be good models
            fitted = model.fit(rows, labels)
        made.append(pickle.dumps(fitted, (2, 4, 5)[number % 3]))
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(np.arange(9.0), np.arange(9.0))
    return (*made, pickle.dumps(isotonic, 4))


def mutated(rng: random.Random) -> bytes:
    """A seed with some opcodes changed; now and then only its bytes."""
    seed = rng.choice(seeds())
    if rng.random() < 0.1:
        return anyhow(rng, seed)
    ops = _parsed(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_CHANGES)(rng, ops)
    return b"".join(data for _, data in ops)


@cache
def _table(seed: bytes) -> tuple[tuple[int, bytes], ...]:
    places = [(op.code, at) for op, _, at in pickletools.genops(seed)]
    ends = [at for _, at in places[1:]] + [len(seed)]
    frame = "\x95"  # a frame's length would be wrong after the first change
    return tuple(
        (ord(code), seed[at or 0 : end or 0])
        for (code, at), end in zip(places, ends, strict=True)
        if code != frame
    )


def _parsed(seed: bytes) -> Ops:
    return list(_table(seed))


def _number(rng: random.Random, ops: Ops) -> None:
    """Another number where one stands."""
    places = [i for i, (code, _) in enumerate(ops) if code in b"KMJ\x8a"]
    if places:
        ops[rng.choice(places)] = (0, pickle.dumps(rng.choice(_EDGES), 2)[2:-1])


def _buffer(rng: random.Random, ops: Ops) -> None:
    """Other bytes in an array, a text or a key; mostly of the same length."""
    places = [
        i for i, (code, data) in enumerate(ops) if code in b"BC\x8e\x96X\x8c" and len(data) > 6
    ]
    if not places:
        return
    at = rng.choice(places)
    code, data = ops[at]
    head = {ord("B"): 5, ord("X"): 5, ord("C"): 2, 0x8C: 2, 0x8E: 9, 0x96: 9}[code]
    body = bytearray(data[head:])
    width = rng.choice((1, 4, 8))
    start = rng.randrange(max(1, len(body) - width + 1)) // width * width
    value = rng.choice((*_EDGES, unpack("<q", pack("<d", rng.choice((np.nan, np.inf, 1e308))))[0]))
    body[start : start + width] = (value & ((1 << (8 * width)) - 1)).to_bytes(width, "little")
    ops[at] = (code, data[:head] + bytes(body[: len(data) - head]))


def _swap(rng: random.Random, ops: Ops) -> None:
    one, other = rng.randrange(len(ops)), rng.randrange(len(ops))
    ops[one], ops[other] = ops[other], ops[one]


def _drop(rng: random.Random, ops: Ops) -> None:
    del ops[rng.randrange(len(ops))]


def _repeat(rng: random.Random, ops: Ops) -> None:
    start = rng.randrange(len(ops))
    ops[start:start] = ops[start : start + rng.choice((1, 2, 8))]


def _graft(rng: random.Random, ops: Ops) -> None:
    """What stands in another model, put over something here."""
    other = _parsed(rng.choice(seeds()))
    start, at = rng.randrange(len(other)), rng.randrange(len(ops))
    ops[at : at + rng.choice((0, 1, 4))] = other[start : start + rng.choice((1, 4, 16))]


def _other(rng: random.Random, ops: Ops) -> None:
    """A value of another kind."""
    plain = (b"N", b"\x88", b"]", b"}", b")", b"\x8f", b"K\x05", b"X\x01\0\0\0a", b"G" + bytes(8))
    ops[rng.randrange(len(ops))] = (0, rng.choice(plain))


def _reference(rng: random.Random, ops: Ops) -> None:
    """Another thing that was made before: an array of another shape, another tree."""
    places = [i for i, (code, _) in enumerate(ops) if code in b"hjKN"]
    if places:
        ops[rng.choice(places)] = (ord("j"), b"j" + pack("<I", rng.randrange(200)))


_CHANGES = (
    _number,
    _number,
    _buffer,
    _buffer,
    _buffer,
    _swap,
    _drop,
    _repeat,
    _graft,
    _other,
    _reference,
)
