"""What a subject can take at all: within its limits everything is asked, outside them nothing.

Legend: B batch, T tokens, D head_dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from properties.basics.errors import OutsideError

KERNELS = 8
"""From here on kernels want D to be a multiple; rotary positions want 2 or 4."""


@dataclass(frozen=True)
class Limits:
    """full_context: T must be context_length; one_item: B must be 1; least_tokens, most_tokens: of T;
    head_dims: D must be a multiple of it; doubling: and that by a power of two; most_head_dim: of D;
    least_heads: of H.
    """

    full_context: bool = False
    one_item: bool = False
    least_tokens: int = 1
    most_tokens: int | None = None
    head_dims: int = 1
    doubling: bool = False
    most_head_dim: int | None = None
    least_heads: int = 1

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self != Limits()

    def __or__(self, other: Limits) -> Limits:
        """Both: what `other` sets, and else what is set here."""
        changed = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if getattr(other, field.name) != field.default
        }
        return replace(self, **changed)

    def tokens(self, wanted: int) -> int:
        """The number of tokens that is taken, nearest to the one that is wanted."""
        return max(self.least_tokens, min(wanted, self.most_tokens or wanted))

    def head_dim(self, wanted: int) -> int:
        """The smallest head_dim that is taken, at least the one that is wanted."""
        times = -(-wanted // self.head_dims)
        return self.head_dims * (2 ** (times - 1).bit_length() if self.doubling else times)

    def varied(self, wanted: int) -> int:
        """A head_dim that is taken, of three different ones where even small wishes make it large."""
        if self.head_dims < KERNELS:
            return self.head_dim(wanted)
        step = (wanted - 1) % 3
        found = self.head_dims * (2**step if self.doubling else 1 + step)
        return min(found, self.most_head_dim or found)

    @property
    def widths(self) -> str:
        """The head_dims that are taken, in words; "" where all are."""
        least, most = self.head_dims, self.most_head_dim
        if most == least:
            return f"{least} alone"
        if self.doubling:
            return f"a power of two from {least}" + (f" to {most}" if most else "")
        parts = [f"a multiple of {least}"] * (least > 1) + [f"at most {most}"] * bool(most)
        return ", ".join(parts)

    def require_heads(self, heads: int, head_dim: int) -> None:
        """OutsideError for so many of such a width, if they are not taken."""
        if head_dim != self.head_dim(head_dim) or head_dim > (self.most_head_dim or head_dim):
            raise OutsideError(f"head_dim {head_dim}")
        if heads < self.least_heads:
            raise OutsideError(f"{heads} heads")

    def attach(self, module: nn.Module, context_length: int, batched: bool) -> nn.Module:
        """The module, so that it refuses what is outside."""
        if self:
            module.register_forward_pre_hook(Gate(self, context_length, batched))
        return module


@dataclass(frozen=True)
class Gate:
    """A hook before forward: OutsideError for an input that the limits exclude."""

    limits: Limits
    context_length: int
    batched: bool

    def __call__(self, module: nn.Module, arguments: Sequence[Any]) -> None:
        """Look at the shape of x, (B, T, d_in) or (T, d_in)."""
        x = arguments[0]
        if x.ndim != 2 + self.batched:
            return
        tokens = x.shape[-2]
        if self.limits.full_context and tokens != self.context_length:
            raise OutsideError(f"{tokens} tokens where context_length is {self.context_length}")
        if tokens != self.limits.tokens(tokens):
            raise OutsideError(f"{tokens} tokens")
        if self.limits.one_item and self.batched and len(x) != 1:
            raise OutsideError(f"{len(x)} items")
