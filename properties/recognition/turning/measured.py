"""How the scores of a module depend on positions, measured on general queries and keys.

The values are one-hot, so that the output shows the weights; the first key is zero, so that the
logarithm of a weight over the first one is the score, whatever it is divided by.

Legend: P items and heads together, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.subjects.positions import Positions
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes, Weights
from properties.truth.positions import Columns, Pairing, pairs

HEADS, HEAD_DIM, TOKENS, ITEMS, CONTEXT = 2, 16, 8, 24, 32
WIDTH = HEADS * HEAD_DIM
PORTIONS = (1.0, 0.5, 0.25, 0.75)
BASES = (10000.0, 500000.0, 1000000.0, 100.0)
ALIKE = 0.02  # of the scores, in the mean: what is further away is another convention
LEAST_BASE = 10.0  # below it pairs are hardly told apart by their speeds: nobody's convention
Build = Callable[[Config, Weights], nn.Module]


@dataclass(frozen=True, eq=False)
class Measured:
    """queries, keys: (P, T, D), before they are turned; scores: (P, T, T), as they meet; NaN where
    nothing is known, such as of hidden keys.
    """

    queries: Array
    keys: Array
    scores: Array

    @property
    def known(self) -> Array:
        """(P, T, T): where there is a score of a key that is not zero."""
        return np.isfinite(self.scores)

    def distance(self, positions: Positions | None) -> float:
        """How far the scores are from a convention's, as a share of their own size; up to a factor."""
        expected = turned_scores(self.queries, self.keys, positions)
        known = self.known
        found, meant = self.scores[known], expected[known]
        size = float(meant @ meant)
        factor = float(found @ meant) / size if size else 0.0
        whole = float(np.linalg.norm(found))
        return (
            float(np.linalg.norm(found - factor * meant)) / whole if whole and factor > 0 else 1.0
        )

    def spread(self, pairing: Pairing, portion: float) -> float:
        """What no turn of these pairs explains, be it by what angle it may, from place to place."""
        first, second = pairs(HEAD_DIM, pairing, portion)
        rest = np.setdiff1d(np.arange(HEAD_DIM), np.concatenate([first, second]))
        off = whole = 0.0
        for i in range(1, TOKENS):
            for j in range(1, TOKENS):
                known = self.known[:, i, j]
                if known.sum() <= 2 * len(first) + 4:
                    continue
                q, k = self.queries[known, i], self.keys[known, j]
                found = self.scores[known, i, j] - (q * k)[:, rest].sum(axis=-1)
                off += residual(self.columns(q, k, first, second), found)
                whole += float(found @ found)
        return float(np.sqrt(off / whole)) if whole else 1.0

    @staticmethod
    def columns(q: Array, k: Array, first: Columns, second: Columns) -> Array:
        """What cosine and sine of the angle between query and key multiply, (P, R)."""
        a, b, c, d = q[:, first], q[:, second], k[:, first], k[:, second]
        return np.concatenate([a * c + b * d, a * d - b * c], axis=-1)

    def speeds(self, pairing: Pairing, portion: float) -> Array:
        """The angle of each pair at a distance of one, (R / 2,), whatever the scores are divided by."""
        first, second = pairs(HEAD_DIM, pairing, portion)
        blocks, found = [], []
        for i in range(2, TOKENS):
            known = self.known[:, i, i - 1]
            q, k = self.queries[known, i], self.keys[known, i - 1]
            blocks.append(self.columns(q, k, first, second))
            rest = np.setdiff1d(np.arange(HEAD_DIM), np.concatenate([first, second]))
            found.append(self.scores[known, i, i - 1] - (q * k)[:, rest].sum(axis=-1))
        matrix, scores = np.concatenate(blocks), np.concatenate(found)
        if len(scores) <= matrix.shape[1]:
            return np.full(len(first), np.nan)
        cosine, sine = np.split(np.linalg.lstsq(matrix, scores, rcond=None)[0], 2)
        return np.arctan2(sine, cosine)


def residual(matrix: Array, found: Array) -> float:
    """The square of what no combination of the columns explains."""
    best = np.linalg.lstsq(matrix, found, rcond=None)[0]
    return float(((found - matrix @ best) ** 2).sum())


def turned_scores(queries: Array, keys: Array, positions: Positions | None) -> Array:
    """(P, T, T), by a convention; None: as they are."""
    if positions is not None:
        rotary = positions.rotary(TOKENS)
        queries = rotary.turn(queries[:, None], rotary.queries)[:, 0]
        keys = rotary.turn(keys[:, None], rotary.keys)[:, 0]
    product: Array = queries @ keys.swapaxes(-1, -2)
    return product


