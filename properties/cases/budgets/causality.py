r"""What rounding may leave of a gradient that the causal mask makes zero.

With minus infinity before the softmax every hidden term is zero times something finite. Where
weights are zeroed after the softmax and divided by what is left, N, a hidden score's gradient is

    -e_j sum_k e_k (dw_k - delta) / N,   delta = sum_k w_k dw_k,   e the softmax without a mask,

a sum over the visible k that is zero because w_k = e_k / N. Its terms are at most 2 w_k max|dw|
and carry at most 4 T + 16 roundings each (two sums, quotients, products), so of a hidden score's
gradient at most 2 gamma(4 T + 16) max|dw| is left. A key's gradient is the sum of that over the
queries, times q / sqrt(D), and W_k takes it to the input. The hidden value has weight zero, the
hidden query no upstream.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.truth.attend import over_groups, repeated
from properties.truth.bounds import gamma
from properties.truth.oracle import merge, split


def hidden_gradient(case: Case, upstream: Array, found: Array) -> Array:
    """What may be left in the gradient of a hidden token, (B, 1, d_in).

    upstream: (B, T, W); found: (B, T, d_in), the whole gradient. Where no weights can be set, half
    of the format's digits of the largest entry found: a leak is of the order of that entry.
    """
    fmt, p, s = FORMATS[case.dtype], case.weights, case.sizes
    if p is None:
        largest = np.abs(found).max(initial=0.0)
        return np.full((s.batch, 1, s.d_in), np.sqrt(fmt.unit_roundoff) * largest)
    trace, magnitude = case.trace, np.abs(upstream)
    to_context = split(magnitude if p.out is None else magnitude @ np.abs(p.out).T, s.heads)
    values = repeated(np.abs(trace.values), s.heads)
    to_weights = (to_context @ values.swapaxes(-1, -2)).max(axis=-1, keepdims=True)
    if not case.budget.claims or to_weights.max(initial=0.0) * s.tokens > fmt.largest / 2:
        return np.full((s.batch, 1, s.d_in), np.inf)
    left = 2.0 * gamma(4 * s.tokens + 16, fmt) * to_weights
    to_keys = (left * np.abs(trace.queries)).sum(axis=-2, keepdims=True) / np.sqrt(s.head_dim)
    to_x: Array = merge(over_groups(to_keys, s.key_heads)) @ np.abs(p.key).T
    return to_x
