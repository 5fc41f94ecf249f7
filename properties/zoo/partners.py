"""The right implementation that a wrong one changes, with the same signature: what passes where it fails.

Legend: B batch, H heads, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from properties.subjects.call import Conventions
from properties.zoo.faults import plain
from properties.zoo.wide import (
    cached,
    cached_layers,
    cached_manners,
    cached_masked,
    cached_padded,
    cross,
    dot_product,
    encoder,
    flash,
    grouped,
    kept,
    masked,
    packed,
    rotary,
)

PLAIN = Conventions()
BASES = frozenset(
    m.__name__
    for m in (
        plain,
        encoder,
        masked,
        cross,
        grouped,
        rotary,
        cached,
        cached_layers,
        cached_manners,
        cached_masked,
        cached_padded,
        kept,
    )
)


def partner(target: Callable[..., Any], kept: Conventions = PLAIN) -> Callable[..., Any] | None:
    """The plain class that a wrong class changes; the function whose steps a wrong function takes; None
    where there is none.

    kept: the conventions of the wrong one, by which it is right: where the diagonal lies, what a window
    counts, what rows give that see nothing.
    """
    if inspect.isclass(target):
        told = set(inspect.signature(target.forward).parameters)  # type: ignore[attr-defined]
        if told >= {"attn_mask", "padding_mask"}:
            return TwoMasks
        if "start_pos" in told and issubclass(target, rotary.PlainRotary):
            return Started
        bases = (
            b for b in target.__mro__[1:] if b.__module__ in BASES or b.__name__[:5] == "Plain"
        )
        return next(bases, None)
    names = set(inspect.signature(target).parameters)
    if "alibi_slopes" in names:
        return flash.as_function(type("Kept", (FlashKept,), {"kept": kept}))
    if "attn_mask" in names:
        return dot_product.as_function(EMPTY.get(kept.empty, dot_product.DotProduct))
    if "cu_seqlens_q" in names:
        return packed.as_function(Rising)
    taken = names <= set(inspect.signature(attention).parameters)
    return partial(attention, kept=kept) if taken else None


class TwoMasks(encoder.PlainEncoder):
    """A mask of pairs and one of keys, 1 attends; what either hides is hidden."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        told = [self.widen(mask).bool() for mask in (attn_mask, padding_mask) if mask is not None]
        return super().forward(
            x, torch.stack(torch.broadcast_tensors(*told)).all(0) if told else None
        )


class Started(rotary.PlainRotary):
    """Queries and keys begin at one position."""

    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return self.attend(x, self.angles[start_pos : start_pos + x.shape[1]])


class FlashKept(flash.Flash):
    """By conventions of diagonal and window."""

    kept: Conventions

    def behind(self, scores: Tensor) -> Tensor:
        """(T, S), how far a key lies behind its query."""
        queries, keys = scores.shape[-2:]
        offset = keys - queries if self.kept.align == "bottom right" else 0
        return torch.arange(queries)[:, None] + offset - torch.arange(keys)

    def hidden(self, scores: Tensor, causal: bool, window: tuple[int, int]) -> Tensor:
        """(T, S), true where a key is hidden."""
        own = self.kept.window == "counting oneself"
        left, right = (side - (own and side > 0) for side in window)
        return super().hidden(scores, causal, (left, right))


class Rising(packed.Packed):
    """Starts that fall are refused."""

    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        """(N, M), true where a key is hidden."""
        if any((one.diff() < 0).any() for one in (starts, ends)):
            raise ValueError("expected starts of documents that rise")
        return super().hidden(queries, keys, starts, ends, causal)


class Zeros(dot_product.DotProduct):
    """Zeros where a query sees nothing."""

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax, or zeros."""
        return super().normalise(scores).masked_fill(nothing(scores), 0.0)


class Uniform(dot_product.DotProduct):
    """All keys alike where a query sees nothing."""

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax, or a mean."""
        return super().normalise(scores).masked_fill(nothing(scores), 1.0 / scores.shape[-1])


EMPTY = {"zeros": Zeros, "uniform": Uniform, "mixture": Uniform}


def nothing(scores: Tensor) -> Tensor:
    """(B, H, T, 1), true where a query sees nothing."""
    return scores.isneginf().all(dim=-1, keepdim=True)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    window: int | None = None,
    scale: float | None = None,
    softcap: float = 0.0,
    is_causal: bool = False,
    enable_gqa: bool = False,
    dropout_p: float = 0.0,
    return_weights: bool = False,
    segment_ids: Tensor | None = None,
    kept: Conventions = PLAIN,
) -> Any:
    """(B, H, T, D), (B, G, S, D) twice -> (B, H, T, D), and (B, H, T, S) if asked; True attends, a window
    is of the past, and a query that sees nothing gives zeros.
    """
    key, value = (
        part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value)
    )
    z = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap > 0.0:
        z = softcap * torch.tanh(z / softcap)
    if bias is not None:
        z = z + bias
    queries, keys = z.shape[-2:]
    offset = keys - queries if kept.align == "bottom right" else 0
    behind = torch.arange(queries)[:, None] + offset - torch.arange(keys)
    seen = behind >= 0 if is_causal or window is not None else torch.ones_like(behind) > 0
    if window is not None:
        seen = seen & (behind <= window)
    if segment_ids is not None:
        seen = seen & (segment_ids[:, None, :, None] == segment_ids[:, None, None, :])
    if mask is not None:
        seen = seen & mask
    weights = z.masked_fill(~seen, torch.finfo(z.dtype).min).softmax(-1).masked_fill(~seen, 0.0)
    context = functional.dropout(weights, dropout_p) @ value
    return (context, weights) if return_weights else context
