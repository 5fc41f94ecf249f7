"""Attention step by step, each step a method that a wrong formula overrides.

Every step carries a bound on its error (`arithmetic.py`), so a formula says not only what its output
is but how far from it a subject may be that computes this very formula. No tolerance is chosen.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from properties.bounds import Near, exactly, merge_heads
from properties.case import Case
from properties.diagnosis.arithmetic import ALMOST, affine, product, softmax
from properties.dtypes import Array, Format
from properties.oracle import split
from properties.subject import FAMILIES, Weights

Seen = NDArray[np.bool_]


@lru_cache(maxsize=192)
def projection(case: Case, fmt: Format, name: str) -> Near:
    """The input through a projection as it should be, (B, T, W); most wrong formulas share it."""
    weights = case.weights
    matrix, bias = getattr(weights, name), getattr(weights, f"{name}_bias")
    return affine(exactly(case.x), matrix, bias, fmt)


class Formula:
    """Attention as it should be.

    called: what a wrong formula does; look: where to look for it; families: where it is wrong.
    """

    called: ClassVar[str] = "attention as specified"
    look: ClassVar[str] = ""
    families: ClassVar[frozenset[str]] = frozenset(FAMILIES)

    def __init__(self, case: Case, fmt: Format) -> None:
        self.case, self.fmt, self.sizes = case, fmt, case.sizes
        self.x = exactly(case.x)  # (B, T, d_in)

    @classmethod
    def fits(cls, case: Case) -> bool:
        """Whether the formula can be written down for these sizes and parameters."""
        return True

    @property
    def parameters(self) -> Weights:
        """The case's parameters, where the family has any."""
        if self.case.weights is None:
            raise ValueError(f"{self.called}: the case has no parameters")
        return self.case.weights

    def output(self) -> Near:
        """(B, T, W)."""
        queries, keys, values = (self.split(part) for part in self.project())
        weights = self.normalise(self.scale(self.score(queries, keys)))
        return self.finish(self.merge(self.mix(weights, values)))

    def project(self) -> tuple[Near, Near, Near]:
        """Queries, keys and values, each (B, T, W)."""
        if self.case.weights is None:
            return self.x, self.x, self.x
        return self.projected("query"), self.projected("key"), self.projected("value")

    def projected(self, name: str) -> Near:
        """The input through one projection, (B, T, W)."""
        return projection(self.case, self.fmt, name)

    def through_layer(self, matrix: Array, bias: Array | None) -> Near:
        """The input through a layer, (B, T, W)."""
        return affine(self.x, matrix, bias, self.fmt)

    def bias(self, name: str) -> Array | None:
        """The bias of one projection, (W,), where it has one."""
        bias: Array | None = getattr(self.parameters, f"{name}_bias")
        return bias

    def split(self, part: Near) -> Near:
        """(B, T, W) -> (B, H, T, D)."""
        heads = self.sizes.heads
        return Near(split(part.value, heads), split(part.error, heads))

    def score(self, queries: Near, keys: Near) -> Near:
        """(B, H, T, T)."""
        return product(queries, keys.turned, self.fmt, spare=ALMOST)

    def scale(self, scores: Near) -> Near:
        """The scores times `factor`, whose rounding `score` has left room for."""
        factor = np.abs(self.factor)
        return Near(scores.value * self.factor, scores.error * factor)

    @property
    def factor(self) -> Array | float:
        """What multiplies the scores."""
        return 1.0 / np.sqrt(self.sizes.head_dim) if self.case.scaled else 1.0

    def seen(self) -> Seen:
        """What a query sees, of a shape that broadcasts to (B, H, T, T)."""
        everything = np.ones((self.sizes.tokens, self.sizes.tokens), dtype=bool)
        return np.tril(everything) if self.case.causal else everything

    def normalise(self, scores: Near) -> Near:
        """Softmax over the keys that are seen."""
        return softmax(scores, self.seen(), -1, self.fmt)

    def mix(self, weights: Near, values: Near) -> Near:
        """(B, H, T, T), (B, H, T, D) -> (B, H, T, D)."""
        return product(weights, values, self.fmt)

    def merge(self, context: Near) -> Near:
        """(B, H, T, D) -> (B, T, W)."""
        return merge_heads(context)

    def finish(self, context: Near) -> Near:
        """The output projection where there is one."""
        weights = self.case.weights
        if weights is None or weights.out is None:
            return context
        return affine(context, weights.out, weights.out_bias, self.fmt)