def built(build: Build, dtype: str) -> nn.Module | None:
    """A module that carries the weights of the measurement; None where these sizes cannot be had."""
    query, key = drawn()[1:]
    value = np.zeros((WIDTH, HEADS, HEAD_DIM))
    value[:TOKENS, :, :TOKENS] = np.eye(TOKENS)[:, None]
    weights = Weights(query, key, value.reshape(WIDTH, WIDTH), out=np.eye(WIDTH))
    return carrying(weights, Sizes(ITEMS, TOKENS, WIDTH, HEADS, HEAD_DIM, CONTEXT), build, dtype)


def carrying(weights: Weights, sizes: Sizes, build: Build, dtype: str) -> nn.Module | None:
    """A module with these weights, whose keys and values are the same in every head, so that there may be
    one head of them for all; None where it cannot be had.
    """
    one = slice(sizes.head_dim)
    shared = replace(weights, key=weights.key[:, one], value=weights.value[:, one])
    for groups, given in ((0, weights), (1, shared)):
        with suppress(Exception):  # whatever it is: nothing can be measured then
            return build(Config(replace(sizes, groups=groups), dtype=dtype), given)
    return None


def drawn() -> tuple[Array, Array, Array]:
    """Tokens (B, T, W), one-hot and general numbers, and what makes queries and keys of the latter; keys
    are the same in every head.
    """
    g = np.random.default_rng(0)
    x = np.zeros((ITEMS, TOKENS, WIDTH))
    x[:, :, :TOKENS] = np.eye(TOKENS)
    x[:, 1:, TOKENS:] = g.integers(-8, 9, size=(ITEMS, TOKENS - 1, WIDTH - TOKENS)) / 8.0
    query, key = (g.integers(-8, 9, size=(WIDTH, WIDTH)) / 32.0 for _ in range(2))
    key = np.tile(key[:, :HEAD_DIM], HEADS)
    query[:TOKENS] = key[:TOKENS] = 0.0
    return x, query, key


def measure(module: nn.Module, dtype: str) -> Measured | None:
    """The measurement with a module that was built for it; None where it gives nothing to measure."""
    x, query, key = drawn()
    output = trials.run(module, torch.tensor(x, dtype=getattr(torch, dtype))).output
    if output is None or output.shape != (ITEMS, TOKENS, WIDTH):
        return None
    shown = output.double().numpy().reshape(ITEMS, TOKENS, HEADS, HEAD_DIM)[..., :TOKENS]
    with np.errstate(all="ignore"):
        scores = np.log(shown / shown[..., :1]).transpose(0, 2, 1, 3).reshape(-1, TOKENS, TOKENS)
    hidden = np.triu(np.ones((TOKENS, TOKENS), dtype=bool), 1)  # where it is seen, it may be a leak
    scores[:, hidden] = np.nan
    scores[:, 0] = scores[:, :, 0] = np.nan
    scores[~np.isfinite(scores)] = np.nan
    return Measured(heads_of(x @ query), heads_of(x @ key), scores * np.sqrt(HEAD_DIM))


def heads_of(part: Array) -> Array:
    """(B, T, W) -> (P, T, D)."""
    by_head = part.reshape(ITEMS, TOKENS, HEADS, HEAD_DIM).transpose(0, 2, 1, 3)
    return by_head.reshape(-1, TOKENS, HEAD_DIM)


def conventions(bases: tuple[float, ...]) -> Iterator[Positions]:
    """The known conventions with these bases."""
    for base in bases:
        for portion in PORTIONS:
            for pairing in ("halves", "neighbours"):
                forwards = Positions(pairing, base, portion)
                yield forwards
                yield replace(forwards, direction="backwards")


def fitting(measured: Measured, bases: tuple[float, ...]) -> Positions | None:
    """The known convention that the scores follow; its base is estimated where none of these fits."""
    best = min(conventions(bases), key=measured.distance)
    if measured.distance(best) < ALIKE:
        return best
    guesses = [guess for one in conventions((1.0,)) if (guess := estimated(measured, one))]
    best = min(guesses, key=measured.distance, default=best)
    return best if measured.distance(best) < ALIKE else None


def estimated(measured: Measured, like: Positions) -> Positions | None:
    """A convention with the base that the angle of its second pair says."""
    if like.portion * HEAD_DIM < 4:
        return None
    speed = abs(float(measured.speeds(like.pairing, like.portion)[1]))
    if not 0.0 < speed < 1.0:
        return None
    base = speed ** -(like.portion * HEAD_DIM / 2)
    digits = f"{base:.3g}"
    return replace(like, base=float(digits)) if np.isfinite(base) and base >= LEAST_BASE else None
