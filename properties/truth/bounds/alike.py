r"""How near is near where a few keys score alike and every other key is far below; see `cases/far_keys.py`.

The n keys that lead a row have the same products in the same columns as summands of their scores, and
every partial sum of these is exact, so their scores are the same number, whatever is done to it after. A
maximum is subtracted, or none, and a power taken: n times the same weight w, but for a last rounding of
it. Every other weight is at most w times exp(-step), which is zero in the format, and so is what a running
maximum has summed before the first of the n came. A column of the output sums r of the n weights, each
times a value of one, and is divided by the sum of all n: r + n additions, and roundings of the weights, of
their reciprocal or their quotients, of the products and of the output, each at most u of what it rounds.
With 24 for the latter,

    |c' - c| <= gamma(2 n + 24) c + the smallest normal.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array, Format
from properties.truth.bounds.arithmetic import gamma


def alike_error(right: Array, leading: Array, fmt: Format) -> Array:
    """The allowed error of an output (..., T, W); leading: how many keys lead each row, (T,)."""
    shares = np.array([gamma(2 * int(n) + 24, fmt) for n in leading])
    return np.asarray(shares[:, None] * right + fmt.smallest_normal)
