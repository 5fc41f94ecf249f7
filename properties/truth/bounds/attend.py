"""The error of attention of queries, keys and values: steps 2 to 5 of the derivation.

Legend: B batch, H heads, G groups, T queries, S keys, D head_dim, Dv columns of a value; n the number
of keys that a query sees.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.attend import (
    Attended,
    repeated,
    sink_weights,
)
from properties.truth.bounds.arithmetic import (
    Counts,
    Near,
    exactly,
    gamma,
    gammas,
    product_error,
)
from properties.truth.request import Request, Seen


@dataclass(frozen=True, eq=False)
class AttendBudget:
    """The allowed absolute errors; all infinite where a magnitude leaves the format's range.

    In a row of NaN nothing is allowed besides: what is expected there is NaN.
    """

    context: Array  # (B, H, T, Dv)
    weights: Array  # (B, H, T, S)
    averaged: Array  # (B, T, S): of the mean of the weights over the heads
    lse: Array  # (B, H, T)


def attend_budget(
    queries: Array, keys: Array, values: Array, request: Request, attended: Attended, dtype: str
) -> AttendBudget:
    """The budget of one call, the oracle's own share included."""
    with np.errstate(all="ignore"):  # infinities are meant: they say that nothing is claimed
        subject, oracle = (
            attending(FORMATS[name], queries, keys, values, request, attended).budget()
            for name in (dtype, "float64")
        )
    return AttendBudget(**{f.name: both(subject, oracle, f.name) for f in fields(AttendBudget)})


def both(subject: object, oracle: object, name: str) -> Array:
    """The sum of one array of two budgets."""
    total: Array = getattr(subject, name) + getattr(oracle, name)
    return total


def attending(
    fmt: Format,
    queries: Array,
    keys: Array,
    values: Array,
    request: Request,
    attended: Attended,
) -> Attending:
    """One call of what is given exactly."""
    return Attending(fmt, request, attended, exactly(queries), exactly(keys), exactly(values))


