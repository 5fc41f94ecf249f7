"""Numbers that carry a bound on their error, and the bounds of sums of products of them.

Legend: u the unit roundoff of a format, eta its spacing at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array, Format

SPARE = 4  # roundings beyond the terms of a sum: storing, casting and scaling either factor
DUST = (
    2.0**-960
)  # added to errors before they are multiplied: subnormal numbers are 300 times slower
Counts = NDArray[np.integer]


def gamma(roundings: float, fmt: Format) -> float:
    """The bound n u / (1 - n u), the relative error of n roundings; infinite once n u reaches 1."""
    product = roundings * fmt.unit_roundoff
    return product / (1.0 - product) if product < 1.0 else np.inf


def gammas(roundings: Counts | Array, fmt: Format) -> Array:
    """`gamma` of each number."""
    product = roundings * fmt.unit_roundoff
    bound = np.full(product.shape, np.inf)
    return np.divide(product, 1.0 - product, out=bound, where=product < 1.0)


@dataclass(frozen=True, eq=False)
class Near:
    """A quantity's true value and a bound on the error of the computed one.

    given: that it is not computed at all, and every error is zero.
    """

    value: Array
    error: Array
    given: bool = False

    @cached_property
    def size(self) -> Array:
        """The magnitude of the true value."""
        return np.abs(self.value)

    @cached_property
    def grown(self) -> Array:
        """The largest magnitude that the computed one may have."""
        return self.size if self.given else self.size + self.error

    @cached_property
    def turned(self) -> Near:
        """The last two axes exchanged."""
        return Near(self.value.swapaxes(-1, -2), self.error.swapaxes(-1, -2), self.given)

    @cached_property
    def raised(self) -> Near:
        """The same with no error below `DUST`, but for what is exact."""
        return self if self.given else Near(self.value, self.error + DUST * (self.error > 0.0))

    def placed(self, change: Callable[..., Array], *arguments: Any) -> Near:
        """The same numbers at other places."""
        return Near(change(self.value, *arguments), change(self.error, *arguments), self.given)


def exactly(value: Array) -> Near:
    """What is given, not computed."""
    return Near(value, np.zeros_like(value), given=True)


def product_error(
    a: Near,
    b: Near,
    fmt: Format,
    spare: int = SPARE,
    terms: Counts | None = None,
    magnitude: Array | None = None,
) -> Array:
    """Equation (*) of the derivation: the error of a @ b.

    terms: how many products of each row are not zero, (..., rows, 1), all of them unless given:
    adding a zero rounds nothing. magnitude: the product of both `grown`, where it is known.
    """
    a, b = a.raised, b.raised
    if magnitude is None:
        magnitude = a.grown @ b.grown
    rounding = rounded(magnitude, a.value.shape[-1], fmt, spare, terms)
    if a.given and b.given:
        return rounding
    return carried(a, b) + rounding


def carried(a: Near, b: Near) -> Array:
    """What a @ b has of the errors of a and b; what is given has none, and half of the work is saved."""
    if a.given or b.given:
        one: Array = a.size @ b.error if a.given else a.error @ b.size
        return one
    both: Array = a.size @ b.error + a.error @ b.grown
    return both


def rounded(
    magnitude: Array, length: int, fmt: Format, spare: int, terms: Counts | None = None
) -> Array:
    """What a sum of so many products rounds and loses by underflow, of this magnitude in all."""
    if terms is None:
        return gamma(length + spare, fmt) * magnitude + (length + spare) * fmt.spacing_at_zero
    return gammas(terms + spare, fmt) * magnitude + (terms + spare) * fmt.spacing_at_zero


def dot_error(a: Near, b: Near, fmt: Format, terms: Counts | None = None) -> Array:
    """The error of sum(a * b) over the last axis, which stays with length 1."""
    moved: Array = (a.size * b.error + a.error * b.grown).sum(axis=-1, keepdims=True)
    magnitude = (a.grown * b.grown).sum(axis=-1, keepdims=True)
    return moved + rounded(magnitude, a.value.shape[-1], fmt, SPARE, terms)


def times_error(a: Near, b: Near, fmt: Format) -> Array:
    """The error of a * b, entry by entry, either stored before."""
    moved: Array = a.size * b.error + a.error * b.grown
    return moved + gamma(SPARE, fmt) * a.grown * b.grown + fmt.spacing_at_zero


def sum_error(parts: Near, fmt: Format) -> Array:
    """The error of a sum over the first axis."""
    total: Array = parts.error.sum(axis=0)
    return total + gamma(len(parts.value) + SPARE, fmt) * parts.grown.sum(axis=0)
