"""Which weights a function of queries, keys and values gives, and how they depend on queries and keys.

Values are rows of the identity, so that the output is the weights. What a causal mask hides differs from
function to function, so some is asked of late queries and early keys alone.

Legend: T tokens, as many queries as keys; D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.recognition.adapters.function_shell import Function, shell_of, trial_config
from properties.subjects.call import Seen

TOKENS = 48
LATE, EARLY = slice(TOKENS // 2, None), slice(TOKENS // 2)
NEAR = 1e-3
"""Of the largest weight: more than float32 rounds, and less than another kind differs by."""
LOST = 1e-5
"""A weight or singular value below this share of the largest is rounding."""
GROWTH: Mapping[str, Callable[[Array], Array]] = {
    "itself": lambda weights: weights,
    "root": np.sqrt,
    "logarithm": np.log,
}
"""What of a weight grows with the score: of sparsemax, of entmax with exponent 1.5, and of a softmax."""


class Weighing:
    """The weights (T, T) of random queries and keys (T, D), nothing hidden where that can be told."""

    def __init__(self, function: Function) -> None:
        """Draw queries and keys of one head."""
        self.shell = shell_of(function, "self").eval()
        self.width = trial_config(function, "self").sizes.head_dim
        self.format = getattr(torch, function.trial)
        rng = np.random.default_rng(0)
        self.query, self.key = (rng.standard_normal((TOKENS, self.width)) for _ in range(2))
        self.scores: Array = self.query @ self.key.T / np.sqrt(self.width)

    def of(self, query: Array, key: Array) -> Array:
        """The weights (T, T), as many columns in a call as values have; NaN where a call gives none."""
        columns = [self.columns(query, key, first) for first in range(0, TOKENS, self.width)]
        return np.concatenate(columns, axis=1)[:, :TOKENS]

    def columns(self, query: Array, key: Array, first: int) -> Array:
        """The weights (T, D) of keys from the first on, of one item: items may be mixed by mistake."""
        value = np.eye(TOKENS, self.width, -first)
        parts = [torch.tensor(p[None, None], dtype=self.format) for p in (query, key, value)]
        output = trials.call(self.shell.attend, *parts).output
        if output is None or output.shape != parts[0].shape:
            return np.full(value.shape, np.nan)
        found: Array = output.detach().double().numpy()[0, 0]
        return found

    @cached_property
    def weights(self) -> Array:
        """Those of the queries and keys themselves."""
        return self.of(self.query, self.key)

    def same(self, other: Array) -> bool:
        """Whether other weights are these."""
        return bool(np.abs(other - self.weights).max() <= NEAR * np.abs(self.weights).max())

    def same_for(self, query: float = 1.0, key: float = 1.0) -> bool:
        """Whether queries and keys may be so many times as long."""
        return self.same(self.of(query * self.query, key * self.key))

    def same_moved(self, query: float, key: float) -> bool:
        """Whether so many times one vector may be added to all queries, and to all keys."""
        vector = np.linspace(-1.0, 1.0, self.width)
        return self.same(self.of(self.query + query * vector, self.key + key * vector))

    @property
    def given(self) -> bool:
        """Whether every call gives weights."""
        return bool(np.isfinite(self.weights).all() and self.weights.any())

    @property
    def right(self) -> bool:
        """Whether they are those of the definition, with the future hidden or not."""
        hidden = np.where(np.tri(TOKENS, dtype=np.bool_), self.scores, -np.inf)
        return any(self.same(softmax(scores)) for scores in (self.scores, hidden))

    @property
    def negative(self) -> bool:
        """Whether any is below zero."""
        return bool(self.weights.min() < -NEAR)

    @property
    def normalised(self) -> bool:
        """Whether each row sums to one, but for rows of zeros."""
        rows = self.weights[np.abs(self.weights).max(1) > 0]
        return bool(np.allclose(rows.sum(1), 1, atol=NEAR))

    @property
    def hard(self) -> bool:
        """Whether one key takes the whole of each row."""
        return bool((self.weights.max(1) > 1 - NEAR).all())

    @property
    def varied(self) -> bool:
        """Whether they depend on the queries and on the keys."""
        query, key = np.roll(self.query, 1, 0), np.roll(self.key, 1, 0)
        return not (self.same(self.of(query, self.key)) or self.same(self.of(self.query, key)))

    @property
    def of_few_features(self) -> bool:
        """Whether their rank is at most half of what the keys that are seen allow, and rows are no
        multiples of one.
        """
        block = self.weights[LATE, EARLY]
        seen = int((np.abs(block) > LOST).any(0).sum())
        values = np.linalg.svd(block, compute_uv=False)
        return 1 < int((values > LOST * values[0]).sum()) <= seen // 2

    @property
    def apart(self) -> bool:
        """Whether another last key changes no weight of those before it."""
        key = np.concatenate([self.key[:-1], 2.0 - self.key[-1:]])
        before = self.of(self.query, key)[:, :-1]
        return self.same(np.concatenate([before, self.weights[:, -1:]], axis=1))

    @property
    def short_of_one(self) -> bool:
        """Whether rows sum to less than one, and the odds are a softmax's."""
        own, right = (part[LATE, EARLY] for part in (self.weights, softmax(self.scores)))
        sums = own.sum(1, keepdims=True)
        odds = np.abs(own - right * sums / right.sum(1, keepdims=True)).max() < NEAR
        return bool(odds and (sums > 0).all() and (self.weights.sum(1) < 1 - NEAR).all())

    def sparse_by(self, growth: str) -> bool:
        """Whether rows sum to one, the best scores alone have a weight, and what grows with the score does
        so by one factor in all rows.
        """
        seen = self.weights > LOST
        if not self.normalised or self.negative or seen[LATE, EARLY].all():
            return False
        rows = range(TOKENS // 2, TOKENS)
        if not all(self.best(row, seen[row]) for row in rows):
            return False
        lines = [self.line(row, seen[row], growth) for row in rows if seen[row].sum() > 1]
        slopes, rests = np.array(lines).reshape(-1, 2).T
        rising = len(lines) > 0 and rests.max() < NEAR and slopes.min() > 0
        return bool(rising and np.ptp(slopes) < 10 * NEAR * slopes.max())

    def best(self, row: int, seen: Seen) -> bool:
        """Whether no key up to the query's own that is left out scores higher than one that is seen."""
        scores, left = self.scores[row], ~seen[: row + 1]
        return bool((scores[: row + 1][left] < scores[seen].min(initial=np.inf)).all())

    def line(self, row: int, seen: Seen, growth: str) -> tuple[float, float]:
        """The slope of what grows with the score, and how far it is from a line at most."""
        scores, grown = self.scores[row, seen], GROWTH[growth](self.weights[row, seen])
        slope, start = np.polyfit(scores, grown, 1)
        return float(slope), float(np.abs(slope * scores + start - grown).max())


def softmax(scores: Array) -> Array:
    """Of the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    found: Array = powers / powers.sum(-1, keepdims=True)
    return found
