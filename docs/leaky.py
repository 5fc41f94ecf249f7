"""An attention with one letter missing: `masked_fill` without its underscore hides nothing."""

import torch
from torch import nn


class LeakyAttention(nn.Module):
    def __init__(self, input_dim, output_dim, n_heads, ctx_len, drop_rate=0.0, bias=False):
        super().__init__()
        assert output_dim % n_heads == 0
        self.n_heads, self.head_dim = n_heads, output_dim // n_heads
        self.Wq = nn.Linear(input_dim, output_dim, bias=bias)
        self.Wk = nn.Linear(input_dim, output_dim, bias=bias)
        self.Wv = nn.Linear(input_dim, output_dim, bias=bias)
        self.proj = nn.Linear(output_dim, output_dim)
        self.drop = nn.Dropout(drop_rate)
        self.register_buffer("mask", torch.ones(ctx_len, ctx_len).triu(diagonal=1).bool())

    def forward(self, x):
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.Wq, self.Wk, self.Wv)
        )
        scores = queries @ keys.transpose(2, 3)
        scores.masked_fill(self.mask[: x.shape[1], : x.shape[1]], -torch.inf)
        weights = self.drop(torch.softmax(scores / self.head_dim**0.5, dim=-1))
        return self.proj((weights @ values).transpose(1, 2).flatten(2))
