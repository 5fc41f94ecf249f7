"""Wrong scales: what the scores are divided by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isqrt, sqrt

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.arithmetic import times
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula
from properties.subjects.subject import HEADED_FAMILIES, JOINED_FAMILIES, PROJECTED_FAMILIES
from properties.truth.bounds import Near
from properties.truth.parameters import Sizes

DIVISOR = "the divisor of the scores"


def scale(
    called: str, factor: Callable[[Sizes], float], families: Iterable[str] = PROJECTED_FAMILIES
) -> None:
    """Enter a formula whose scores are multiplied by factor(sizes)."""

    @wrong(called, DIVISOR, families)
    class Scaled(Formula):
        """Another factor."""

        @property
        def factor(self) -> float:
            return factor(self.sizes)


scale("scale absent", lambda s: 1.0)
scale("scale 1/sqrt(d_out)", lambda s: 1 / sqrt(s.width), JOINED_FAMILIES)
scale("scale 1/sqrt(num_heads * d_out)", lambda s: 1 / sqrt(s.width), {"wrapper"})
scale("scale 1/sqrt(d_in)", lambda s: 1 / sqrt(s.d_in))
scale("scale 1/sqrt(num_heads)", lambda s: 1 / sqrt(s.heads), HEADED_FAMILIES)
scale("scale 1/sqrt(tokens)", lambda s: 1 / sqrt(s.tokens))
scale("scale 1/sqrt(context_length)", lambda s: 1 / sqrt(s.context_length))
scale("scale 1/head_dim: applied twice, or the root left out", lambda s: 1 / s.head_dim)
scale("scale 1/(head_dim / 2): d ** 1 / 2 is d / 2", lambda s: 2 / s.head_dim)
scale("scale sqrt(head_dim): multiplied, not divided", lambda s: sqrt(s.head_dim))
scale("scale head_dim: multiplied, and the root left out", lambda s: float(s.head_dim))
scale("scale head_dim ** -0.25: applied to queries or keys alone", lambda s: s.head_dim**-0.25)
scale("scale by the whole part of sqrt(head_dim)", lambda s: 1 / isqrt(s.head_dim))
scale("scale of head_dim padded to a multiple of 8", lambda s: 1 / sqrt(-(-s.head_dim // 8) * 8))
scale("scale 1/8: that of heads of 64, hard-coded", lambda s: 1 / 8)
scale("scores negated", lambda s: -1 / sqrt(s.head_dim))
scale("scale 1/sqrt(d_in) where nothing is scaled", lambda s: 1 / sqrt(s.d_in), {"plain"})


@wrong("scale applied to the weights, after the softmax", DIVISOR)
class ScaleOfTheWeights(Formula):
    """Rows sum to 1 / sqrt(D)."""

    @property
    def factor(self) -> float:
        return 1.0

    def drop(self, weights: Near) -> Near:
        return super().drop(times(weights, 1 / sqrt(self.sizes.head_dim), self.fmt))


@wrong("scale applied before and after the softmax", DIVISOR)
class ScaleOfScoresAndWeights(Formula):
    """The scores are right, and the rows sum to 1 / sqrt(D)."""

    def drop(self, weights: Near) -> Near:
        return super().drop(times(weights, 1 / sqrt(self.sizes.head_dim), self.fmt))


@wrong("scale of the first head alone", DIVISOR, HEADED_FAMILIES)
class ScaleOfTheFirstHead(Formula):
    """The scores of the other heads are left as they are."""

    @property
    def factor(self) -> Array:
        factors = np.ones((self.sizes.heads, 1, 1))
        factors[0] = 1 / sqrt(self.sizes.head_dim)
        return factors
