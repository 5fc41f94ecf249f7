"""Arithmetic on numbers that carry a bound on their error, by the rules derived in `truth/bounds`.

Each function returns the exact value, as float64 has it, and how far off an implementation of the
same formula in the given format may be: in any order of summation, fused or not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array, Format
from properties.truth.bounds import SPARE, Near, exactly, gamma, product_error
from properties.truth.bounds.arithmetic import gammas

Change = Callable[[Array], Array]
FUNCTION = 16  # roundings of an elementary function: one in the last place, with room
ALMOST = 8  # roundings left for the products that scale scores, as in step 2 of truth/bounds


def moved(part: Near, change: Change) -> Near:
    """The same numbers at other places: a reshape, a transpose, a slice."""
    return Near(change(part.value), change(part.error))


def product(a: Near, b: Near, fmt: Format, spare: int = SPARE) -> Near:
    """The matrix product a @ b."""
    return Near(a.value @ b.value, product_error(a, b, fmt, spare))


def mixture(weights: Near, values: Near, fmt: Format) -> Near:
    """The product of weights and values: a weight of exactly zero rounds nothing."""
    there = (weights.value != 0.0) | (weights.error != 0.0)
    terms = there.sum(axis=-1, keepdims=True)
    return Near(weights.value @ values.value, product_error(weights, values, fmt, terms=terms))


def affine(x: Near, matrix: Array, bias: Array | None, fmt: Format) -> Near:
    """The projection x @ matrix + bias."""
    result = product(x, exactly(matrix), fmt)
    if bias is None:
        return result
    rounding = gamma(len(matrix) + SPARE, fmt) * np.abs(bias)
    return Near(result.value + bias, result.error + rounding)


def times(part: Near, factor: Array | float, fmt: Format) -> Near:
    """`part` * factor, where the factor itself may be rounded."""
    size = np.abs(factor)
    return Near(part.value * factor, size * (part.error + gamma(SPARE, fmt) * part.grown))


def plus(a: Near, b: Near, fmt: Format) -> Near:
    """A + b."""
    return Near(a.value + b.value, a.error + b.error + gamma(SPARE, fmt) * (a.grown + b.grown))


def total(part: Near, axis: int, fmt: Format) -> Near:
    """The sum along an axis, which stays with length 1."""
    rounding = gamma(part.value.shape[axis] + SPARE, fmt)
    error = (part.error + rounding * part.grown).sum(axis=axis, keepdims=True)
    return Near(part.value.sum(axis=axis, keepdims=True), error)


def over(a: Near, b: Near, fmt: Format) -> Near:
    """A / b: with c = a / b, (a + Ea) / (b + Eb) - c = (Ea - c Eb) / (b + Eb)."""
    value = a.value / b.value
    room = b.size - b.error
    error = np.where(room > 0, (a.error + np.abs(value) * b.error) / room, np.inf)
    return Near(value, error + gamma(SPARE, fmt) * (np.abs(value) + error))


def through(part: Near, function: Change, slope: float, fmt: Format) -> Near:
    """function(part), entry by entry, where the function is nowhere steeper than `slope`."""
    value = function(part.value)
    error = slope * part.error
    return Near(value, error + gamma(FUNCTION, fmt) * (np.abs(value) + error))


def softmax(
    z: Near, seen: NDArray[np.bool_], axis: int, fmt: Format, nothing: float | None = np.nan
) -> Near:
    """Steps 3 and 4 of truth/bounds along any axis, for what is seen; what is not gets zero exactly.

    nothing: what stands where a whole line is hidden. It is NaN where hidden scores are minus
    infinity, zero where that is mended, and an even share (None) where they are the format's lowest
    number.
    """
    if nothing is None:
        nothing = 1.0 / z.value.shape[axis]
    seen = np.broadcast_to(seen, z.value.shape)
    shown = np.where(seen, z.value, -np.inf)
    largest = shown.max(axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isneginf(largest), 0.0, np.abs(largest))
    off = z.error + 6 * fmt.unit_roundoff * (z.size + np.maximum(z.size, top) + 1.0)
    exponentials = np.exp(shown - largest)
    w = np.where(seen, exponentials, 0.0)
    w = w / w.sum(axis=axis, keepdims=True)
    growth = np.where(seen, np.exp(np.minimum(off, 700.0)), 1.0)
    high = growth / (w / growth).sum(axis=axis, keepdims=True)
    low = 1.0 / growth / (w * growth).sum(axis=axis, keepdims=True)
    rounding = gammas(4 * seen.sum(axis=axis, keepdims=True) + 16, fmt)
    relative = np.maximum(high * (1.0 + rounding) - 1.0, 1.0 - low * (1.0 - rounding))
    error = np.minimum(np.nan_to_num(w * relative, nan=np.inf), 1.0) + fmt.smallest_normal
    empty = ~seen.any(axis=axis, keepdims=True)
    rest = gamma(SPARE, fmt) * abs(nothing)
    return Near(
        np.where(empty, nothing, np.where(seen, w, 0.0)),
        np.where(empty, rest, np.where(seen, error, 0.0)),
    )


def normalised(part: Near, fmt: Format, *, centred: bool = False, epsilon: float = 0.0) -> Near:
    """Each row less its mean, if wanted, over the root of its mean square.

    The root of a mean square moves by no more than that of the row's errors.
    """
    value, error = part.value, part.error
    if centred:
        value = value - value.mean(axis=-1, keepdims=True)
        error = error + error.mean(axis=-1, keepdims=True)
    root = np.sqrt(np.square(value).mean(axis=-1, keepdims=True) + epsilon)
    root = np.where(root == 0.0, 1.0, root)  # a row of zeros stays one
    moves = np.sqrt(np.square(error).mean(axis=-1, keepdims=True))
    row = Near(value, error + gamma(part.value.shape[-1] + SPARE, fmt) * part.grown)
    return over(row, Near(root, moves + gamma(part.value.shape[-1] + FUNCTION, fmt) * root), fmt)
