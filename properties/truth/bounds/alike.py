r"""How near is near where a few keys score alike and every other key is far below; see `cases/far_keys.py`.

The n keys that lead a row have the same products in the same columns as summands of their scores: three
of one step each, and in lowered rows one of minus four. Where the queries are handed over as they are,
every partial sum is exact, and the scores are the same number. A kernel may also scale queries and keys
before it multiplies them, by the root of the scale each, which is no power of two. Then products and
partial sums are rounded, in the order in which the columns lie, in the format or in float32 where that is
longer: by at most e = gamma(8) 7 step, for two factors, their product, four summands and the scale. A
weight then is w times a number between exp(-e) and exp(e).

A maximum is subtracted, or none, and a power taken: n times that weight, but for a last rounding of it.
Every other weight is at most w times exp(-step), which is zero in the format, and so is what a running
maximum has summed before the first of the n came. A column of the output sums r of the n weights, each
times a value of one, and is divided by the sum of all n: r + n additions, and roundings of the weights, of
their reciprocal or their quotients, of the products and of the output, each at most u of what it rounds.
With 24 for the latter,

    |c' - c| <= (gamma(2 n + 24) + exp(2 e) - 1) c + the smallest normal.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.bounds.arithmetic import gamma

SUMMANDS = 7.0  # steps of a score, all taken as positive


def alike_error(right: Array, leading: Array, fmt: Format, step: float) -> Array:
    """The allowed error of an output (..., T, W); leading: how many keys lead each row, (T,); step: between
    scaled scores.
    """
    summed_in = max(fmt, FORMATS["float32"], key=lambda one: one.significand)
    of_scores = gamma(8, summed_in) * SUMMANDS * step
    shares = np.array([gamma(2 * int(n) + 24, fmt) for n in leading]) + np.expm1(2.0 * of_scores)
    return np.asarray(shares[:, None] * right + fmt.smallest_normal)
