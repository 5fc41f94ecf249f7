"""Causal modules that keep keys and values of padded prompts: each step is told which tokens are padding.

Legend: B batch, T tokens of this call, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide.cached import future, right

Past = tuple[Tensor, ...]


@right("cached-with-padding")
class CachedWithPadding(nn.Module):
    """The caller holds the past; the mask is of all tokens so far, true where one is real."""

    def __init__(self, d_model: int, n_heads: int, context_length: int) -> None:
        super().__init__()
        self.n_heads, self.context_length = n_heads, context_length
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, x: Tensor, attention_mask: Tensor | None = None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """(B, T, d_model), (B, S) -> (B, T, d_model), and keys and values."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        if keys.shape[2] > self.context_length:
            raise ValueError(f"{keys.shape[2]} tokens: at most {self.context_length} fit")
        seen = ~future(x.shape[1], keys.shape[2])
        if attention_mask is not None:
            seen = seen & self.real(attention_mask.bool(), x.shape[1])[:, None, None]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), (keys, values)

    def real(self, mask: Tensor, tokens: int) -> Tensor:
        """(B, S), which keys are no padding."""
        return mask


@right("cached-with-padding-of-its-own")
class CachedWithPaddingOfItsOwn(CachedWithPadding):
    """Each step is told of its own tokens alone, true where one is padding; the past holds the rest."""

    def forward(
        self, x: Tensor, key_padding_mask: Tensor | None = None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """(B, T, d_model), (B, T) -> (B, T, d_model), and keys, values and (B, S)."""
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        if key_padding_mask is not None:
            real = real & ~key_padding_mask
        if past is not None:
            real = torch.cat([past[2], real], dim=1)
        output, kept = super().forward(x, real, past)
        return output, (*kept, real)
