r"""How near is near: the error a right implementation may make, computed for this very example.

Standard running analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3).
Let u be the unit roundoff of the format and gamma(n) = n u / (1 - n u). A sum of n products, in any
order, fused or not, is off by at most gamma(n) times the sum of the magnitudes; gamma also covers
further multiplications, one each. eta is the format's spacing at zero: what one underflow may add.
Every quantity carries a value a and a bound on its error Ea; for a product of matrices

    E(ab) = |a| Eb + Ea |b| + Ea Eb + gamma(n + 4) (|a| + Ea)(|b| + Eb) + (n + 4) eta          (*)

where four roundings are left for storing, casting and scaling either factor. Forward:

1. Queries, keys, values: (*), the bias one more term.
2. Scores z = q.k / sqrt(D): (*). The scale may be applied to q, to k, to both by its root, or
   afterwards, as a product or a quotient: gamma(D + 8) covers them all.
3. Exponents z_j - m, whatever the subtracted m (the row's maximum, its log-sum-exp, or a running
   maximum raised block by block as online softmax does: the raises add up to at most 2 max|z|), in
   base e or 2:  Ea_j = Ez_j + 6 u (|z_j| + max|z| + 1).
4. Softmax is conditioned by the exponents alone. If each is off by at most Ea_j, then
       exp(-Ea_j) / sum_k w_k exp(Ea_k) <= w'_j / w_j <= exp(Ea_j) / sum_k w_k exp(-Ea_k)
   Exponentials, the T-term sum, block rescalings and the division cost at most 4 T + 16 roundings,
   g = gamma(4 T + 16). With the two bounds called low and high:
       Ew_j = min(1, w_j max(high (1 + g) - 1, 1 - low (1 - g))) + smallest normal number
   (an exponential below the normal range may be flushed to zero). A hidden key has Ew = 0.
5. Context: (*) of weights and values. 6. Output: (*) of context and Wo, the bias one more term.

Backward, for sum(G * output) with G given: the chain rule is products again, each (*), except for
the softmax: dz = w (dw - delta), where delta is sum_j w_j dw_j or, as flash attention has it,
sum_d dc_d c_d; the worse of the two is allowed, and the product rule gives Edz.

The oracle itself computes in float64, so its own budget (the same formula at u = 2**-53) is added.
Where a magnitude leaves the range of the format, a plain implementation may overflow and nothing is
claimed: the budget is infinite and the example does not count.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.oracle import Gradients, Trace, merge, split
from properties.truth.parameters import Weights

SPARE = 4  # roundings of (*) beyond the terms of the sum


@dataclass(frozen=True, eq=False)
class Budget:
    """The allowed absolute error of the output; infinite where nothing can be claimed."""

    output: Array  # (B, T, W)

    @property
    def claims(self) -> bool:
        """Whether any error is told from none: the example stays in the format's range."""
        return bool(np.isfinite(self.output).all())


@dataclass(frozen=True, eq=False)
class GradientBudget:
    """The allowed absolute error of the gradients of the input and of each parameter."""

    x: Array
    parameters: Weights | None


def budget(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, *, causal: bool, scaled: bool
) -> Budget:
    """The budget of one example's forward pass, the oracle's own share included."""
    with np.errstate(all="ignore"):  # infinities are meant: they say that nothing is claimed
        subject, oracle = (
            Forward(FORMATS[name], x, weights, trace, causal, scaled).budget()
            for name in (dtype, "float64")
        )
    return Budget(subject.output + oracle.output)


def gradient_budget(
    x: Array,
    weights: Weights | None,
    trace: Trace,
    gradients: Gradients,
    upstream: Array,
    dtype: str,
    *,
    causal: bool,
    scaled: bool,
) -> GradientBudget:
    """The budget of one example's backward pass, the oracle's own share included."""
    with np.errstate(all="ignore"):
        subject, oracle = (
            Backward(
                Forward(FORMATS[name], x, weights, trace, causal, scaled), gradients, upstream
            ).budget()
            for name in (dtype, "float64")
        )
    if subject.parameters is None or oracle.parameters is None:
        return GradientBudget(subject.x + oracle.x, None)
    own, other = subject.parameters, oracle.parameters
    sums = {
        field.name: getattr(own, field.name) + getattr(other, field.name)
        for field in fields(Weights)
        if getattr(own, field.name) is not None
    }
    return GradientBudget(subject.x + oracle.x, Weights(**sums))


