"""Attention as lectures write it: sizes are names of the module. The last two are wrong."""

import torch
from torch import nn
from torch.nn import functional

batch_size = 4
block_size = 8
n_embd = 32
n_head = 4
dropout = 0.2
scale_by = 1.0


class Head(nn.Module):
    def __init__(self, head_size):
        super().__init__()
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        T = x.shape[1]
        wei = self.query(x) @ self.key(x).transpose(-2, -1) * self.factor(x)
        wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))
        return self.dropout(functional.softmax(wei, dim=-1)) @ self.value(x)

    def factor(self, x):
        return self.key.out_features**-0.5


class MultiHeadAttention(nn.Module):
    def __init__(self, num_heads, head_size):
        super().__init__()
        self.heads = nn.ModuleList([Head(head_size) for _ in range(num_heads)])
        self.proj = nn.Linear(head_size * num_heads, n_embd)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.proj(torch.cat([head(x) for head in self.heads], dim=-1)))


class LateAttention(nn.Module):
    """Reads them in each of its calls."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(n_embd, 3 * n_embd)
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x):
        q, k, v = (
            part.unflatten(2, (n_head, n_embd // n_head)).transpose(1, 2)
            for part in self.qkv(x).split(n_embd, dim=-1)
        )
        p = dropout if self.training else 0.0
        y = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=p, is_causal=True, scale=self.scale()
        )
        return self.proj(y.transpose(1, 2).flatten(2))

    def scale(self):
        return scale_by * (n_embd // n_head) ** -0.5


class WideHead(Head):
    """Scales by the width of its input."""

    def factor(self, x):
        return x.shape[-1] ** -0.5


class LateWideAttention(LateAttention):
    """Scales by the width of all heads."""

    def scale(self):
        return n_embd**-0.5
