"""Attention that is wrong; each class still has to be asked as what it is meant to be."""

import torch
from torch import nn


class Projected(nn.Module):
    def __init__(self, d_in, d_out, context_length, dropout, num_heads=1, qkv_bias=False):
        super().__init__()
        self.num_heads, self.d_out = num_heads, d_out
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), 1))


class OneHead(Projected):
    def __init__(self, d_in, d_out, context_length, dropout, qkv_bias=False):
        super().__init__(d_in, d_out, context_length, dropout, 1, qkv_bias)


class CausalWithoutMask(OneHead):
    def forward(self, x):
        scores = self.W_query(x) @ self.W_key(x).transpose(1, 2)
        return torch.softmax(scores, dim=-1) @ self.W_value(x)


class CausalSeesOneAhead(OneHead):
    def forward(self, x):
        scores = self.W_query(x) @ self.W_key(x).transpose(1, 2)
        future = torch.ones(x.shape[1], x.shape[1]).triu(2).bool()
        return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1) @ self.W_value(x)


class CausalHidesItself(OneHead):
    def forward(self, x):
        scores = self.W_query(x) @ self.W_key(x).transpose(1, 2)
        future = torch.ones(x.shape[1], x.shape[1]).triu(0).bool()
        return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1) @ self.W_value(x)


class CausalDiscardsMask(OneHead):
    def forward(self, x):
        scores = self.W_query(x) @ self.W_key(x).transpose(1, 2)
        scores.masked_fill(self.mask.bool()[: x.shape[1], : x.shape[1]], -torch.inf)
        return torch.softmax(scores, dim=-1) @ self.W_value(x)


class CausalRaises(OneHead):
    def forward(self, x):
        raise ValueError("not today")


class CausalTuple(OneHead):
    def forward(self, x):
        return self.W_value(x), None


class CausalArray(OneHead):
    def forward(self, x):
        return self.W_value(x).detach().numpy()


class Multi(Projected):
    """The heads as they should be, but no mask, scale or dropout."""

    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)

    def apart(self, x):
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.apart(layer(x)) for layer in (self.W_query, self.W_key, self.W_value))
        context = torch.softmax(q @ k.transpose(2, 3), dim=-1) @ v
        return self.out_proj(context.transpose(1, 2).flatten(2))


class MultiWithoutMask(Multi):
    pass


class MultiSplitsWrongly(Multi):
    def apart(self, x):
        return x.reshape(x.shape[0], self.num_heads, x.shape[1], -1)


class MultiMergesWrongly(Multi):
    def forward(self, x):
        q, k, v = (self.apart(layer(x)) for layer in (self.W_query, self.W_key, self.W_value))
        context = torch.softmax(q @ k.transpose(2, 3), dim=2) @ v
        return self.out_proj(context.reshape(x.shape[0], x.shape[1], self.d_out))


class MultiOfWrongRank(Multi):
    def forward(self, x):
        return self.W_value(x).flatten(1)


class MultiSwappedMatrices(nn.Module):
    """Raw square matrices, applied turned, and a softmax over the queries."""

    def __init__(self, embed_dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.w_q = nn.Parameter(torch.randn(embed_dim, embed_dim))
        self.w_k = nn.Parameter(torch.randn(embed_dim, embed_dim))
        self.w_v = nn.Parameter(torch.randn(embed_dim, embed_dim))
        self.w_o = nn.Parameter(torch.randn(embed_dim, embed_dim))

    def forward(self, x):
        q, k, v = (
            (x @ w.T).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for w in (self.w_q, self.w_k, self.w_v)
        )
        context = torch.softmax(q @ k.transpose(2, 3), dim=-2) @ v
        return context.transpose(1, 2).flatten(2) @ self.w_o


class WrapperOfOpenHeads(nn.Module):
    def __init__(self, d_in, d_out, context_length, dropout, num_heads):
        super().__init__()
        self.heads = nn.ModuleList(
            CausalWithoutMask(d_in, d_out, context_length, dropout) for _ in range(num_heads)
        )

    def forward(self, x):
        return torch.cat([head(x) for head in self.heads], dim=-1)


class WrapperSums(WrapperOfOpenHeads):
    """Adds what it should put side by side."""

    def forward(self, x):
        return sum(head(x) for head in self.heads)


class MultiKeepsOwnSizes(nn.Module):
    """Its query matrix has not the size that it was asked for."""

    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        self.W_query = nn.Linear(d_in, d_in)
        self.W_key = nn.Linear(d_in, d_out)
        self.W_value = nn.Linear(d_in, d_out)

    def forward(self, x):
        return self.W_value(x)
