"""The error of the gradients of queries, keys and values: the derivation's chain rule.

Legend: B batch, H heads, G groups, T queries, S keys, D head_dim, Dv columns of a value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from properties.basics.dtypes import FORMATS, Array, Format
from properties.truth.attend import Attended, AttendedGradients, over_groups
from properties.truth.bounds.arithmetic import (
    Near,
    dot_error,
    exactly,
    gamma,
    product_error,
    times_error,
)
from properties.truth.bounds.attend import Attending, attending, both
from properties.truth.request import Request, Seen


@dataclass(frozen=True, eq=False)
class AttendGradientBudget:
    """The allowed absolute errors of the gradients.

    All infinite where a magnitude leaves the format's range, and those of a head and its group where
    one of its rows gives NaN.
    """

    queries: Array  # (B, H, T, D)
    keys: Array  # (B, G, S, D)
    values: Array  # (B, G, S, Dv)
    logits: Array  # (B, H, T, S), which is also that of a bias of this shape
    sink: Array | None = None  # (H,)


def attend_gradient_budget(
    queries: Array,
    keys: Array,
    values: Array,
    request: Request,
    attended: Attended,
    gradients: AttendedGradients,
    upstream: Array,
    dtype: str,
) -> AttendGradientBudget:
    """The budget of one call's backward pass, the oracle's own share included."""
    with np.errstate(all="ignore"):
        subject, oracle = (
            AttendingBack(
                attending(FORMATS[name], queries, keys, values, request, attended),
                gradients,
                exactly(upstream),
            ).budget()
            for name in (dtype, "float64")
        )
    names = [f.name for f in fields(AttendGradientBudget) if getattr(subject, f.name) is not None]
    return AttendGradientBudget(**{name: both(subject, oracle, name) for name in names})


@dataclass(frozen=True, eq=False)
class AttendingBack:
    """The chain rule for one format."""

    forward: Attending
    gradients: AttendedGradients
    upstream: Near  # (B, H, T, Dv)

    def budget(self) -> AttendGradientBudget:
        """The allowed errors."""
        allowed = [self.queries.error, self.keys.error, self.values.error, self.logits.error]
        if self.gradients.sink is not None:
            allowed.append(self.sink_error)
        if not self.in_range():
            allowed = [np.full_like(error, np.inf) for error in allowed]
        return AttendGradientBudget(*allowed)

    @property
    def fmt(self) -> Format:
        """The format of the whole pass."""
        return self.forward.fmt

    def in_range(self) -> bool:
        """Whether all steps stay below the largest number of the format."""
        g, parts = self.gradients, (self.queries, self.keys, self.values)
        magnitudes = [np.abs(g.weights), self.upstream.size, *(part.grown for part in parts)]
        return self.forward.in_range() and all(
            bool((m < self.fmt.largest / 2).all()) for m in magnitudes
        )

    @cached_property
    def to_weights(self) -> Near:
        """(B, H, T, S)."""
        error = product_error(self.upstream, self.forward.value.turned, self.fmt)
        return self.forward.where_seen(self.gradients.weights, error)

    @cached_property
    def mean(self) -> Near:
        """Delta, (B, H, T, 1), by the worse of its two forms."""
        forward, to_weights = self.forward, self.to_weights
        shares = forward.where_seen(forward.weights.value, forward.weights.error)
        error = np.maximum(
            dot_error(shares, to_weights, self.fmt, forward.number),
            dot_error(self.upstream, forward.context, self.fmt),
        )
        return Near((shares.value * to_weights.value).sum(axis=-1, keepdims=True), error)

    @cached_property
    def logits(self) -> Near:
        """The product rule for w (dw - delta); the subtraction rounds dw and delta too."""
        weights, mean = self.forward.weights, self.mean
        error = self.to_weights.error + mean.error
        largest = self.to_weights.grown + mean.size + error
        carried = weights.error * largest + weights.size * error
        carried += gamma(8, self.fmt) * weights.grown * largest
        return self.forward.where_seen(self.gradients.logits, carried + self.fmt.spacing_at_zero)

    @cached_property
    def scores(self) -> Near:
        """Through cap and scale."""
        forward, cap = self.forward, self.forward.request.cap
        error = self.logits.error
        if cap is not None:
            tanh = Near(forward.capped.value / cap, forward.capped.error / cap)
            slope = 2.0 * tanh.size * tanh.error + tanh.error**2 + gamma(4, self.fmt)
            error = times_error(self.logits, Near(1.0 - tanh.value**2, slope), self.fmt)
        return forward.where_seen(self.gradients.scores, error * abs(forward.scale))

    @cached_property
    def queries(self) -> Near:
        """(B, H, T, D)."""
        forward = self.forward
        error = product_error(self.scores, forward.key, self.fmt, terms=forward.number)
        return Near(self.gradients.queries, np.where(self.unknown, np.inf, error))

    @cached_property
    def keys(self) -> Near:
        """(B, G, S, D)."""
        return self.over_groups(
            self.gradients.keys, self.scores, self.forward.query, self.forward.seen
        )

    @cached_property
    def values(self) -> Near:
        """(B, G, S, Dv)."""
        forward = self.forward
        return self.over_groups(
            self.gradients.values, forward.weights, self.upstream, forward.enters
        )

    def over_groups(self, value: Array, rows: Near, right: Near, enters: Seen) -> Near:
        """Rows^T @ right, the sum over a group's heads one more sum."""
        terms = enters.sum(axis=-2)[..., None]
        error = product_error(rows.turned, right, self.fmt, terms=terms)
        error = np.where(self.unknown, np.inf, error)
        groups, heads = value.shape[1], error.shape[1]
        total = over_groups(error, groups)
        if groups < heads:
            most = over_groups(rows.turned.grown @ right.grown, groups)
            total = total + gamma(heads // groups, self.fmt) * (most + total)
        return Near(value, total)

    @property
    def unknown(self) -> Seen:
        """(B, H, 1, 1): the heads of which a row gives NaN."""
        if self.forward.request.empty != "nan":
            return np.zeros((1, 1, 1, 1), dtype=np.bool_)
        return np.any(self.forward.empty, axis=-2, keepdims=True)

    @cached_property
    def sink_error(self) -> Array:
        """Of minus the sum over all rows of the sink's weight times delta, (H,)."""
        share = self.forward.sink_share
        products = Near(share.value * self.mean.value, times_error(share, self.mean, self.fmt))
        terms = products.value.shape[0] * products.value.shape[2]
        rounded = gamma(terms, self.fmt) * products.grown
        total: Array = (products.error + rounded).sum(axis=(0, 2, 3))
        return total
