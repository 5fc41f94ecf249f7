"""Step 1a of the derivation: how far queries and keys may be off once they are turned.

Legend: B batch, H heads, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array, Format
from properties.truth.bounds.arithmetic import Near, gamma, gammas
from properties.truth.positions import Rotary, angles, exponents, pairs


def turned(part: Near, positions: Array, rotary: Rotary, fmt: Format, angles_in: Format) -> Near:
    """The turned (B, H, T, D), where angles, cosines and sines are computed in a format of their own."""
    first, second = pairs(part.value.shape[-1], rotary.pairing, rotary.portion)
    angle = angles(positions, len(first), rotary.base)
    cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    own = turn_error(angle, rotary.base, fmt, angles_in) + gamma(4, fmt)
    error = part.error.copy()
    a, b = part.error[..., first], part.error[..., second]
    rounded = own * (part.grown[..., first] + part.grown[..., second]) + 4 * fmt.spacing_at_zero
    rounded = np.where(angle == 0.0, 0.0, rounded)
    error[..., first] = cosine * a + sine * b + rounded
    error[..., second] = sine * a + cosine * b + rounded
    return Near(rotary.turn(part.value, positions), error)


def turn_error(angle: Array, base: float, fmt: Format, angles_in: Format) -> Array:
    """Et: how far cosine and sine may be off, of the shape of the angles (..., T, R / 2)."""
    roundings = 3.0 * exponents(angle.shape[-1]) * np.log(base) + 10.0
    moved = np.minimum(np.abs(angle) * gammas(roundings, angles_in), 2.0)
    return moved + gamma(8, angles_in) + gamma(1, fmt)
