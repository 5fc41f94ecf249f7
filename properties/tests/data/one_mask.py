"""Encoders with a mask (T, T) for one sequence, which they take with a batch of one or many.

Legend: T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneMask(nn.Module):
    """True hides."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if mask is not None:
            if mask.ndim != 2:
                raise ValueError(f"mask is {tuple(mask.shape)}, expected (T, T)")
            scores = self.hide(scores, mask)
        output: Tensor = self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return output

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(mask, -torch.inf)


class AddedMask(OneMask):
    """Numbers that are added."""

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


class KeysBeyondShown(OneMask):
    """Of the mask four columns are read."""

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        read = mask.clone()
        read[:, 4:] = False
        return super().hide(scores, read)
