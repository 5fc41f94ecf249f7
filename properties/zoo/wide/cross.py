"""Modules whose keys and values may come from a context: right ones, whose steps wrong ones change.

Legend: B batch, T tokens of x, S tokens of the context, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound


class PlainCross(nn.Module):
    """Queries from x, keys and values from the context, or from x without one. A step is a method."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.to_q = nn.Linear(d_model, d_model, bias=False)
        self.to_k = nn.Linear(d_model, d_model, bias=False)
        self.to_v = nn.Linear(d_model, d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        of_queries, of_keys, of_values = self.sources(x, context)
        queries = self.split(self.to_q(of_queries))
        keys, values = self.split(self.to_k(of_keys)), self.split(self.to_v(of_values))
        weights = self.weigh(queries @ keys.mT * self.head_dim**-0.5)
        output: Tensor = self.to_out((self.dropout(weights) @ values).transpose(1, 2).flatten(2))
        return output

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What queries, keys and values are made of."""
        return (x, x, x) if context is None else (x, context, context)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def weigh(self, scores: Tensor) -> Tensor:
        """Weights of scores, (B, H, T, S)."""
        return scores.softmax(dim=-1)


right = partial(sound, kind="cross")


@right("cross-or-self")
class CrossOrSelf(PlainCross):
    """As the steps are."""


@right("cross-with-two-masks", mask="attends", empty="uniform")
class CrossWithTwoMasks(PlainCross):
    """mask is of x and hides its keys where there is no context; context_mask hides the context's."""

    seen: Tensor | None = None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); masks (B, T), (B, S)."""
        self.seen = mask if context is None else context_mask
        return super().forward(x, context)

    def weigh(self, scores: Tensor) -> Tensor:
        """Weights of scores, (B, H, T, S)."""
        if self.seen is not None:
            hidden = ~self.seen[:, None, None, :].bool()
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return super().weigh(scores)


@right("cross-with-a-width-of-its-own")
class CrossAttention(nn.Module):
    """The context has its own width; keys and values come from one matrix."""

    def __init__(self, d_model: int, d_context: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(d_model, d_model)
        self.kv = nn.Linear(d_context, 2 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, T, d_model), (B, S, d_context) -> (B, T, d_model)."""
        shape = (len(x), -1, self.num_heads, x.shape[-1] // self.num_heads)
        q = self.query(x).reshape(shape)
        k, v = (part.reshape(shape) for part in self.kv(context).chunk(2, dim=-1))
        scores = torch.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
        context = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v).flatten(2)
        output: Tensor = self.proj(context)
        return output


@right("cross-to-encoder-states", mask="attends", empty="uniform")
class EncoderDecoderAttention(nn.Module):
    """As libraries name it: encoder_hidden_states, and their mask, (B, S), in which 1 attends."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.p = n_heads, dropout
        self.q_proj, self.k_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.v_proj, self.out_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def forward(
        self,
        x: Tensor,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        source = x if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            layer(of).view(len(x), -1, self.n_heads, x.shape[-1] // self.n_heads).transpose(1, 2)
            for layer, of in ((self.q_proj, x), (self.k_proj, source), (self.v_proj, source))
        )
        bias = None
        if encoder_attention_mask is not None:
            bias = torch.zeros_like(encoder_attention_mask, dtype=x.dtype)
            bias = bias.masked_fill(encoder_attention_mask == 0, torch.finfo(x.dtype).min)
            bias = bias[:, None, None]
        p = self.p if self.training else 0.0
        out = functional.scaled_dot_product_attention(q, k, v, bias, p)
        output: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return output