def gamma(roundings: int, fmt: Format) -> float:
    """The bound n u / (1 - n u), the relative error of n roundings; infinite once n u reaches 1."""
    product = roundings * fmt.unit_roundoff
    return product / (1.0 - product) if product < 1.0 else np.inf


@dataclass(frozen=True, eq=False)
class Near:
    """A quantity's true value and a bound on the error of the computed one."""

    value: Array
    error: Array

    @property
    def size(self) -> Array:
        """The magnitude of the true value."""
        return np.abs(self.value)

    @property
    def grown(self) -> Array:
        """The largest magnitude that the computed one may have."""
        return self.size + self.error

    @property
    def turned(self) -> Near:
        """The last two axes exchanged."""
        return Near(self.value.swapaxes(-1, -2), self.error.swapaxes(-1, -2))


def exactly(value: Array) -> Near:
    """What is given, not computed."""
    return Near(value, np.zeros_like(value))


def merge_heads(parts: Near) -> Near:
    """(B, H, T, D) -> (B, T, W)."""
    return Near(merge(parts.value), merge(parts.error))


def over_all_tokens(tensor: Near) -> Near:
    """(B, T, N) -> (B * T, N)."""
    columns = tensor.value.shape[-1]
    return Near(tensor.value.reshape(-1, columns), tensor.error.reshape(-1, columns))


def product_error(a: Near, b: Near, fmt: Format, spare: int = SPARE) -> Array:
    """Equation (*): the error of a @ b."""
    terms = a.value.shape[-1] + spare
    carried: Array = a.size @ b.error + a.error @ b.size + a.error @ b.error
    return carried + gamma(terms, fmt) * (a.grown @ b.grown) + terms * fmt.spacing_at_zero


@dataclass(frozen=True, eq=False)
class Forward:
    """Steps 1 to 6 of the module's docstring for one format."""

    fmt: Format
    x: Array
    parameters: Weights | None
    trace: Trace
    causal: bool
    scaled: bool

    def budget(self) -> Budget:
        """The allowed error; infinite where a magnitude leaves the format's range."""
        error = self.output(merge_heads(self.context(self.weights))).error
        return Budget(error if self.in_range() else np.full_like(error, np.inf))

    @property
    def scale(self) -> float:
        """What multiplies the scores."""
        return 1.0 / float(np.sqrt(self.trace.queries.shape[-1])) if self.scaled else 1.0

    @cached_property
    def projected(self) -> tuple[Near, Near, Near]:
        """Step 1: queries, keys and values, each (B, H, T, D)."""
        p, t = self.parameters, self.trace
        if p is None:
            return exactly(t.queries), exactly(t.keys), exactly(t.values)
        triples = (
            (t.queries, p.query, p.query_bias),
            (t.keys, p.key, p.key_bias),
            (t.values, p.value, p.value_bias),
        )
        heads = t.queries.shape[1]
        query, key, value = (
            Near(result, split(self.affine_error(exactly(self.x), matrix, bias), heads))
            for result, matrix, bias in triples
        )
        return query, key, value

    def affine_error(self, x: Near, matrix: Array, bias: Array | None) -> Array:
        """The error of x @ matrix + bias."""
        error = product_error(x, exactly(matrix), self.fmt)
        if bias is not None:
            error += gamma(len(matrix) + SPARE, self.fmt) * np.abs(bias)
        return error

    def exponent_errors(self) -> Array:
        """Steps 2 and 3."""
        query, key, _ = self.projected
        score_error = product_error(query, key.turned, self.fmt, spare=8)
        z = np.abs(self.trace.scores) * self.scale
        largest = np.where(self.visible(), z, 0.0).max(axis=-1, keepdims=True, initial=0.0)
        errors: Array = score_error * self.scale
        return errors + 6 * self.fmt.unit_roundoff * (z + largest + 1.0)

    @cached_property
    def weights(self) -> Near:
        """Step 4."""
        w, tokens = self.trace.weights, self.trace.weights.shape[-1]
        growth = np.exp(np.minimum(self.exponent_errors(), 700.0))
        high = growth / (w / growth).sum(axis=-1, keepdims=True)
        low = 1.0 / growth / (w * growth).sum(axis=-1, keepdims=True)
        rounding = gamma(4 * tokens + 16, self.fmt)
        relative = np.maximum(high * (1.0 + rounding) - 1.0, 1.0 - low * (1.0 - rounding))
        errors = np.minimum(np.nan_to_num(w * relative, nan=np.inf), 1.0)
        return Near(w, np.where(self.visible(), errors + self.fmt.smallest_normal, 0.0))

    def context(self, weights: Near) -> Near:
        """Step 5, (B, H, T, D)."""
        heads = self.trace.values.shape[1]
        error = product_error(weights, self.projected[2], self.fmt)
        return Near(split(self.trace.context, heads), error)

    def output(self, context: Near) -> Near:
        """Step 6."""
        p = self.parameters
        if p is None or p.out is None:
            return context
        return Near(self.trace.output, self.affine_error(context, p.out, p.out_bias))

    def in_range(self) -> bool:
        """Whether every intermediate magnitude stays below the largest number of the format."""
        p = self.parameters
        query, key, value = self.projected
        magnitudes = [query.grown @ key.turned.grown, value.grown]
        if p is not None:
            pairs = ((p.query, p.query_bias), (p.key, p.key_bias), (p.value, p.value_bias))
            magnitudes += [affine_magnitude(self.x, matrix, bias) for matrix, bias in pairs]
            if p.out is not None:
                magnitudes.append(affine_magnitude(self.trace.context, p.out, p.out_bias))
        return all(bool((m < self.fmt.largest / 2).all()) for m in magnitudes)

    def visible(self) -> NDArray[np.bool_]:
        """(B, H, T, S): whether query i may see key j."""
        return self.trace.attended.seen


