r"""How near is near: the error a right implementation may make, computed for this very example.

Standard running analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3).
Let u be the unit roundoff of the format and gamma(n) = n u / (1 - n u). A sum of n products, in any
order, fused or not, is off by at most gamma(n) times the sum of the magnitudes; gamma also covers
further multiplications, one each; products that are zero count for nothing. eta is the format's
spacing at zero: what one underflow may add. Every quantity carries a value a and a bound on its error
Ea; for a product of matrices

    E(ab) = |a| Eb + Ea |b| + Ea Eb + gamma(n + 4) (|a| + Ea)(|b| + Eb) + (n + 4) eta          (*)

where four roundings are left for storing, casting and scaling either factor. Forward:

1. Queries, keys, values: (*), the bias one more term.
1a. Rotary positions: a' = a cos t - b sin t, likewise b'. The frequency base**-e is off by at most
   gamma(3 e ln(base) + 9) of itself (e ln(base) is a product of two rounded numbers, and moves the
   power by itself; 8 for the function, 1 for a reciprocal), the angle by one rounding more; cosine
   and sine move by no more than the angle, by 8 u of their own, and by the cast to the format. Let Et
   be all of that, then
       Ea' = |cos t| Ea + |sin t| Eb + (Et + gamma(4)) (|a| + Ea + |b| + Eb) + 4 eta.
   It is assumed that positions are exact (in float32: below 2**24) and that angles, cosines and sines
   are computed in a format of at least `angles`, float32 unless given, whatever the format of the
   rest. Position zero is exact.
2. Scores z = scale q.k: (*). The scale may be applied to q, to k, to both by its root, or afterwards,
   as a product or a quotient: gamma(D + 8) covers them all.
2a. A cap y = c tanh(z / c) is monotonous and never steeper than 1: Ez moves it by what it is moved at
   the ends z - Ez and z + Ez. A relative error d of z / c moves y by (z sech(z/c)**2) d, no more than
   |y| d; one of c by no more than |y| d either. So with two roundings of z / c (or of scale / c), one
   of c, eight of a tanh that is right to four units in the last place, and one of the last product,
   gamma(12) |y|. A kernel may have it from exponentials, 1 - 2 / (1 + exp(2 z / c)) or
   (exp(2 z / c) - 1) / (exp(2 z / c) + 1), which is right near zero in the absolute only: half the
   error 8 u of the exponential, 2 |x| sech(x)**2 u < u of its argument, 2 u each of 1 + exp, of the
   quotient, which is below 2, and u of the difference: 10 u c. It is assumed that such a kernel
   computes it in float32 at least, so that is the u of this term.
       Ey = max(y(z + Ez) - y, y - y(z - Ez)) + gamma(12) |y| + 10 u c
2b. A bias: given exactly, cast to the format, taken to base two as y is (a rounded constant, a
   product), and added: gamma(4) (|y| + |b|).
3. Exponents z_j - m, whatever the subtracted m: the row's largest exponent (or the sink, if that is
   larger), its log-sum-exp, or a running maximum raised block by block as online softmax does, which
   lies between z_j and the largest from the block of j on, so that the raises add up to no more than
   |z_j| + |m|; in base e or 2:  Ea_j = Ez_j + 6 u (|z_j| + max(|z_j|, |m|) + 1). The same of a sink.
4. Softmax is conditioned by the exponents alone. If each is off by at most Ea_j, then
       exp(-Ea_j) / sum_k w_k exp(Ea_k) <= w'_j / w_j <= exp(Ea_j) / sum_k w_k exp(-Ea_k)
   where the sums run over what is seen, n keys, and the sink, one term more. Exponentials, the sum,
   block rescalings and the division cost at most 4 n + 16 roundings, g = gamma(4 n + 16): an unseen
   key adds zero, and a block of such keys rescales by one. With the two bounds called low and high:
       Ew_j = min(1, w_j max(high (1 + g) - 1, 1 - low (1 - g))) + smallest normal number
   (an exponential below the normal range may be flushed to zero). A hidden key has Ew = 0. A mean of
   weights over H heads is off by the mean of Ew and gamma(H + 4). A row that sees nothing has zeros
   exactly, or 1 / S each, off by g of that.
4a. The logarithm of the denominator, m + log(sum exp(z_j - m)), moves by no more than its exponents
   make the sum move and by -log(1 - g); log(sum) is between 0 and log(n + 1), right to four units in
   the last place, and either part may be taken from base two (a rounded constant, a product) and
   added: Else = max(log sum_k w_k exp(Ea_k), -log sum_k w_k exp(-Ea_k)) - log(1 - g)
       + gamma(12) (|m| + log(n + 1)).
5. Context: (*) of weights and values. 6. Output: (*) of context and Wo, the bias one more term.

Backward, for sum(G * output) with G given: the chain rule is products again, each (*), except for
the softmax: dz = w (dw - delta), where delta is sum_j w_j dw_j or, as flash attention has it,
sum_d dc_d c_d; the worse of the two is allowed, and the product rule gives Edz. A cap multiplies it by
1 - t**2 with t = y / c off by Et = Ey / c: 2 |t| Et + Et**2 + gamma(4). A group sums over its heads:
one more sum. A sink gets minus the sum of its weight times delta.

The oracle itself computes in float64, so its own budget (the same formula at u = 2**-53) is added.
Where a magnitude leaves the range of the format, a plain implementation may overflow and nothing is
claimed: the budget is infinite and the example does not count.

Legend: B batch, T queries, S keys, H heads, G groups, D head_dim, Dv columns of a value, W = H * Dv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.attend_bounds import AttendBudget as AttendBudget
from properties.truth.attend_bounds import AttendGradientBudget as AttendGradientBudget
from properties.truth.attend_bounds import Attending, AttendingBack
from properties.truth.attend_bounds import attend_budget as attend_budget
from properties.truth.attend_bounds import attend_gradient_budget as attend_gradient_budget
from properties.truth.oracle import Gradients, Trace, merge, split
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary
from properties.truth.rotary_bounds import turned
from properties.truth.rounding import SPARE as SPARE
from properties.truth.rounding import Near as Near
from properties.truth.rounding import exactly as exactly
from properties.truth.rounding import gamma as gamma
from properties.truth.rounding import product_error as product_error
from properties.truth.rounding import sum_error

ANGLES = "float32"  # the shortest format that angles of rotary positions are computed in


@dataclass(frozen=True, eq=False)
class Budget:
    """The allowed absolute error of each output."""

    output: Array  # (B, T, d_out)

    @property
    def claims(self) -> bool:
        """Whether any error is told from none: the example stays in the format's range."""
        return bool(np.isfinite(self.output).all())


