"""Gradients of a vector in decimals, their bounds, and those that known faults give.

With w the weights and g = upstream . v: dz = w (g - sum w g), through cap and scale to q and k, and w to v.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, D head_dim, E columns
of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.attend import attend_gradients, over_groups
from properties.truth.bounds.arithmetic import exactly
from properties.truth.bounds.attend_gradients import AttendingBack
from properties.truth.digits import PRECISE, Matrix, decimals, dot, moved, rounded
from properties.truth.second_oracle import Asked, asked_of_heads, logit
from properties.vectors.call import Call
from properties.vectors.right import answers, attending
from properties.vectors.selection import CLEAR, far, off
from properties.vectors.vector import Vector as Tested

NAMES = ("queries", "keys", "values")
Slopes = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Change:
    """What a backward pass does: each field is right by default.

    scaled: whether the scale is applied; capped: whether the cap's slope is; centred: whether the mean is
    taken off.
    """

    scaled: bool = True
    capped: bool = True
    centred: bool = True


RIGHT = Change()


def exact_slopes(call: Call, upstream: Array, change: Change = RIGHT) -> dict[str, Array]:
    """Of queries (B, H, T, D), keys and values of each head (B, H, S, D) and (B, H, S, E), not yet summed
    over a group; rounded once, at the end.
    """
    share = call.shape[1] // call.keys.shape[1]
    with localcontext(PRECISE):
        asked = asked_of_heads(call.request, call.shape, call.queries.shape[-1])
        q, k, v, up = (decimals(x) for x in (call.queries, call.keys, call.values, upstream))
        found: dict[str, list[list[Matrix]]] = {name: [] for name in NAMES}
        for b, item in enumerate(answers(call)):
            for name in NAMES:
                found[name].append([])
            for h, rows in enumerate(item):
                weights = [row.weights for row in rows]
                parts = of_head(
                    asked[b][h],
                    weights,
                    change,
                    (q[b][h], k[b][h // share], v[b][h // share], up[b][h]),
                )
                for name, part in zip(NAMES, parts, strict=True):
                    found[name][b].append(part)
        return {name: rounded(part) for name, part in found.items()}


def of_head(
    asked: Asked,
    weights: Matrix,
    change: Change,
    parts: tuple[Matrix, Matrix, Matrix, Matrix],
) -> tuple[Matrix, Matrix, Matrix]:
    """The gradients of one head."""
    q, k, v, up = parts
    to_q = [[Decimal(0)] * len(row) for row in q]
    to_k = [[Decimal(0)] * len(row) for row in k]
    to_v = [[Decimal(0)] * len(row) for row in v]
    for i, row in enumerate(weights):
        g = [dot(up[i], own) for own in v]
        mean = dot(row, g) if change.centred else Decimal(0)
        for j, w in enumerate(row):
            steep = Decimal(1)
            if asked.cap is not None and change.capped:  # 1 - tanh**2
                steep -= (logit(q[i], k[j], asked) / asked.cap) ** 2
            dz = w * (g[j] - mean) * steep * (asked.scale if change.scaled else 1)
            to_q[i] = moved(to_q[i], k[j], dz)
            to_k[j] = moved(to_k[j], q[i], dz)
            to_v[j] = moved(to_v[j], up[i], w)
    return to_q, to_k, to_v


def right_slopes(vector: Tested, change: Change = RIGHT) -> dict[str, Array]:
    """What is right, or what a change of it gives; keys and values take the sum over a group's heads."""
    parts = exact_slopes(vector.call, upstream(vector), change)
    groups = vector.keys.integers.shape[1]
    return {n: part if n == "queries" else over_groups(part, groups) for n, part in parts.items()}


def upstream(vector: Tested) -> Array:
    """(B, H, T, E)."""
    if vector.upstream is None:
        raise ValueError(f"vector {vector.number} has no upstream: it is not about gradients")
    return vector.upstream.array


