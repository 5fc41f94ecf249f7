"""Long rows in closed form: keys and values are zero but for a few, which stand where tiles end.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from properties.vectors.exact import Exact
from properties.vectors.groups import group, vector
from properties.vectors.vector import Options, Vector

KEYS, MOST = 1021, 8191
QUERIES = 67  # the first prime beyond a tile of 64
EDGES = (0, 63, 64, 127, 511, 512, 1020)


def row(
    number: int, comment: str, scores: Mapping[int, int], *, others: int = 0, **told: Any
) -> Vector:
    """One query and 1021 keys of two columns; scores: those of a few keys, the others' are zero.

    Column c of the values takes from the c-th of these keys alone, and the last column from all others.
    """
    keys = np.zeros((1, 1, KEYS, 2), dtype=np.int64)
    values = np.zeros((1, 1, KEYS, len(scores) + 1), dtype=np.int64)
    values[..., -1] = others
    for column, (key, score) in enumerate(scores.items()):
        keys[0, 0, key, 0] = score
        values[0, 0, key] = 0
        values[0, 0, key, column] = 4 + column
    query = np.array([2, 0]).reshape(1, 1, 1, 2)
    options = Options(scale=0.5, **told)
    return Vector(
        number, comment, Exact(query, 1.0), Exact(keys, 1.0), Exact(values, 0.25), options
    )


def plain(
    number: int,
    comment: str,
    *groups: Mapping[int, int],
    H: int = 1,
    T: int = 1,
    S: int = KEYS,
    **told: Any,
) -> Vector:
    """One column of queries and keys, so that the scale is one; groups: the scores of a few keys of each.

    Column c of the values takes from the c-th of these keys alone.
    """
    columns = sum(map(len, groups))
    keys = np.zeros((1, len(groups), S, 1), dtype=np.int64)
    values = np.zeros((1, len(groups), S, columns), dtype=np.int64)
    places = [(g, key, score) for g, own in enumerate(groups) for key, score in own.items()]
    for column, (g, key, score) in enumerate(places):
        keys[0, g, key, 0] = score
        values[0, g, key, column] = 4 + column
    queries = np.ones((1, H, T, 1), dtype=np.int64)
    parts = Exact(queries, 1.0), Exact(keys, 1.0), Exact(values, 0.25)
    return Vector(number, comment, *parts, Options(**told))


def seen(*places: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """A mask of the keys at these places."""
    mask = np.zeros((1, 1, 1, KEYS), dtype=np.bool_)
    mask[..., list(places)] = True
    return mask


@group(
    "long-rows",
    "A query or two and 1021 or 8191 keys, all zero but for a few where tiles end; the score of key j is "
    "written in its first column. And 67 queries to two keys, or to 67.",
    align="bottom right",
)
def long_rows() -> Iterator[Vector]:
    """What is far away, what ends a tile, what comes late."""
    yield row(901, "the last key has most of the weight", {1020: 8}, others=4)
    yield row(902, "the first key has most of the weight", {0: 8}, others=4)
    yield row(903, "a key of each tile", {63: 6, 64: 7, 511: 6, 1020: 7}, others=4)
    scores = dict(zip(EDGES, (3, -2, 4, 1, -3, 2, 3), strict=True))
    yield row(904, "a mask of seven keys, first and last ones of tiles", scores, mask=seen(*EDGES))
    yield row(
        905,
        "scores that rise from tile to tile",
        dict(zip((5, 200, 1000), (2, 6, 9), strict=True)),
        mask=seen(5, 200, 1000),
    )
    near = dict(zip(range(1016, 1021), (4, 3, 1, -2, 2), strict=True))
    yield row(906, "a window of the last three keys", near, window=(2, 0), causal=True)
    padded = dict(zip((0, 1, 2), (2, -1, 1), strict=True))
    yield row(
        907, "three keys are real, all others padding", padded, padding=np.arange(KEYS)[None] < 3
    )
    yield row(908, "one key is seen, behind 512", {700: -4}, mask=seen(700))
    yield from longer()


def longer() -> Iterator[Vector]:
    """Rows for which another kernel may be taken; groups, windows and masks beyond a tile."""
    last = {8190: 12, 8189: 11, 0: 9}
    yield plain(909, "causal, two queries at the end of 8191 keys", last, T=2, S=MOST, causal=True)
    near = dict(zip((1020, 957, 956, 820, 819, 768, 767), (4, 3, 3, 4, 5, 5, 4), strict=True))
    yield plain(910, "a window of 200 keys before", near, window=(200, 0), causal=True)
    yield plain(911, "two groups of two heads", {5: 6, 700: 7}, {64: 7, 1020: 6}, H=4)
    low = dict(zip((5, 6, 700), (-200, -199, -198), strict=True))
    yield plain(912, "three keys are seen, with scores far below zero", low, mask=seen(*low))
    mask = np.ones((1, 1, QUERIES, 2), dtype=np.bool_)
    mask[..., 1::2, 0] = False
    yield vector(
        913,
        "67 queries, of which every other sees one key",
        B=1,
        H=1,
        T=QUERIES,
        S=2,
        E=2,
        mask=mask,
    )
    yield plain(914, "the last of 8191 keys has most of the weight", {8190: 12}, S=MOST)
    one = vector(916, "causal, 67 tokens", B=1, H=1, T=QUERIES, S=QUERIES, D=1, E=1, causal=True)
    yield one
    far = "causal, 67 tokens, all scores hundreds below zero"
    queries = Exact(abs(one.queries.integers) + 100, 0.25)
    keys = Exact(-abs(one.keys.integers) - 100, 0.25)
    yield replace(one, number=917, comment=far, queries=queries, keys=keys)
    edges = dict(zip((4040, 4095, 5000, 5001, 8190), (11, 12, 11, 12, 11), strict=True))
    yield plain(915, "keys within tiles, and last ones, of 8191", edges, S=MOST)
