"""Documents in a call: of each item the first queries and the first keys, as many as its document has.

What stands behind them is not handed over. A function of packed documents is given what is left, one
document after the other.

Legend: B documents, one an item; T queries, S keys at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from properties.basics.dtypes import Array
from properties.subjects.call import Lengths


def drawn_lengths(batch: int, tokens: int, keys: int, seed: int, own_keys: bool) -> Array:
    """(B, 2): how many queries and keys each document has, one at least; as many keys as queries where
    keys are no other tokens.
    """
    rng = np.random.default_rng(seed + 7)
    queries = rng.integers(1, tokens + 1, size=batch)
    others = rng.integers(1, keys + 1, size=batch) if own_keys else queries
    return np.stack([queries, others], axis=-1).astype(np.float64)


def drawn_segments(batch: int, tokens: int, seed: int) -> Array:
    """(B, T): the number of each token's segment, from one on, of one or more tokens each."""
    rng = np.random.default_rng(seed + 8)
    starts = rng.random((batch, tokens)) < 0.4
    return np.asarray(1.0 + starts.cumsum(axis=1), dtype=np.float64)


def of_keys(segments: Lengths, keys: int) -> Lengths:
    """(B, S): the segments of so many keys; zero, which is none, behind the tokens."""
    found: Lengths = np.zeros((len(segments), keys), dtype=np.int64)
    found[:, : segments.shape[1]] = segments[:, :keys]
    return found


def within(lengths: Array, tokens: int, keys: int) -> Lengths:
    """The lengths as whole numbers, none larger than there is room for."""
    found: Lengths = np.clip(np.rint(lengths), 0, (tokens, keys)).astype(np.int64)
    return found


def placed(
    lengths: Lengths, tokens: int, keys: int, of_one: Callable[[int, int], Any], elsewhere: Any
) -> Any:
    """(B, ..., T, S): for each document what `of_one` gives for its numbers of queries and keys, in the
    corner of the first ones; `elsewhere` behind them.
    """
    items = []
    for queries, others in lengths:
        corner = np.asarray(of_one(int(queries), int(others)))
        item = np.full((*corner.shape[:-2], tokens, keys), elsewhere, dtype=corner.dtype)
        item[..., :queries, :others] = corner
        items.append(item)
    return np.stack(items)
