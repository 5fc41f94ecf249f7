"""How a module is asked for: asserts, keywords, defaults, a config, a factory.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D. PYTEST_DONT_REWRITE: the asserts below
are the implementations' own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, attend


@right("asserts-for-errors")
class AssertingAttention(nn.Module):
    """Whatever cannot be attended to fails an assert."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        assert d_out % num_heads == 0, f"{num_heads} heads do not divide {d_out}"
        assert 0 <= dropout <= 1, f"dropout {dropout} is no probability"
        self.d_in, self.num_heads = d_in, num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        assert x.dim() == 3, f"{x.dim()} axes, expected 3: (batch, tokens, {self.d_in})"
        batch, tokens, d_in = x.shape
        assert d_in == self.d_in, f"{d_in} columns, expected {self.d_in}"
        assert tokens <= len(self.mask), f"{tokens} tokens, at most {len(self.mask)} fit"
        shape = (batch, tokens, self.num_heads, self.W_key.out_features // self.num_heads)
        queries, keys, values = (
            layer(x).reshape(shape).swapaxes(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        scores = torch.matmul(queries, keys.swapaxes(2, 3))
        scores.masked_fill_(self.mask.bool()[:tokens, :tokens], -torch.inf)
        weights = self.dropout(torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1))
        return self.out_proj(torch.matmul(weights, values).swapaxes(1, 2).flatten(2))


@dataclass
class Settings:
    """Everything that the module below is asked for."""

    emb_dim: int
    context_length: int
    n_heads: int
    drop_rate: float = 0.1
    qkv_bias: bool = False


class ConfiguredAttention(SplitHeads):
    """Takes one object with all settings."""

    def __init__(self, settings: Settings) -> None:
        width = settings.emb_dim
        super().__init__(
            width,
            width,
            settings.context_length,
            settings.drop_rate,
            settings.n_heads,
            settings.qkv_bias,
        )

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


@right("built-by-a-factory-from-a-config")
def configured_attention(
    emb_dim: int,
    context_length: int,
    n_heads: int,
    drop_rate: float = 0.1,
    qkv_bias: bool = False,
) -> nn.Module:
    """A factory that fills in the config."""
    return ConfiguredAttention(Settings(emb_dim, context_length, n_heads, drop_rate, qkv_bias))


@right("keywords-in-another-order")
class KeywordAttention(ConfiguredAttention):
    """Keyword-only arguments under other names, some with defaults."""

    def __init__(
        self,
        *,
        n_heads: int,
        p_dropout: float = 0.2,
        use_bias: bool = True,
        max_seq_len: int = 1024,
        output_size: int,
        input_size: int,
    ) -> None:
        SplitHeads.__init__(
            self, input_size, output_size, max_seq_len, p_dropout, n_heads, use_bias
        )


@right("widths-of-heads-instead-of-their-sum")
class HeadDimAttention(ConfiguredAttention):
    """head_dim is asked for and d_out follows, so nothing can be indivisible."""

    def __init__(self, dim: int, num_heads: int, dim_head: int, seq_len: int, dropout: float = 0.0):
        SplitHeads.__init__(self, dim, num_heads * dim_head, seq_len, dropout, num_heads)
