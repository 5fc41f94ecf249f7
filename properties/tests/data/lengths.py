"""Attention that is told how many tokens of each item are real, right and wrong.

Legend: B items, T queries, S keys, H heads, D head_dim, E = H * D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def within(lengths: Tensor, keys: int) -> Tensor:
    """(B, S), true for as many keys as there are real tokens."""
    return torch.arange(keys) < lengths[:, None]


class Reading(nn.Module):
    """Queries, keys and values come by themselves; heads lie in the axis of items, (B*H, T, D)."""

    def __init__(self, num_hiddens: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.W_q = nn.Linear(num_hiddens, num_hiddens, bias=False)
        self.W_k = nn.Linear(num_hiddens, num_hiddens, bias=False)
        self.W_v = nn.Linear(num_hiddens, num_hiddens, bias=False)
        self.W_o = nn.Linear(num_hiddens, num_hiddens, bias=False)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, valid_lens: Tensor | None = None
    ) -> Tensor:
        """(B, T, E), (B, S, E) twice, (B,) -> (B, T, E)."""
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2).flatten(0, 1)
            for part in (self.W_q(queries), self.W_k(keys), self.W_v(values))
        )
        scores = torch.bmm(q, k.mT) / q.shape[-1] ** 0.5
        if valid_lens is not None:
            real = within(self.of_heads(valid_lens), keys.shape[1])
            scores = scores.masked_fill(~real[:, None], -1e6)
        context = torch.bmm(scores.softmax(dim=-1), v)
        output: Tensor = self.W_o(
            context.unflatten(0, (len(queries), -1)).transpose(1, 2).flatten(2)
        )
        return output

    def of_heads(self, lengths: Tensor) -> Tensor:
        """(B,) -> (B*H,)."""
        return lengths.repeat_interleave(self.num_heads)


class TiledOverHeads(Reading):
    """Wrong: the heads of an item lie side by side, and get the lengths of others."""

    def of_heads(self, lengths: Tensor) -> Tensor:
        return lengths.repeat(self.num_heads)


class OneTooMany(Reading):
    """Wrong: the first token of padding is seen."""

    def of_heads(self, lengths: Tensor) -> Tensor:
        return super().of_heads(lengths + 1)


class LastIsLost(Reading):
    """Wrong: the last real token is hidden."""

    def of_heads(self, lengths: Tensor) -> Tensor:
        return super().of_heads(lengths - 1)


class OfTheFirstItem(Reading):
    """Wrong: all items are as long as the first."""

    def of_heads(self, lengths: Tensor) -> Tensor:
        return super().of_heads(lengths[:1].expand(len(lengths)))


class Decoder(nn.Module):
    """Hides the future, and padding behind it."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, E), (B,) -> (B, T, E)."""
        tokens = x.shape[1]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        if lengths is not None:
            seen = seen & self.real(lengths, tokens)[:, None, None]
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf)
        output: Tensor = self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return output

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        """(B, T)."""
        return within(lengths, tokens)


class Encoder(Decoder):
    """Hides padding alone, and gives nothing for it."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, E), (B,) -> (B, T, E)."""
        tokens = x.shape[1]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if lengths is not None:
            scores = scores.masked_fill(~self.real(lengths, tokens)[:, None, None], -torch.inf)
        output: Tensor = self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return output if lengths is None else output * self.kept(lengths, tokens)[..., None]

    def kept(self, lengths: Tensor, tokens: int) -> Tensor:
        """(B, T), the rows that are given."""
        return within(lengths, tokens)


class EncoderIgnoringLengths(Encoder):
    """Wrong: padding gives nothing, and is attended to."""

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        return super().real(torch.full_like(lengths, tokens), tokens)


class MaskedEncoder(Encoder):
    """Told by a mask, (B, T), of which 1 is real, and which may be anywhere."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, E), (B, T) -> (B, T, E)."""
        return super().forward(x, attention_mask)

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        return lengths.bool()

    kept = real


class MaskedEncoderOfTheFirstItem(MaskedEncoder):
    """Wrong: all items have the mask of the first."""

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        return lengths[:1].bool()


