"""The floating-point formats a subject may compute in, described without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: `significand` bits (the hidden one counted) and exponents."""

    name: str
    significand: int
    smallest_exponent: int
    largest: float

    @property
    def unit_roundoff(self) -> float:
        """The largest relative error of rounding to nearest: 2**-significand."""
        return 2.0**-self.significand

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number with a full significand."""
        return 2.0**self.smallest_exponent

    @property
    def spacing_at_zero(self) -> float:
        """The smallest positive number: what gradual underflow can still tell from zero."""
        return 2.0 ** (self.smallest_exponent - self.significand + 1)

    def round(self, values: Array) -> Array:
        """`values` (any shape) rounded to nearest even in this format, kept in float64 arrays.

        Beyond the largest number the result is infinite, as in the format itself.
        """
        if self.name == "float64":
            return values
        _, exponent = np.frexp(values)
        step = np.exp2(np.maximum(exponent, self.smallest_exponent + 1) - float(self.significand))
        rounded: Array = np.rint(values / step) * step
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, rounded), rounded)


FORMATS = {
    "float64": Format("float64", 53, -1022, float(np.finfo(np.float64).max)),
    "float32": Format("float32", 24, -126, float(np.finfo(np.float32).max)),
    "bfloat16": Format("bfloat16", 8, -126, float.fromhex("0x1.fep127")),
    "float16": Format("float16", 11, -14, 65504.0),
}
