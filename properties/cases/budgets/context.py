"""How far a mixture of values may leave their hull: no error of a score counts, only of the mixing.

The weights are exponentials over their own sum, so whatever the scores are, they sum to one up to
`bounds_weights.row_sums`, and none is negative. Their products with the values and the sum over the
keys add gamma(T + 4), a last projection by the identity gamma(W + 4), and what underflows is at
most one spacing each time. All of it is measured on the largest value that is mixed.

Legend: T tokens, W = H * D.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.budgets.weights import row_sums
from properties.cases.case import Case
from properties.truth.bounds import SPARE, gamma
from properties.truth.oracle import merge


def mixing(case: Case, largest: Array) -> Array:
    """The allowed error of mixtures of values of at most `largest` (B, T, W) in magnitude.

    Infinite where a magnitude of the example leaves the format's range.
    """
    fmt, s = FORMATS[case.dtype], case.sizes
    shape = (*case.trace.queries.shape[:-1], case.trace.values.shape[-1])
    weights = merge(np.broadcast_to(row_sums(case)[..., None], shape))
    roundings = gamma(s.tokens + SPARE, fmt) + gamma(s.width + SPARE, fmt)
    allowed = largest * (weights + roundings * (1.0 + weights))
    return allowed + (s.tokens + s.width + 2 * SPARE) * fmt.spacing_at_zero


def underflow(case: Case) -> float:
    """How far the contexts of values v and of -2 v may be from that factor: by underflow alone.

    T products and sums of the mixture and W of a projection, three times: once for -2 v, and twice
    for v. What is summed in float32 may be flushed to zero below its normal range. Infinite where
    doubled values might leave the format's range.
    """
    fmt, s = FORMATS[case.dtype], case.sizes
    if 4.0 * np.abs(case.trace.values).max(initial=0.0) > fmt.largest:
        return np.inf
    lost = max(fmt.spacing_at_zero, FORMATS["float32"].smallest_normal)
    return 3 * (2 * s.tokens + 2 * s.width + SPARE) * lost
