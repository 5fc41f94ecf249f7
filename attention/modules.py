"""Attention as modules, each one step beyond the one before it.

    SimplifiedSelfAttention      the tokens attend to each other as they are
    SelfAttention_v1             three trainable matrices: queries, keys, values
    SelfAttention_v2             the same with linear layers
    CausalAttention              the future hidden, weights dropped in training, batches
    MultiHeadAttentionWrapper    several causal heads side by side
    MultiHeadAttention           all heads in one product, then a last projection

Names of parameters and buffers, and the order in which they draw from the random generator,
are those of the sources: seeds and state dicts carry over.

Legend for shapes: B batch, T tokens, H heads, D head_dim; `[B,]` may be left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attention import checks
from attention.functional import (
    attention_weights,
    causal_mask,
    context_vectors,
    dot_product_scores,
    hide_future,
    merge_heads,
    split_heads,
)


class SimplifiedSelfAttention(nn.Module):
    """Each token becomes a mixture of all tokens, weighted by likeness; nothing to train.

    The dot products are not scaled. Source: 003 §3.3.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ([B,] T, d_in) to ([B,] T, d_in); ValueError for another number of axes."""
        checks.require_tokens(x)
        weights = attention_weights(dot_product_scores(x, x))  # ([B,] T, T)
        return context_vectors(weights, x)


class SelfAttention_v1(nn.Module):
    """Queries, keys and values are products of the input with three trainable matrices.

    Raises ValueError if d_in or d_out is below 1. Source: 003 §3.4.
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        """Draw three (d_in, d_out) matrices, uniform on [0, 1)."""
        super().__init__()
        checks.require_positive(d_in=d_in, d_out=d_out)
        self.W_query = nn.Parameter(torch.rand(d_in, d_out))
        self.W_key = nn.Parameter(torch.rand(d_in, d_out))
        self.W_value = nn.Parameter(torch.rand(d_in, d_out))

    @classmethod
    def from_linear(cls, linear: SelfAttention_v2) -> SelfAttention_v1:
        """Compute what `linear` does, from copies of its weights. Source: 003 exercise 3.1.

        A linear layer stores its matrix transposed, (d_out, d_in), so each copy is turned.
        Raises ValueError if `linear` has biases, which have no place here.
        """
        if linear.W_query.bias is not None:
            raise ValueError("qkv_bias is True, expected False: SelfAttention_v1 has no biases")
        layers = {"W_query": linear.W_query, "W_key": linear.W_key, "W_value": linear.W_value}
        module = cls(linear.W_query.in_features, linear.W_query.out_features)
        module.to(linear.W_query.weight)  # its dtype and device
        module.load_state_dict({name: layer.weight.T for name, layer in layers.items()})
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Map ([B,] T, d_in) to ([B,] T, d_out); ValueError for any other shape."""
        checks.require_tokens(x, d_in=self.W_query.shape[0])
        queries = x @ self.W_query  # ([B,] T, d_out)
        keys = x @ self.W_key
        values = x @ self.W_value
        scores = dot_product_scores(queries, keys)  # ([B,] T, T)
        weights = attention_weights(scores, head_dim=keys.shape[-1])
        return context_vectors(weights, values)  # ([B,] T, d_out)


class SelfAttention_v2(nn.Module):
    """The same attention with linear layers: a better start for training, biases if wanted.

    Raises ValueError if d_in or d_out is below 1. Source: 003 §3.4.
    """

    def __init__(self, d_in: int, d_out: int, qkv_bias: bool = False) -> None:
        """Draw three linear layers from d_in to d_out."""
        super().__init__()
        checks.require_positive(d_in=d_in, d_out=d_out)
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ([B,] T, d_in) to ([B,] T, d_out); ValueError for any other shape."""
        checks.require_tokens(x, d_in=self.W_query.in_features)
        queries = self.W_query(x)  # ([B,] T, d_out)
        keys = self.W_key(x)
        values = self.W_value(x)
        scores = dot_product_scores(queries, keys)  # ([B,] T, T)
        weights = attention_weights(scores, head_dim=keys.shape[-1])
        return context_vectors(weights, values)  # ([B,] T, d_out)


