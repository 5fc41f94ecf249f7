r"""How far the weights of one query may be from a sum of one, however large its scores are.

Each exponential is divided by the sum of the same exponentials, so an error of the scores cancels:
`bounds.row_sum` is what the sums and the division leave. Where the sum is taken back into the
exponent, exp(z_j - log sum exp z), two roundings of a number as large as the scores stay there,
6 u (2 max|z| + 1) in all as in step 3 of `truth/bounds`, and move every weight of the row by that
exponential.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.truth.bounds import row_sum


def row_sums(case: Case) -> Array:
    """The allowed error of each sum of weights, (B, H, T); infinite where the range is left."""
    scores, head_dim = case.trace.scores, case.trace.queries.shape[-1]
    if not case.budget.claims:
        return np.full(scores.shape[:-1], np.inf)
    largest = np.abs(scores).max(axis=-1) * case.request.factor(head_dim)
    moved = 6.0 * FORMATS[case.dtype].unit_roundoff * (2.0 * largest + 1.0)
    grown: Array = np.exp(moved) * (1.0 + row_sum(case.sizes.tokens, case.dtype)) - 1.0
    return grown