def bounds_of_slopes(vector: Tested, dtype: str) -> dict[str, Array]:
    """The allowed errors."""
    call, up = vector.call, upstream(vector)
    attended = call.attended
    right = attend_gradients(call.queries, call.keys, call.values, call.request, attended, up)
    total = {name: np.zeros_like(getattr(right, name)) for name in NAMES}
    with np.errstate(all="ignore"):
        for name in (dtype, "float64"):
            budget = AttendingBack(attending(call, name), right, exactly(up)).budget()
            for part in NAMES:
                total[part] = total[part] + getattr(budget, part)
    return total


@dataclass(frozen=True, eq=False)
class WrongSlopes:
    """What a fault gives, and how many bounds that is from what is right, by format."""

    flag: str
    slopes: Slopes
    apart: Mapping[str, float]


def wrong_slopes(vector: Tested) -> list[WrongSlopes]:
    """Each fault of a backward pass that is told apart in float32 at least."""
    right = right_slopes(vector)
    bounds = {dtype: bounds_of_slopes(vector, dtype) for dtype in FORMATS}
    found = []
    for flag, gives in FAULTS.items():
        slopes = gives(vector)
        if slopes is None:
            continue
        apart = {
            dtype: max(off(far(slopes[n], right[n]), bounds[dtype][n]) for n in NAMES)
            for dtype in FORMATS
        }
        if apart["float32"] >= CLEAR:
            found.append(WrongSlopes(flag, slopes, apart))
    return found


def by(**change: bool) -> Callable[[Tested], Slopes | None]:
    """A backward pass with one step left out."""

    def gives(vector: Tested) -> Slopes:
        return right_slopes(vector, Change(**change))

    return gives


def averaged(vector: Tested) -> Slopes | None:
    """Over the heads of a group, where a sum is right."""
    right, times = right_slopes(vector), vector.shape[1] // vector.keys.integers.shape[1]
    return {n: part if n == "queries" else part / times for n, part in right.items()}


def last_head(vector: Tested) -> Slopes | None:
    """Keys and values learn from the last head of each group alone."""
    parts = exact_slopes(vector.call, upstream(vector))
    times = vector.shape[1] // vector.keys.integers.shape[1]
    return {n: part if n == "queries" else part[:, times - 1 :: times] for n, part in parts.items()}


def of_other_call(told: Callable[[Tested], Tested | None]) -> Callable[[Tested], Slopes | None]:
    """A backward pass of another call."""

    def gives(vector: Tested) -> Slopes | None:
        other = told(vector)
        return None if other is None else right_slopes(other)

    return gives


def future_hidden(vector: Tested) -> Tested | None:
    """Causal, though the forward pass is not."""
    return None if vector.options.causal or vector.empty else vector.told(causal=True)


def future_shown(vector: Tested) -> Tested | None:
    """Not causal, though the forward pass is."""
    return vector.told(causal=None) if vector.options.causal else None


def unmasked(vector: Tested) -> Tested | None:
    """The mask forgotten."""
    return None if vector.options.mask is None else vector.told(mask=None)


def viewed(vector: Tested) -> Tested | None:
    """The upstream gradient read with strides of another layout."""
    up = vector.upstream
    if up is None:
        return None
    batch, heads, tokens, width = up.integers.shape
    other = up.integers.reshape(batch, tokens, heads, width).transpose(0, 2, 1, 3)
    return replace(vector, upstream=replace(up, integers=other))


def of_nothing(vector: Tested) -> Slopes | None:
    """NaN in the row that sees nothing, and in all keys and values."""
    right, nothing = right_slopes(vector), vector.call.attended.empty
    if not nothing.any():
        return None
    spread = {n: np.full_like(part, np.nan) for n, part in right.items()}
    spread["queries"] = np.where(nothing[..., None], np.nan, right["queries"])
    return spread


FAULTS: dict[str, Callable[[Tested], Slopes | None]] = {
    "scale missing in the backward pass": by(scaled=False),
    "cap missing in the backward pass": by(capped=False),
    "softmax without its mean in the backward pass": by(centred=False),
    "gradient of a group averaged": averaged,
    "gradient of one head of a group": last_head,
    "backward pass assumes causal": of_other_call(future_hidden),
    "backward pass shows the future": of_other_call(future_shown),
    "backward pass without the mask": of_other_call(unmasked),
    "upstream gradient read in another layout": of_other_call(viewed),
    "NaN gradient of a row that sees nothing": of_nothing,
}
