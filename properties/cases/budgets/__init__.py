"""How far two runs of a subject may be apart on one example, be what it computes right or wrong."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.truth.bounds import gamma


def one_run(case: Case) -> Array:
    """How far a run may be from what the subject computes, be that right or wrong, (B, T, W).

    Where this very output is right, that is its budget. Where it is not, another formula is computed,
    which may round worse: with a large future mixed in, or with scores that are not scaled. Then half
    of the format's digits, measured on the largest output, are allowed besides; what is wrong is told
    by the laws that hold the output against the truth, and what else goes wrong, such as a leak from
    item to item, is of order one. Where no weights can be set there is no truth to be right by, and
    half of the digits are allowed as far as rounding leaves them.
    """
    output = case.output
    if case.known:
        allowed = case.budget.output
        if output.shape != allowed.shape or bool(
            (np.abs(output - case.trace.output) <= allowed).all()
        ):
            return allowed
        return allowed + half_the_digits(case)
    allowed = half_the_digits(case) / 2.0
    return allowed if digits_are_left(case) else np.full_like(allowed, np.inf)


@lru_cache(maxsize=16)
def digits_are_left(case: Case) -> bool:
    """Whether rounding leaves half of the digits of an output whose weights are the module's own.

    A weight moves as its exponent does: by the rounding of queries, keys and their product, by a
    relative error of gamma(2 d_in + D + 20) of the score, and by step 3. With no parameter larger
    than p, no row of the input larger than r in the sum of its magnitudes, a query is at most
    p (r + 1), and so is a key; a score is at most D times its square, were it not scaled either. Of
    large input nothing is left in a short format: two layouts may then give two outputs.
    """
    fmt, s = FORMATS[case.dtype], case.sizes
    parameters = case.build().module.parameters()
    largest = max((float(p.detach().abs().max()) for p in parameters if p.numel()), default=0.0)
    row = max(float(np.abs(x).sum(axis=-1).max(initial=0.0)) for x in (case.x, case.other))
    score = s.head_dim * (largest * (row + 1.0)) ** 2
    moved = gamma(2 * s.d_in + s.head_dim + 20, fmt) * score
    moved += 6.0 * fmt.unit_roundoff * (2.0 * score + 1.0)
    return bool(moved <= np.sqrt(fmt.unit_roundoff))


def half_the_digits(case: Case) -> Array:
    """The square root of u times the largest output, (B, T, W)."""
    output = case.output
    largest = np.abs(output[np.isfinite(output)]).max(initial=0.0)
    return np.full_like(output, np.sqrt(FORMATS[case.dtype].unit_roundoff) * largest)


def difference(case: Case) -> Array:
    """How far two runs on the same visible input may be apart, (B, T, W): each by `one_run`."""
    return 2.0 * one_run(case)
