r"""How near is near: the error a right implementation may make, computed for this very example.

Standard forward analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3).
Let u be the unit roundoff of the format and gamma(n) = n u / (1 - n u). A sum of n products, in any
order, fused or not, is off by at most gamma(n) times the sum of the magnitudes; gamma(n) also covers
n further multiplications. eta is the format's spacing at zero: what one underflow may add.

1. Projections. |dq| <= Eq = gamma(d_in + 2) (|x||W| + |b|) + eta-terms; likewise Ek, Ev.
2. Scores z = q.k / sqrt(D). The scale may be applied to q, to k, to both by its root, or afterwards,
   as a product or a quotient: at most eight more roundings.
       Ez = ((|q| + Eq).(|k| + Ek) (1 + gamma(D + 8)) - |q|.|k|) / sqrt(D)
3. Exponents z_j - m, whatever the subtracted m (the row's maximum, or a running one, raised block by
   block as online softmax does: the raises add up to at most 2 max|z|), in base e or 2:
       Ea_j = Ez_j + 6 u (|z_j| + max|z|)
4. Softmax is conditioned by the exponents alone. If each is off by at most Ea_j, then
       exp(-Ea_j) / sum_k w_k exp(Ea_k) <= w'_j / w_j <= exp(Ea_j) / sum_k w_k exp(-Ea_k)
   Exponentials, the T-term sum, block rescalings and the division cost at most 4 T + 16 roundings,
   g = gamma(4 T + 16). With the two bounds called low and high:
       Ew_j = min(1, w_j max(high (1 + g) - 1, 1 - low (1 - g))) + smallest normal number
   (an exponential below the normal range may be flushed to zero). A hidden key has Ew = 0.
5. Context. Ec = sum_j Ew_j |v_j| + (w_j + Ew_j) Ev_j + gamma(T + 4) (w_j + Ew_j)(|v_j| + Ev_j).
6. Output projection. Eo = Ec |Wo| + gamma(W + 2) ((|c| + Ec) |Wo| + |bo|).

The oracle itself computes in float64, so its own budget (the same formula at u = 2**-53) is added.
Where a magnitude of step 1, 2 or 6 leaves the range of the format, a plain implementation may
overflow and nothing is claimed: the budget is infinite and the example does not count.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from properties.dtypes import FORMATS, Array, Format
from properties.oracle import Trace, split
from properties.subject import Weights

if TYPE_CHECKING:
    from properties.case import Case


@dataclass(frozen=True, eq=False)
class Budget:
    """The allowed absolute error of each result; infinite where nothing can be claimed."""

    weights: Array  # (B, H, T, T)
    context: Array  # (B, T, W)
    output: Array  # (B, T, W)

    @property
    def claims(self) -> bool:
        """Whether any error is told from none: the example stays in the format's range."""
        return bool(np.isfinite(self.output).all())


def budget(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, *, causal: bool, scaled: bool
) -> Budget:
    """The budget of one example, the oracle's own share included."""
    with np.errstate(all="ignore"):  # infinities are meant: they say that nothing is claimed
        subject = _Analysis(FORMATS[dtype], x, weights, trace, causal, scaled).budget()
        oracle = _Analysis(FORMATS["float64"], x, weights, trace, causal, scaled).budget()
    return Budget(
        subject.weights + oracle.weights,
        subject.context + oracle.context,
        subject.output + oracle.output,
    )


def gamma(roundings: int, fmt: Format) -> float:
    """n u / (1 - n u), the relative error of n roundings; infinite once n u reaches 1."""
    product = roundings * fmt.unit_roundoff
    return product / (1.0 - product) if product < 1.0 else np.inf


