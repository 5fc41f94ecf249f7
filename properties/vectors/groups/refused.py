"""Calls that have no answer: whoever takes them gives numbers that mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from properties.vectors.exact import Exact
from properties.vectors.groups import group, vector
from properties.vectors.vector import Vector

SMALL = {"B": 2, "T": 2, "S": 3, "E": 3, "D": 2}


@group("invalid", "Calls that must be refused: sizes that do not fit each other.")
def invalid() -> Iterator[Vector]:
    """One size that is wrong in each."""
    one = vector(801, "two heads of keys for three of queries", H=3, G=2, **SMALL)
    yield replace(one, refused="2 heads of keys and values do not divide 3 heads of queries")
    one = vector(802, "fewer values than keys", **SMALL)
    values = Exact(one.values.integers[:, :, :2], 0.25)
    yield replace(one, values=values, refused="3 keys, and 2 values")
    one = vector(803, "keys wider than queries", **SMALL)
    keys = Exact(np.concatenate([one.keys.integers] * 2, axis=-1)[..., :3], 0.25)
    yield replace(one, keys=keys, refused="queries of 2 columns, and keys of 3")
    one = vector(804, "more items of keys than of queries", **SMALL)
    keys, values = (
        Exact(np.concatenate([x.integers] * 2)[:3], 0.25) for x in (one.keys, one.values)
    )
    yield replace(one, keys=keys, values=values, refused="2 items of queries, and 3 of keys")
    mask = np.ones((2, 1, 2, 2), dtype=np.bool_)
    one = vector(805, "a mask of too few keys", mask=mask, **SMALL)
    yield replace(one, refused="a mask for 2 keys, of which there are 3")
    one = vector(806, "slopes for other heads", slopes=Exact(np.array([1, 2, 3]), 0.25), **SMALL)
    yield replace(one, refused="3 slopes, and 2 heads")
    one = vector(807, "values of other heads than keys", **SMALL)
    values = Exact(one.values.integers[:, :1], 0.25)
    yield replace(one, values=values, refused="2 heads of keys, and 1 of values")
