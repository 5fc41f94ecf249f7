"""The error of a module of attention: steps 1 to 6 of the derivation, and back to its parameters.

Legend: B batch, T queries, S keys, H heads, G groups, D head_dim, Dv columns of a value, W = H * Dv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeVar

import numpy as np

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.bounds.arithmetic import (
    SPARE,
    Near,
    exactly,
    gamma,
    product_error,
    rounded,
    sum_error,
)
from properties.truth.bounds.attend import AttendBudget, Attending, both
from properties.truth.bounds.attend_gradients import AttendingBack
from properties.truth.bounds.magnitudes import Magnitudes, affine_magnitude
from properties.truth.bounds.positions import turned
from properties.truth.oracle import Gradients, Trace, merge, split
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary

Found = TypeVar("Found")
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
        subject, oracle = passes(Forward.budget, forwards(x, weights, trace, dtype, angles))
    return Budget(unclaimed(subject.output + oracle.output))


def budget_inside(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, *, angles: str = ANGLES
) -> AttendBudget:
    """That of weights, context and log-sum-exp inside a module, the oracle's own share included."""
    with np.errstate(all="ignore"):
        subject, oracle = passes(
            lambda forward: forward.attending.budget(), forwards(x, weights, trace, dtype, angles)
        )
    return AttendBudget(**{f.name: both(subject, oracle, f.name) for f in fields(AttendBudget)})


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
        subject, oracle = passes(
            lambda forward: Backward(forward, gradients, upstream).budget(),
            forwards(x, weights, trace, dtype, angles),
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


def unclaimed(error: Array) -> Array:
    """The error, infinite where it is none: an infinite bound on a number of which zero is taken."""
    return np.where(np.isnan(error), np.inf, error)


def forwards(
    x: Array, weights: Weights | None, trace: Trace, dtype: str, angles: str
) -> tuple[Forward, Forward]:
    """The subject's forward pass and the oracle's; one and the same, where they round alike."""
    sizes = Magnitudes(x, weights, trace)
    exact = FORMATS["float64"]
    oracle = Forward(exact, exact, x, weights, trace, sizes)
    if FORMATS[dtype] is exact and (trace.positions is None or FORMATS[angles] is exact):
        return oracle, oracle
    return Forward(FORMATS[dtype], FORMATS[angles], x, weights, trace, sizes), oracle


def passes(work: Callable[[Forward], Found], pair: tuple[Forward, Forward]) -> tuple[Found, Found]:
    """What work finds of the subject's pass and of the oracle's; asked once, where they are one."""
    subject, oracle = pair
    found = work(subject)
    return found, (found if subject is oracle else work(oracle))


def merge_heads(parts: Near) -> Near:
    """(B, H, T, D) -> (B, T, W)."""
    return parts.placed(merge)


def over_all_tokens(tensor: Near) -> Near:
    """(B, T, N) -> (B * T, N)."""
    return tensor.placed(np.reshape, (-1, tensor.value.shape[-1]))


@dataclass(frozen=True, eq=False)
class Forward:
    """Steps 1 to 6 for one format."""

    fmt: Format
    angles: Format
    x: Array
    parameters: Weights | None
    trace: Trace
    sizes: Magnitudes

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
            Near(result, split(self.projection_error(name), result.shape[1]))
            for name, result in (("query", queries), ("key", keys), ("value", t.values))
        )
        return query, key, value

    def projection_error(self, name: str) -> Array:
        """The error of a product of what is given exactly, plus a bias."""
        matrix, bias = (getattr(self.parameters, part) for part in (name, f"{name}_bias"))
        error = rounded(self.sizes.inputs[name], len(matrix), self.fmt, SPARE)
        return error if bias is None else error + self.bias_error(matrix, bias)

    def bias_error(self, matrix: Array, bias: Array) -> Array:
        """Of one more term of each sum."""
        error: Array = gamma(len(matrix) + SPARE, self.fmt) * np.abs(bias)
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

    @cached_property
    def context(self) -> Near:
        """The heads side by side, (B, T, W)."""
        return merge_heads(self.attending.context)

    def output(self, context: Near) -> Near:
        """Step 6."""
        p = self.parameters
        if p is None or p.out is None:
            return context
        error = product_error(context, exactly(p.out), self.fmt)
        if p.out_bias is not None:
            error += self.bias_error(p.out, p.out_bias)
        return Near(self.trace.output, error)

    def in_range(self) -> bool:
        """Whether every intermediate magnitude stays below the largest number of the format."""
        p, limit = self.parameters, self.fmt.largest / 2
        if p is not None and p.out is not None:
            size = affine_magnitude(self.context.value, p.out, p.out_bias)
            if not (size < limit).all():
                return False
        return self.sizes.largest < limit and self.attending.in_range()


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
        transpose = rotary.transpose
        return (
            forward.turned(back.queries, transpose.queries, transpose),
            forward.turned(back.keys, transpose.keys, transpose),
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


def row_sum(tokens: int, dtype: str) -> float:
    """The allowed error of the sum of one query's weights: step 4 without the exponents' error."""
    fmt = FORMATS[dtype]
    return gamma(5 * tokens + 24, fmt) + tokens * fmt.smallest_normal


def survivors(weights: Array, allowed: Array, probability: float, dtype: str) -> Array:
    """The allowed error of weights (each off by `allowed`) times 1 / (1 - p): four more roundings."""
    return (allowed + gamma(4, FORMATS[dtype]) * (weights + allowed)) / (1.0 - probability)
