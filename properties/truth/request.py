"""What one call of attention asks beyond queries, keys and values: the definition's other terms.

    z_ij = cap(scale * q_i . k_j) + bias_ij            cap(z) = c tanh(z / c), or z
    w_ij = sees_ij exp(z_ij) / (sum_j sees_ij exp(z_ij) + exp(sink))
    o_i  = sum_j w_ij v_j

Legend: B batch, H heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array

Seen = NDArray[np.bool_]
EMPTY = ("zeros", "nan", "uniform")


def all_of_it() -> Seen:
    """True, for every query and key."""
    return np.ones((1, 1), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Request:
    """The terms of one call; each default leaves its term out.

    visible: who sees whom, broadcastable to (B, H, T, S); scale: None is 1 / sqrt(D); cap: c, above
    zero, or None; bias: broadcastable to (B, H, T, S), added after scale and cap and not scaled; a
    bias of minus infinity hides; sink: (H,), the logarithm of one more term of each denominator,
    which has no value; empty: what a row that sees nothing gives, zeros, NaN, or the mean over all S
    values ("uniform"). With a sink such a row gives zeros: the sink has all of the weight.

    Raises TypeError where `visible` is not boolean, ValueError for a cap that is not above zero and
    for an unknown `empty`.
    """

    visible: Seen = field(default_factory=all_of_it)
    scale: float | None = None
    cap: float | None = None
    bias: Array | None = None
    sink: Array | None = None
    empty: str = "zeros"

    def __post_init__(self) -> None:
        if np.asarray(self.visible).dtype != np.bool_:
            raise TypeError(
                f"visible is of {np.asarray(self.visible).dtype}, expected booleans; give numbers "
                "that are added to the scores as bias"
            )
        if self.cap is not None and not self.cap > 0.0:
            raise ValueError(f"cap is {self.cap}, expected a number above zero, or None for no cap")
        if self.empty not in EMPTY:
            raise ValueError(f"empty is {self.empty!r}, expected one of {', '.join(EMPTY)}")

    def factor(self, head_dim: int) -> float:
        """What multiplies the scores."""
        return 1.0 / float(np.sqrt(head_dim)) if self.scale is None else self.scale

    def seen(self, shape: tuple[int, ...]) -> Seen:
        """Who sees whom as (B, H, T, S): visible, and not hidden by a bias of minus infinity."""
        visible = np.broadcast_to(self.visible, shape)
        return visible if self.bias is None else visible & ~np.isneginf(self.bias)

    def capped(self, scaled: Array) -> Array:
        """The scaled scores under the cap."""
        if self.cap is None:
            return scaled
        limited: Array = self.cap * np.tanh(scaled / self.cap)
        return limited

    def slope(self, scaled: Array) -> Array:
        """The derivative of `capped`: 1 - tanh(z / c)**2."""
        if self.cap is None:
            return np.ones_like(scaled)
        steepness: Array = 1.0 - np.tanh(scaled / self.cap) ** 2
        return steepness