@dataclass(frozen=True, eq=False)
class _Analysis:
    """The six steps of the module's docstring for one format."""

    fmt: Format
    x: Array
    parameters: Weights | None
    trace: Trace
    causal: bool
    scaled: bool

    def budget(self) -> Budget:
        query_error, key_error, value_error = self.projection_errors()
        weights = self.weight_errors(self.exponent_errors(query_error, key_error))
        context = self.context_errors(weights, value_error)
        batch, heads, tokens, head_dim = context.shape
        merged = context.transpose(0, 2, 1, 3).reshape(batch, tokens, heads * head_dim)
        output = self.output_errors(merged)
        if not self.in_range(query_error, key_error):
            return Budget(*(np.full_like(part, np.inf) for part in (weights, merged, output)))
        return Budget(weights, merged, output)

    def projection_errors(self) -> tuple[Array, Array, Array]:
        p, heads = self.parameters, self.trace.queries.shape[1]
        if p is None:
            zero = np.zeros_like(self.trace.queries)
            return zero, zero, zero
        pairs = ((p.query, p.query_bias), (p.key, p.key_bias), (p.value, p.value_bias))
        query, key, value = (split(self.affine_errors(self.x, w, b), heads) for w, b in pairs)
        return query, key, value

    def affine_errors(self, x: Array, matrix: Array, bias: Array | None) -> Array:
        terms = matrix.shape[0] + 2
        magnitude = affine_magnitude(x, matrix, bias)
        return gamma(terms, self.fmt) * magnitude + terms * self.fmt.spacing_at_zero

    def exponent_errors(self, query_error: Array, key_error: Array) -> Array:
        head_dim = self.trace.queries.shape[-1]
        scale = 1.0 / np.sqrt(head_dim) if self.scaled else 1.0
        exact = inner(np.abs(self.trace.queries), np.abs(self.trace.keys))
        grown = inner(np.abs(self.trace.queries) + query_error, np.abs(self.trace.keys) + key_error)
        score_error = grown - exact + gamma(head_dim + 8, self.fmt) * grown
        score_error += head_dim * self.fmt.spacing_at_zero
        z = np.abs(self.trace.scores) * scale
        largest = np.where(self.visible(), z, 0.0).max(axis=-1, keepdims=True)
        errors: Array = score_error * scale + 6 * self.fmt.unit_roundoff * (z + largest)
        return errors

    def weight_errors(self, exponent_errors: Array) -> Array:
        w, tokens = self.trace.weights, self.trace.weights.shape[-1]
        growth = np.exp(np.minimum(exponent_errors, 700.0))
        high = growth / (w / growth).sum(axis=-1, keepdims=True)
        low = 1.0 / growth / (w * growth).sum(axis=-1, keepdims=True)
        rounding = gamma(4 * tokens + 16, self.fmt)
        relative = np.maximum(high * (1.0 + rounding) - 1.0, 1.0 - low * (1.0 - rounding))
        errors = np.minimum(np.nan_to_num(w * relative, nan=np.inf), 1.0)
        return np.where(self.visible(), errors + self.fmt.smallest_normal, 0.0)

    def context_errors(self, weight_error: Array, value_error: Array) -> Array:
        w, v = self.trace.weights, np.abs(self.trace.values)
        tokens = w.shape[-1]
        grown = w + weight_error
        errors: Array = weight_error @ v + grown @ value_error
        errors += gamma(tokens + 4, self.fmt) * (grown @ (v + value_error))
        return errors + (tokens + 2) * self.fmt.spacing_at_zero

    def output_errors(self, context_error: Array) -> Array:
        p = self.parameters
        if p is None or p.out is None:
            return context_error
        grown = np.abs(self.trace.context) + context_error
        rounding = self.affine_errors(grown, p.out, p.out_bias)
        return context_error @ np.abs(p.out) + rounding

    def in_range(self, query_error: Array, key_error: Array) -> bool:
        """Whether every intermediate magnitude stays below the largest number of the format."""
        p, trace = self.parameters, self.trace
        magnitudes = [inner(np.abs(trace.queries) + query_error, np.abs(trace.keys) + key_error)]
        if p is not None:
            pairs = ((p.query, p.query_bias), (p.key, p.key_bias), (p.value, p.value_bias))
            magnitudes += [affine_magnitude(self.x, matrix, bias) for matrix, bias in pairs]
            if p.out is not None:
                magnitudes.append(affine_magnitude(trace.context, p.out, p.out_bias))
        return all(bool((m < self.fmt.largest / 2).all()) for m in magnitudes if m.size)

    def visible(self) -> Array:
        """(T, T): whether query i may see key j."""
        tokens = self.trace.weights.shape[-1]
        everything = np.ones((tokens, tokens), dtype=bool)
        return np.tril(everything) if self.causal else everything


def inner(queries: Array, keys: Array) -> Array:
    """(B, H, T, D), (B, H, T, D) -> (B, H, T, T)."""
    return queries @ keys.swapaxes(-1, -2)


def affine_magnitude(x: Array, matrix: Array, bias: Array | None) -> Array:
    """|x| |matrix| + |bias|."""
    product = np.abs(x) @ np.abs(matrix)
    return product if bias is None else product + np.abs(bias)


def row_sum(tokens: int, dtype: str) -> float:
    """The allowed error of the sum of one query's weights: step 4 without the exponents' error."""
    fmt = FORMATS[dtype]
    return gamma(5 * tokens + 24, fmt) + tokens * fmt.smallest_normal


def difference(case: Case) -> Array:
    """How far two runs of a right implementation on the same visible input may be apart, (B, T, W).

    Each is within its budget of the same truth. Where no weights can be set there is no budget;
    then half of the format's digits must agree, measured on the largest output: a leak through an
    open mask is of order one, and anything below the square root of u is not claimed.
    """
    if case.known:
        return 2.0 * case.budget.output
    largest = np.abs(case.output).max(initial=0.0)
    return np.full_like(case.output, np.sqrt(FORMATS[case.dtype].unit_roundoff) * largest)


def survivors(weights: Array, allowed: Array, probability: float, dtype: str) -> Array:
    """The allowed error of weights (each off by `allowed`) times 1 / (1 - p): four roundings more."""
    return (allowed + gamma(4, FORMATS[dtype]) * (weights + allowed)) / (1.0 - probability)