@dataclass(frozen=True, eq=False)
class GradientBudget:
    """The allowed absolute error of the gradients of the inputs and of each parameter."""

    x: Array
    parameters: Weights | None
    tokens: Array | None = None  # where keys and values are made of another input than x


def budget(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, *, angles: str = ANGLES
) -> Budget:
    """The budget of one example's forward pass, the oracle's own share included."""
    with np.errstate(all="ignore"):  # infinities are meant: they say that nothing is claimed
        subject, oracle = (
            forward.budget() for forward in forwards(x, weights, trace, dtype, angles)
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
    angles: str = ANGLES,
) -> GradientBudget:
    """The budget of one example's backward pass, the oracle's own share included."""
    with np.errstate(all="ignore"):
        subject, oracle = (
            Backward(forward, gradients, upstream).budget()
            for forward in forwards(x, weights, trace, dtype, angles)
        )
    tokens = None
    if subject.tokens is not None and oracle.tokens is not None:
        tokens = subject.tokens + oracle.tokens
    if subject.parameters is None or oracle.parameters is None:
        return GradientBudget(subject.x + oracle.x, None, tokens)
    own, other = subject.parameters, oracle.parameters
    sums = {
        field.name: getattr(own, field.name) + getattr(other, field.name)
        for field in fields(Weights)
        if getattr(own, field.name) is not None
    }
    return GradientBudget(subject.x + oracle.x, Weights(**sums), tokens)


def forwards(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, angles: str
) -> Iterator[Forward]:
    """The subject's forward pass and the oracle's."""
    for name, own in ((dtype, angles), ("float64", "float64")):
        yield Forward(FORMATS[name], FORMATS[own], x, weights, trace)


def merge_heads(parts: Near) -> Near:
    """(B, H, T, D) -> (B, T, W)."""
    return parts.placed(merge)


def over_all_tokens(tensor: Near) -> Near:
    """(B, T, N) -> (B * T, N)."""
    return tensor.placed(np.reshape, (-1, tensor.value.shape[-1]))