@dataclass(frozen=True, eq=False)
class Attending:
    """Steps 2 to 5 for one format."""

    fmt: Format
    request: Request
    attended: Attended
    query: Near  # (B, H, T, D)
    grouped_key: Near  # (B, G, S, D)
    grouped_value: Near  # (B, G, S, Dv)

    def budget(self) -> AttendBudget:
        """The allowed errors."""
        weights = self.weights
        heads = weights.value.shape[1]
        mean = weights.error.mean(axis=1) + gamma(heads + 4, self.fmt) * weights.grown.mean(axis=1)
        mean = np.where(weights.grown.any(axis=1), mean + self.fmt.spacing_at_zero, 0.0)
        allowed: tuple[Array, ...] = (self.context.error, weights.error, mean, self.lse.error)
        if not self.in_range():
            allowed = tuple(np.full_like(error, np.inf) for error in allowed)
        return AttendBudget(*allowed)

    @cached_property
    def key(self) -> Near:
        """(B, H, S, D)."""
        return self.grouped_key.placed(repeated, self.query.value.shape[1])

    @cached_property
    def value(self) -> Near:
        """(B, H, S, Dv)."""
        return self.grouped_value.placed(repeated, self.query.value.shape[1])

    @property
    def seen(self) -> Seen:
        """(B, H, T, S)."""
        return self.attended.seen

    @cached_property
    def empty(self) -> Seen:
        """(B, H, T, 1): the rows in which nothing has any weight."""
        return self.attended.empty[..., None]

    @cached_property
    def enters(self) -> Seen:
        """(B, H, T, S): what has a weight; all keys, where a row without any gives their mean."""
        return self.seen | self.empty if self.request.empty == "uniform" else self.seen

    @cached_property
    def number(self) -> Counts:
        """The n of each row, (B, H, T, 1)."""
        return self.enters.sum(axis=-1, keepdims=True)

    @property
    def scale(self) -> float:
        """What multiplies the scores."""
        return self.request.factor(self.query.value.shape[-1])

    @cached_property
    def products(self) -> Array:
        """The largest magnitude that a score is the sum of, (B, H, T, S)."""
        grown: Array = self.query.raised.grown @ self.key.turned.raised.grown
        return grown

    @cached_property
    def scaled(self) -> Near:
        """Step 2; zero where nothing is seen."""
        error = product_error(
            self.query, self.key.turned, self.fmt, spare=8, magnitude=self.products
        )
        error = error * abs(self.scale)
        return self.where_seen(self.attended.scores * self.scale, error)

    @cached_property
    def capped(self) -> Near:
        """Step 2a: what the cap makes of it; a tanh is monotonous, so its ends bound it."""
        z, cap = self.scaled, self.request.cap
        if cap is None:
            return z
        value, high, low = (
            self.request.capped(part) for part in (z.value, z.value + z.error, z.value - z.error)
        )
        own = min(self.fmt.unit_roundoff, FORMATS["float32"].unit_roundoff)
        error = np.maximum(high - value, value - low) + gamma(12, self.fmt) * np.abs(value)
        return self.where_seen(value, error + 10.0 * own * cap)

    @cached_property
    def logits(self) -> Near:
        """Step 2b: and a bias."""
        y = self.capped
        if self.request.bias is None:
            return y
        size = y.grown + np.abs(self.request.bias)
        return self.where_seen(self.attended.logits, y.error + gamma(4, self.fmt) * size)

    def where_seen(self, value: Array, error: Array) -> Near:
        """Zero, and exact, where a key is hidden."""
        return Near(np.where(self.seen, value, 0.0), np.where(self.seen, error, 0.0))

    @cached_property
    def top(self) -> Array:
        """The magnitude of what is subtracted from the exponents, (B, H, T, 1)."""
        largest = np.max(
            self.logits.value, axis=-1, keepdims=True, where=self.seen, initial=-np.inf
        )
        levels = (largest,) if self.sink is None else (largest, np.maximum(largest, self.sink))
        return np.max([np.where(np.isneginf(z), 0.0, np.abs(z)) for z in levels], axis=0)

    @property
    def sink(self) -> Array | None:
        """(H, 1, 1)."""
        return None if self.request.sink is None else np.reshape(self.request.sink, (-1, 1, 1))

    def moved(self, size: Array) -> Array:
        """Step 3: what subtracting the top rounds in an exponent of this magnitude."""
        return 6.0 * self.fmt.unit_roundoff * (size + np.maximum(size, self.top) + 1.0)

    @cached_property
    def growth(self) -> tuple[Array, Array]:
        """Step 3: by what factor each exponential may be off, and that of the sink, (B, H, T, 1)."""
        errors = self.logits.error + np.where(self.seen, self.moved(self.logits.size), 0.0)
        sunk = np.zeros_like(self.top) if self.sink is None else self.moved(np.abs(self.sink))
        return np.exp(np.minimum(errors, 700.0)), np.exp(np.minimum(sunk, 700.0))

    @cached_property
    def sums(self) -> tuple[Array, Array]:
        """The sums of the weights over these factors, and times them, (B, H, T, 1); 1 without any."""
        w, (growth, sunk) = self.shares, self.growth
        smallest = (w / growth).sum(axis=-1, keepdims=True)
        largest = (w * growth).sum(axis=-1, keepdims=True)
        if self.sink is not None:
            taken = sink_weights(self.request, self.attended)[..., None]
            smallest, largest = smallest + taken / sunk, largest + taken * sunk
        return np.where(self.empty, 1.0, smallest), np.where(self.empty, 1.0, largest)

    @cached_property
    def shares(self) -> Array:
        """The weights of what is seen, (B, H, T, S)."""
        return np.where(self.seen, self.attended.weights, 0.0)

    @cached_property
    def rounding(self) -> Array:
        """What sums, rescalings and the division of step 4 round, (B, H, T, 1)."""
        terms = self.number + (0 if self.sink is None else 1)
        return gammas(4 * terms + 16, self.fmt)

    def share_error(self, w: Array, growth: Array) -> Array:
        """Step 4, of weights w whose exponentials may be off by these factors."""
        smallest, largest = self.sums
        high, low = growth / smallest, 1.0 / growth / largest
        relative = np.maximum(high * (1.0 + self.rounding) - 1.0, 1.0 - low * (1.0 - self.rounding))
        error: Array = np.fmin(
            w * relative, 1.0
        )  # 1 where an infinite factor meets a weight of zero
        return error + self.fmt.smallest_normal

    @cached_property
    def weights(self) -> Near:
        """Step 4; of a row of NaN zeros, which claim nothing of it."""
        near = self.where_seen(self.shares, self.share_error(self.shares, self.growth[0]))
        if self.request.empty != "uniform":
            return near
        even = np.where(self.empty, 1.0 / self.seen.shape[-1], 0.0)
        return Near(near.value + even, near.error + even * self.rounding)

    @cached_property
    def sink_share(self) -> Near:
        """Step 4 of the sink's weight, (B, H, T, 1)."""
        taken = sink_weights(self.request, self.attended)[..., None]
        return Near(taken, self.share_error(taken, self.growth[1]))

    @cached_property
    def lse(self) -> Near:
        """Step 4a, (B, H, T)."""
        smallest, largest = self.sums
        off = np.maximum(np.log(largest), -np.log(smallest)) - np.log1p(
            -np.minimum(self.rounding, 1.0)
        )
        terms = self.number + (0 if self.sink is None else 1)
        error = off + gamma(12, self.fmt) * (self.top + np.log(terms + 1.0))
        return Near(self.attended.lse, np.where(self.empty, 0.0, error)[..., 0])

    @cached_property
    def context(self) -> Near:
        """Step 5, (B, H, T, Dv)."""
        value = self.attended.context
        if self.request.empty == "nan":
            value = np.where(self.empty, 0.0, value)
        error = product_error(self.weights, self.value, self.fmt, terms=self.number)
        return Near(value, np.where(self.number > 0, error, 0.0))

    def in_range(self) -> bool:
        """Whether every magnitude stays below the largest number of the format, of hidden keys too.

        A plain implementation computes the scores of all keys before it hides any.
        """
        magnitudes = [self.products * max(1.0, abs(self.scale)), self.value.grown]
        if self.request.bias is not None:
            magnitudes.append(
                np.where(np.isneginf(self.request.bias), 0.0, np.abs(self.request.bias))
            )
        return all(bool((m < self.fmt.largest / 2).all()) for m in magnitudes)
