"""A mask of pairs beside cached keys, in the layout that a forward wants.

Legend: B batch, T tokens of a step, S tokens so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from properties.subjects.call import Arguments

LAID: Mapping[str, Callable[[Any, int, Any, Any], Any]] = {
    "T S": lambda pairs, room, hides, shows: pairs,
    "T room": lambda pairs, room, hides, shows: widened(pairs, -1, room, hides),
    "S S": lambda pairs, room, hides, shows: widened(pairs, -2, pairs.shape[-1], shows),
}
"""Rows (B, 1, T, S) of a step: as they are; with columns, which are hidden, for all places of a cache that
has room for so many; below rows for all tokens before, which are shown everything."""


def laid_out(told: Arguments, way: str, room: int) -> Arguments:
    """A mask, or a bias, of a step in one of these layouts; room: how many tokens fit."""
    lay = LAID[way]
    if told.mask is not None:
        return replace(told, mask=lay(told.mask, room, False, True))
    return replace(told, bias=lay(told.bias, room, -np.inf, 0.0))


def widened(pairs: Any, axis: int, length: int, fill: Any) -> Any:
    """The same as long as this on one of its last two axes: more rows before it, or more columns behind."""
    missing = max(0, length - pairs.shape[axis])
    ends = [(0, 0)] * pairs.ndim
    ends[axis] = (missing, 0) if axis == -2 else (0, missing)
    return np.pad(pairs, ends, constant_values=fill)