@dataclass(frozen=True, eq=False)
class Forward:
    """Steps 1 to 6 of the module's docstring for one format."""

    fmt: Format
    angles: Format
    x: Array
    parameters: Weights | None
    trace: Trace

    def budget(self) -> Budget:
        """The allowed error; infinite where a magnitude leaves the format's range."""
        error = self.output(self.context).error
        return Budget(error if self.in_range() else np.full_like(error, np.inf))

    @cached_property
    def projected(self) -> tuple[Near, Near, Near]:
        """Step 1: queries, keys and values, heads first, before they are turned."""
        p, t = self.parameters, self.trace
        queries, keys = t.queries, t.keys
        if t.positions is not None:
            back = t.positions.inverse
            queries, keys = back.turn(queries, back.queries), back.turn(keys, back.keys)
        if p is None:
            return exactly(queries), exactly(keys), exactly(t.values)
        query, key, value = (
            Near(result, split(self.affine_error(exactly(x), matrix, bias), result.shape[1]))
            for result, x, matrix, bias in (
                (queries, self.x, p.query, p.query_bias),
                (keys, t.tokens, p.key, p.key_bias),
                (t.values, t.tokens, p.value, p.value_bias),
            )
        )
        return query, key, value

    def affine_error(self, x: Near, matrix: Array, bias: Array | None) -> Array:
        """The error of x @ matrix + bias."""
        error = product_error(x, exactly(matrix), self.fmt)
        if bias is not None:
            error += gamma(len(matrix) + SPARE, self.fmt) * np.abs(bias)
        return error

    def turned(self, part: Near, positions: Array, rotary: Rotary) -> Near:
        """Step 1a."""
        return turned(part, positions, rotary, self.fmt, self.angles)

    @cached_property
    def attending(self) -> Attending:
        """Steps 2 to 5."""
        (query, key, value), t = self.projected, self.trace
        if t.positions is not None:
            query = Near(t.queries, self.turned(query, t.positions.queries, t.positions).error)
            key = Near(t.keys, self.turned(key, t.positions.keys, t.positions).error)
        return Attending(self.fmt, t.request, t.attended, query, key, value)

    @property
    def context(self) -> Near:
        """The heads side by side, (B, T, W)."""
        return merge_heads(self.attending.context)

    def output(self, context: Near) -> Near:
        """Step 6."""
        p = self.parameters
        if p is None or p.out is None:
            return context
        return Near(self.trace.output, self.affine_error(context, p.out, p.out_bias))

    def in_range(self) -> bool:
        """Whether every intermediate magnitude stays below the largest number of the format."""
        p, t = self.parameters, self.trace
        magnitudes = []
        if p is not None:
            magnitudes += [
                affine_magnitude(self.x, p.query, p.query_bias),
                affine_magnitude(t.tokens, p.key, p.key_bias),
                affine_magnitude(t.tokens, p.value, p.value_bias),
            ]
            if p.out is not None:
                context = self.context.value
                magnitudes.append(affine_magnitude(context, p.out, p.out_bias))
        return self.attending.in_range() and all(
            bool((m < self.fmt.largest / 2).all()) for m in magnitudes
        )


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
        to_x, to_tokens = self.to_inputs(query, key, value)
        if not self.in_range(to_x, to_tokens):
            named = {n: np.full_like(e, np.inf) for n, e in named.items()}
            to_x = np.full_like(to_x, np.inf)
            to_tokens = None if to_tokens is None else np.full_like(to_tokens, np.inf)
        return GradientBudget(to_x, Weights(**named) if named else None, to_tokens)

    @property
    def fmt(self) -> Format:
        """The format of the whole pass."""
        return self.forward.fmt

    def in_range(self, to_x: Array, to_tokens: Array | None) -> bool:
        """Whether forward pass and gradients stay below the largest number of the format."""
        g, limit = self.gradients, self.fmt.largest / 2
        magnitudes = [to_x, np.abs(g.attended.weights), np.abs(g.context), np.abs(g.x) + to_x]
        if to_tokens is not None and g.tokens is not None:
            magnitudes.append(np.abs(g.tokens) + to_tokens)
        return self.forward.in_range() and all(bool((m < limit).all()) for m in magnitudes)

    @cached_property
    def to_context(self) -> Near:
        """The gradient of the context, (B, H, T, Dv)."""
        out = None if self.forward.parameters is None else self.forward.parameters.out
        if out is None:
            return exactly(self.gradients.context)
        error = product_error(exactly(self.upstream), exactly(out.T), self.fmt)
        return Near(self.gradients.context, split(error, self.gradients.context.shape[1]))

    def to_projected(self) -> tuple[Near, Near, Near]:
        """The gradients of queries, keys and values, heads first, as they were projected."""
        forward, rotary = self.forward, self.forward.trace.positions
        back = AttendingBack(forward.attending, self.gradients.attended, self.to_context)
        if rotary is None:
            return back.queries, back.keys, back.values
        inverse = rotary.inverse
        return (
            forward.turned(back.queries, inverse.queries, inverse),
            forward.turned(back.keys, inverse.keys, inverse),
            back.values,
        )

    def to_parameters(self, query: Near, key: Near, value: Near) -> dict[str, Array]:
        """The allowed error of each parameter's gradient by name."""
        p, fmt, forward = self.forward.parameters, self.fmt, self.forward
        if p is None:
            return {}
        x, tokens = exactly(forward.x), exactly(forward.trace.tokens)
        pairs = {"query": (x, query), "key": (tokens, key), "value": (tokens, value)}
        pairs["out"] = (forward.context, exactly(self.upstream))
        named = {}
        for name, (source, part) in pairs.items():
            rows = over_all_tokens(part)
            if getattr(p, name) is not None:
                named[name] = product_error(over_all_tokens(source).turned, rows, fmt)
            if getattr(p, f"{name}_bias") is not None:
                named[f"{name}_bias"] = sum_error(rows, fmt)
        return named

    def to_inputs(self, query: Near, key: Near, value: Near) -> tuple[Array, Array | None]:
        """The allowed errors of the inputs' gradients: three products and their sum."""
        parts, p = (query, key, value), self.forward.parameters
        if p is None:
            errors = [part.error + gamma(SPARE, self.fmt) * part.grown for part in parts]
        else:
            errors = [
                product_error(part, exactly(matrix.T), self.fmt, spare=SPARE + 2)
                for part, matrix in zip(parts, (p.query, p.key, p.value), strict=True)
            ]
        if self.gradients.tokens is None:
            return errors[0] + errors[1] + errors[2], None
        return errors[0], errors[1] + errors[2]


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
