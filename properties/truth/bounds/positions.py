"""Step 1a of the derivation: how far queries and keys may be off once they are turned.

Legend: B batch, H heads, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array, Format
from properties.truth.bounds.arithmetic import Near, gamma, gammas
from properties.truth.positions import Rotary, exponents, laid, pairs

SCALING = (
    24.0  # roundings of a frequency that is scaled: quotients, a wavelength, a ramp and its blend
)


def turned(part: Near, positions: Array, rotary: Rotary, fmt: Format, angles_in: Format) -> Near:
    """The turned (B, H, T, D), where angles, cosines and sines are computed in a format of their own."""
    first, second = pairs(part.value.shape[-1], rotary.pairing, rotary.portion)
    angle = rotary.angles(positions, len(first))
    cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    own = turn_error(positions, len(first), rotary, fmt, angles_in) + gamma(4, fmt)
    error = part.error.copy()
    a, b = part.error[..., first], part.error[..., second]
    rounded = own * (part.grown[..., first] + part.grown[..., second]) + 4 * fmt.spacing_at_zero
    if rotary.gain == 1.0:
        rounded = np.where(angle == 0.0, 0.0, rounded)
    error[..., first] = rotary.gain * (cosine * a + sine * b + rounded)
    error[..., second] = rotary.gain * (sine * a + cosine * b + rounded)
    return Near(rotary.turn(part.value, positions), error)


def turn_error(
    positions: Array, number: int, rotary: Rotary, fmt: Format, angles_in: Format
) -> Array:
    """Et: how far cosine and sine may be off, of the shape of the angles (..., T, R / 2)."""
    angle, off = rotary.angles(positions, number), rotary.slowed(number).off
    scaling = 0.0 if rotary.slowing is None else SCALING
    roundings = 3.0 * exponents(number) * np.log(rotary.base) + 10.0 + scaling
    known = off * np.abs(laid(positions, np.ones(number)))
    moved = np.minimum(np.abs(angle) * gammas(roundings, angles_in) + known, 2.0)
    gained = 0 if rotary.gain == 1.0 else 3
    return moved + gamma(8 + gained, angles_in) + gamma(1, fmt)