class DecoderIgnoringLengths(Decoder):
    """Wrong."""

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        return super().real(torch.full_like(lengths, tokens), tokens)


class Listener(nn.Module):
    """Reads a context, of which so many tokens are real."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q, self.kv = nn.Linear(d_model, d_model), nn.Linear(d_model, 2 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, memory: Tensor, memory_lengths: Tensor | None = None) -> Tensor:
        """(B, T, E), (B, S, E), (B,) -> (B, T, E)."""
        q = self.q(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        k, v = self.kv(memory).unflatten(-1, (2, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if memory_lengths is not None:
            real = within(self.told(memory_lengths), memory.shape[1])
            scores = scores.masked_fill(~real[:, None, None], -torch.inf)
        output: Tensor = self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return output

    def told(self, lengths: Tensor) -> Tensor:
        """(B,)."""
        return lengths


class ListenerOfOtherItems(Listener):
    """Wrong: the lengths are in another order."""

    def told(self, lengths: Tensor) -> Tensor:
        return lengths.roll(1)


def attention(q: Tensor, k: Tensor, v: Tensor, kv_lens: Tensor | None = None) -> Tensor:
    """(B, H, T, D), (B, H, S, D) twice, (B,) -> (B, H, T, D)."""
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
    if kv_lens is not None:
        scores = scores.masked_fill(~within(kv_lens, k.shape[2])[:, None, None], -torch.inf)
    return torch.einsum("bhts,bhsd->bhtd", scores.softmax(dim=-1), v)


def attention_to_padding(q: Tensor, k: Tensor, v: Tensor, kv_lens: Tensor | None = None) -> Tensor:
    """Wrong: what is real is hidden."""
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
    if kv_lens is not None:
        scores = scores.masked_fill(within(kv_lens, k.shape[2])[:, None, None], -1e9)
    return torch.einsum("bhts,bhsd->bhtd", scores.softmax(dim=-1), v)


class KeepsPadding(Encoder):
    """What is padding is given back as it came."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, E), (B,) -> (B, T, E)."""
        output = super().forward(x, lengths)
        if lengths is None:
            return output
        return torch.where(within(lengths, x.shape[1])[..., None], output, x)


class OfTheLastTokens(Decoder):
    """Padding stands before what is real, as where sequences are gone on with."""

    def real(self, lengths: Tensor, tokens: int) -> Tensor:
        return torch.arange(tokens) >= tokens - lengths[:, None]


class ListenerToldOfItself(Listener):
    """Its lengths are of x, of which it gives nothing behind them."""

    def forward(self, x: Tensor, memory: Tensor, x_lens: Tensor | None = None) -> Tensor:
        """(B, T, E), (B, S, E), (B,) -> (B, T, E)."""
        output = super().forward(x, memory)
        return output if x_lens is None else output * within(x_lens, x.shape[1])[..., None]


def attention_of_one_length(
    q: Tensor, k: Tensor, v: Tensor, valid_len: int | None = None
) -> Tensor:
    """All items are as long as each other."""
    keys = k.shape[2] if valid_len is None else int(valid_len)
    return attention(q, k[:, :, :keys], v[:, :, :keys])


def attention_of_real_queries(
    q: Tensor, k: Tensor, v: Tensor, seq_lens: Tensor | None = None
) -> Tensor:
    """The lengths are of queries, and nothing is given behind them."""
    output = attention(q, k, v)
    return output if seq_lens is None else output * within(seq_lens, q.shape[2])[:, None, :, None]


def attention_by_the_last_place(
    q: Tensor, k: Tensor, v: Tensor, seq_lens: Tensor | None = None
) -> Tensor:
    """Compares places with one less than the lengths, which are numbers and no booleans."""
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
    if seq_lens is not None:
        seen = seq_lens[:, None] - 1 >= torch.arange(k.shape[2])
        scores = scores.masked_fill(~seen[:, None, None], -torch.inf)
    return torch.einsum("bhts,bhsd->bhtd", scores.softmax(dim=-1), v)
