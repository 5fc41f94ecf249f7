"""Long rows in closed form: keys and values are zero but for a few, which stand where tiles end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from properties.vectors.exact import Exact
from properties.vectors.groups import group
from properties.vectors.vector import Options, Vector

KEYS = 1021
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


def seen(*places: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """A mask of the keys at these places."""
    mask = np.zeros((1, 1, 1, KEYS), dtype=np.bool_)
    mask[..., list(places)] = True
    return mask


@group(
    "long-rows",
    "One query and 1021 keys, all zero but for a few where tiles end; the score of key j is written in its "
    "first column.",
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