class CausalAttention(nn.Module):
    """One head that sees no future, and in training loses some of its weights by chance.

    Dropout scales the weights that survive by 1 / (1 - p); rows then no longer sum to one.
    Raises ValueError if a size is below 1 or dropout is no probability. Source: 003 §3.5.3.
    """

    mask: Tensor  # (context_length, context_length), 1 where the future is

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, qkv_bias: bool = False
    ) -> None:
        """Draw three linear layers from d_in to d_out; hide up to context_length tokens."""
        super().__init__()
        checks.require_positive(d_in=d_in, d_out=d_out, context_length=context_length)
        checks.require_probability(dropout)
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", causal_mask(context_length).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, d_in) to (B, T, d_out); ValueError for any other shape or a longer T."""
        checks.require_batch(x, self.W_query.in_features, context_length=len(self.mask))
        num_tokens = x.shape[1]
        queries = self.W_query(x)  # (B, T, d_out)
        keys = self.W_key(x)
        values = self.W_value(x)
        scores = dot_product_scores(queries, keys)  # (B, T, T)
        hidden = self.mask[:num_tokens, :num_tokens].bool()  # (T, T)
        weights = attention_weights(scores, head_dim=keys.shape[-1], hidden=hidden)
        return context_vectors(self.dropout(weights), values)  # (B, T, d_out)


class MultiHeadAttentionWrapper(nn.Module):
    """Causal heads with weights of their own, one after the other, concatenated in order.

    Each head is d_out wide, so the whole is d_out * num_heads wide.
    Raises ValueError if a size is below 1 or dropout is no probability.
    Source: 003 §3.6.1; 000.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        """Draw num_heads causal heads from d_in to d_out each."""
        super().__init__()
        checks.require_positive(num_heads=num_heads)
        self.heads = nn.ModuleList(
            CausalAttention(d_in, d_out, context_length, dropout, qkv_bias)
            for _ in range(num_heads)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, d_in) to (B, T, d_out * H); ValueError for any other shape or a longer T."""
        return torch.cat([head(x) for head in self.heads], dim=-1)


class MultiHeadAttention(nn.Module):
    """All heads at once: project, split into heads, attend, merge, project again.

    The numbered steps are those of source 001. d_out is the width of all heads together.
    Raises ValueError if a size is below 1, if num_heads does not divide d_out, or if dropout
    is no probability. Source: 001; 003 §3.6.2.
    """

    mask: Tensor  # (context_length, context_length), 1 where the future is

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        """Draw three linear layers from d_in to d_out, and one from d_out to d_out."""
        super().__init__()
        checks.require_positive(
            d_in=d_in, d_out=d_out, context_length=context_length, num_heads=num_heads
        )
        checks.require_divisible(d_out, num_heads)
        checks.require_probability(dropout)
        # Step 2: from d_out and the number of heads follows the width of one head.
        self.d_out = d_out
        self.num_heads = num_heads
        self.head_dim = d_out // num_heads
        # Step 3: one trainable matrix each for the queries, keys and values of all heads.
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", causal_mask(context_length).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, d_in) to (B, T, d_out); ValueError for any other shape or a longer T."""
        # Step 1: the input is (B, T, d_in).
        checks.require_batch(x, self.W_query.in_features, context_length=len(self.mask))
        # Step 4: project.
        queries = self.W_query(x)  # (B, T, d_out)
        keys = self.W_key(x)
        values = self.W_value(x)
        # Step 5: unroll d_out into heads, (B, T, H, D). Step 6: bring the heads forward.
        queries = split_heads(queries, self.num_heads)  # (B, H, T, D)
        keys = split_heads(keys, self.num_heads)
        values = split_heads(values, self.num_heads)
        context = self.attend(queries, keys, values)  # steps 7, 8 and 9: (B, H, T, D)
        # Step 10: the heads side by side, then the last projection.
        projected: Tensor = self.out_proj(merge_heads(context))  # (B, T, d_out)
        return projected

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Causal attention within each head, three times (B, H, T, D) to (B, H, T, D)."""
        # Step 7: the scores of each head. To divide the queries is to divide each score, by (T, D)
        # divisions in place of (T, T).
        scores = dot_product_scores(queries / self.head_dim**0.5, keys)  # (B, H, T, T)
        # Step 8: hide the future, softmax, drop.
        num_tokens = queries.shape[-2]
        scores = hide_future(scores, self.mask[:num_tokens, :num_tokens].bool())
        weights = self.dropout(attention_weights(scores))
        # Step 9: the context vectors of each head.
        return context_vectors(weights, values)  # (B, H, T, D)