@dataclass(frozen=True, eq=False)
class Backward:
    """The chain rule for one format."""

    forward: Forward
    gradients: Gradients
    upstream: Array

    def budget(self) -> GradientBudget:
        """The allowed errors; all infinite where a magnitude leaves the format's range."""
        query, key, value = (merge_heads(part) for part in self.to_projected())
        named = self.to_parameters(query, key, value)
        to_x = self.to_input(query, key, value)
        if not self.in_range(to_x):
            unknown = {n: np.full_like(e, np.inf) for n, e in named.items()}
            return GradientBudget(np.full_like(to_x, np.inf), Weights(**unknown) if named else None)
        return GradientBudget(to_x, Weights(**named) if named else None)

    @property
    def fmt(self) -> Format:
        """The format of the whole pass."""
        return self.forward.fmt

    def in_range(self, to_x: Array) -> bool:
        """Whether forward pass and gradients stay below the largest number of the format."""
        g, limit = self.gradients, self.fmt.largest / 2
        magnitudes = (to_x, np.abs(g.attended.weights), np.abs(g.context), np.abs(g.x) + to_x)
        return self.forward.in_range() and all(bool((m < limit).all()) for m in magnitudes)

    @cached_property
    def to_context(self) -> Near:
        """The gradient of the context, (B, H, T, D)."""
        out = None if self.forward.parameters is None else self.forward.parameters.out
        if out is None:
            return exactly(self.gradients.context)
        error = product_error(exactly(self.upstream), exactly(out.T), self.fmt)
        return Near(self.gradients.context, split(error, self.gradients.context.shape[1]))

    def to_projected(self) -> tuple[Near, Near, Near]:
        """The gradients of queries, keys and values, each (B, H, T, D)."""
        g, fmt = self.gradients.attended, self.fmt
        query, key, value = self.forward.projected
        weights, to_context = self.forward.weights, self.to_context
        to_weights = Near(g.weights, product_error(to_context, value.turned, fmt))
        centred = Near(g.centred, to_weights.error + self.mean_error(weights, to_weights))
        to_scores = Near(g.scores, self.score_error(weights, to_weights, centred))
        return (
            Near(g.queries, product_error(to_scores, key, fmt)),
            Near(g.keys, product_error(to_scores.turned, query, fmt)),
            Near(g.values, product_error(weights.turned, to_context, fmt)),
        )

    def mean_error(self, weights: Near, to_weights: Near) -> Array:
        """The error of delta, (B, H, T, 1), by the worse of its two forms."""
        to_context, context = self.to_context, self.forward.context(weights)
        return np.maximum(
            dot_error(weights, to_weights, self.fmt), dot_error(to_context, context, self.fmt)
        )

    def score_error(self, weights: Near, to_weights: Near, centred: Near) -> Array:
        """The product rule for w (dw - delta), scaled; the subtraction rounds dw and delta too."""
        mean = np.abs(to_weights.value - centred.value)
        largest = to_weights.grown + mean + centred.error
        error = weights.error * largest + weights.size * centred.error
        error += gamma(8, self.fmt) * weights.grown * largest
        visible = self.forward.visible()
        return np.where(visible, (error + self.fmt.spacing_at_zero) * self.forward.scale, 0.0)

    def to_parameters(self, query: Near, key: Near, value: Near) -> dict[str, Array]:
        """The allowed error of each parameter's gradient by name."""
        p, fmt = self.forward.parameters, self.fmt
        if p is None:
            return {}
        x = over_all_tokens(exactly(self.forward.x)).turned
        parts = {"query": query, "key": key, "value": value}
        named = {n: product_error(x, over_all_tokens(part), fmt) for n, part in parts.items()}
        if p.query_bias is not None:
            named |= {f"{n}_bias": self.sum_error(part) for n, part in parts.items()}
        if p.out is not None:
            context = merge_heads(self.forward.context(self.forward.weights))
            upstream = over_all_tokens(exactly(self.upstream))
            named["out"] = product_error(over_all_tokens(context).turned, upstream, fmt)
        if p.out_bias is not None:
            named["out_bias"] = self.sum_error(exactly(self.upstream))
        return named

    def sum_error(self, part: Near) -> Array:
        """The error of a sum over all tokens of (B, T, W)."""
        rows = over_all_tokens(part)
        total: Array = rows.error.sum(axis=0)
        return total + gamma(len(rows.value) + SPARE, self.fmt) * rows.grown.sum(axis=0)

    def to_input(self, query: Near, key: Near, value: Near) -> Array:
        """The allowed error of the input's gradient: three products and their sum."""
        p = self.forward.parameters
        parts = (query, key, value)
        if p is None:
            error = sum(part.error + gamma(SPARE, self.fmt) * part.grown for part in parts)
            return np.asarray(error)
        matrices = (p.query, p.key, p.value)
        errors = (
            product_error(part, exactly(matrix.T), self.fmt, spare=SPARE + 2)
            for part, matrix in zip(parts, matrices, strict=True)
        )
        return np.asarray(sum(errors))


def dot_error(a: Near, b: Near, fmt: Format) -> Array:
    """The error of sum(a * b) over the last axis, which stays with length 1."""
    terms = a.value.shape[-1] + SPARE
    carried = a.size * b.error + a.error * b.size + a.error * b.error
    error = carried + gamma(terms, fmt) * a.grown * b.grown
    total: Array = error.sum(axis=-1, keepdims=True)
    return total + terms * fmt.spacing_at_zero


def affine_magnitude(x: Array, matrix: Array, bias: Array | None) -> Array:
    """|x| |matrix| + |bias|."""
    product: Array = np.abs(x) @ np.abs(matrix)
    return product if bias is None else product + np.abs(bias)


def row_sum(tokens: int, dtype: str) -> float:
    """The allowed error of the sum of one query's weights: step 4 without the exponents' error."""
    fmt = FORMATS[dtype]
    return gamma(5 * tokens + 24, fmt) + tokens * fmt.smallest_normal


def survivors(weights: Array, allowed: Array, probability: float, dtype: str) -> Array:
    """The allowed error of weights (each off by `allowed`) times 1 / (1 - p): four more roundings."""
    return (allowed + gamma(4, FORMATS[dtype]) * (weights + allowed)) / (1.0 - probability)
