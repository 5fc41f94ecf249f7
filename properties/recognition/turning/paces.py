"""How fast a module turns each pair of columns, measured one key at a time, to many digits.

All tokens are zero but two: the last one, which has a query alone, and one before it, which has a key
and a value of one. The output is the weight of that key among keys that all score zero, so its odds
say the score; the angles at each distance follow from many such scores.

Legend: N items, T tokens, H heads, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError
from properties.recognition.adapters import trials
from properties.recognition.turning.measured import CONTEXT, HEADS, TOKENS, Build, carrying
from properties.truth.parameters import Sizes, Weights
from properties.truth.positions import Pairing, Slowed, base_powers, pairs

SPARE = 8  # items more than there are unknown numbers
EXPLAINED = 1e-4  # of the scores: what no turn explains in float32
STEADY = 1e-5  # radians: how far angles may be from growing by the same with every position
EQUAL = 1e-4  # of a length: pairs and distances whose lengths differ by more are not turned alone
TINY = 2.0**-50


@dataclass(frozen=True, eq=False)
class Pace:
    """frequencies: (R / 2,), the angle of each pair for one position; off: how far they may be wrong;
    strength: the product of turned columns over what it would be by 1 / sqrt(D), or over that of the
    columns that are left, where there are any.
    """

    frequencies: Array
    off: float
    strength: float


def pace(build: Build, dtype: str, head_dim: int, pairing: Pairing, portion: float) -> Pace | None:
    """The pace of these pairs; None where no trial runs, or what it shows is no turn of them by one
    angle for each position that lies between query and key.
    """
    fitted = [angles(rows, pairing, portion) for rows in trial(build, dtype, head_dim)]
    found = [each for each in fitted if each is not None]
    if len(found) < TOKENS - 1:
        return None
    distances = np.arange(1.0, TOKENS)
    lengths = np.stack([length for _, length in found])
    strength = float(lengths.mean())
    if not (strength > 0 and np.abs(lengths / strength - 1.0).max() < EQUAL):
        return None
    turned = np.stack([angle for angle, _ in found])
    speeds = turned[0]
    for last in range(
        1, TOKENS - 1
    ):  # how often an angle went round is said by the shorter distances
        rounds = np.round((distances[last] * speeds - turned[last]) / (2.0 * np.pi))
        turned[last] += 2.0 * np.pi * rounds
        so_far = distances[: last + 1]
        speeds = so_far @ turned[: last + 1] / (so_far @ so_far)
    worst = float(np.abs(turned - distances[:, None] * speeds).max())
    return Pace(speeds, 2.0 * worst + TINY, strength) if worst < STEADY else None


@dataclass(frozen=True, eq=False)
class Rows:
    """queries, keys: (P, D), a pair that met at one distance; scores: (P,), as products of the two."""

    queries: Array
    keys: Array
    scores: Array


def trial(build: Build, dtype: str, head_dim: int) -> Iterator[Rows]:
    """What is seen at each distance from 1 to T - 1; nothing where these sizes cannot be had."""
    g, width = np.random.default_rng(0), HEADS * head_dim
    items = head_dim + SPARE
    small = 2.0 ** -np.floor(np.log2(np.sqrt(head_dim) / 2.0))
    query, key, value = (np.zeros((width, width)) for _ in range(3))
    query[:head_dim], key[head_dim:] = (
        g.integers(-8, 9, size=(head_dim, width)) / 8.0 * small for _ in range(2)
    )
    value[head_dim, ::head_dim] = 1.0
    drawn = np.zeros((TOKENS - 1, items, TOKENS, width))
    for distance in range(1, TOKENS):
        here = drawn[distance - 1]
        here[:, -1, :head_dim] = g.integers(-8, 9, size=(items, head_dim)) / 8.0
        here[:, -1 - distance, head_dim:] = g.integers(-8, 9, size=(items, head_dim)) / 8.0
        here[:, -1 - distance, head_dim] = 1.0
    x = drawn.reshape(-1, TOKENS, width)
    sizes = Sizes(len(x), TOKENS, width, HEADS, head_dim, CONTEXT)
    module = carrying(Weights(query, key, value, out=np.eye(width)), sizes, build, dtype)
    if module is None:
        return
    output = trials.run(module, torch.tensor(x, dtype=getattr(torch, dtype))).output
    if output is None or output.shape != x.shape:
        return
    weight = output[:, -1, ::head_dim].double().numpy()  # (N, H)
    with np.errstate(all="ignore"):
        scores = np.log(weight * (TOKENS - 1) / (1.0 - weight)) * np.sqrt(head_dim)
    for distance in range(1, TOKENS):
        chosen = slice((distance - 1) * items, distance * items)
        queries, keys = (
            (x[chosen, place] @ matrix).reshape(-1, head_dim)
            for place, matrix in ((-1, query), (-1 - distance, key))
        )
        yield Rows(queries, keys, scores[chosen].reshape(-1))


def angles(rows: Rows, pairing: Pairing, portion: float) -> tuple[Array, Array] | None:
    """The angle of each pair and the length by which it is multiplied, (R / 2,) each; None where the
    scores are no sum over turned pairs.
    """
    if not np.isfinite(rows.scores).all():
        return None
    first, second = pairs(rows.queries.shape[-1], pairing, portion)
    a, b, c, d = (part[:, of] for part in (rows.queries, rows.keys) for of in (first, second))
    rest = np.setdiff1d(np.arange(rows.queries.shape[-1]), np.concatenate([first, second]))
    columns = [a * c + b * d, a * d - b * c]
    if rest.size:
        columns.append((rows.queries * rows.keys)[:, rest].sum(axis=-1, keepdims=True))
    matrix = np.concatenate(columns, axis=-1)
    best = np.linalg.lstsq(matrix, rows.scores, rcond=None)[0]
    left = np.linalg.norm(rows.scores - matrix @ best)
    if not left < EXPLAINED * np.linalg.norm(rows.scores):
        return None
    cosine, sine = best[: len(first)], best[len(first) : 2 * len(first)]
    whole = float(best[-1]) if rest.size else 1.0
    return np.arctan2(sine, cosine), np.hypot(cosine, sine) / whole


@dataclass(frozen=True, eq=False)
class AsMeasured:
    """Frequencies as shares of base**(-2 i / R), measured for each number of pairs that is asked for.

    power: what the shares are raised to, 1/2 where a scaling that was made twice is held to once.
    """

    build: Build
    dtype: str
    pairing: Pairing
    portion: float
    base: float
    power: float = 1.0
    known: dict[int, Slowed] = field(default_factory=dict)

    def __call__(self, number: int) -> Slowed:
        """Raises OutsideError where a head of that many pairs cannot be measured."""
        if number not in self.known:
            head_dim = round(2 * number / self.portion)
            found = pace(self.build, self.dtype, head_dim, self.pairing, self.portion)
            if found is None:
                raise OutsideError(f"frequencies for a head_dim of {head_dim}, no trial tells them")
            shares = np.abs(found.frequencies) / base_powers(self.base, number)
            self.known[number] = Slowed(shares**self.power, found.off)
        return self.known[number]
