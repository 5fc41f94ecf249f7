"""Rotary positions in the public manners: halves with cosines kept, complex turns, a part of a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def rotate_half(x: Tensor) -> Tensor:
    """(a, b) -> (-b, a), halves of the last axis."""
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


class RotaryEmbedding(nn.Module):
    """Cosines and sines, each (T, D), in float32 whatever the format of the rest."""

    def __init__(self, dim: int, base: float) -> None:
        super().__init__()
        inv_freq = 1.0 / base ** (torch.arange(0, dim, 2).float() / dim)
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        speeds: Tensor = self.inv_freq.float()  # type: ignore[operator]
        angles = torch.outer(torch.arange(x.shape[1]).float(), speeds)
        emb = torch.cat([angles, angles], dim=-1)
        return emb.cos().to(x.dtype), emb.sin().to(x.dtype)


class LlamaAttention(nn.Module):
    """No bias, fewer heads of keys and values, angles in float32."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_key_value_heads: int,
        rope_theta: float = 500000.0,
    ) -> None:
        super().__init__()
        self.heads, self.kv, self.head_dim = (
            num_heads,
            num_key_value_heads,
            hidden_size // num_heads,
        )
        self.q_proj = nn.Linear(hidden_size, num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.kv * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.kv * self.head_dim, bias=False)
        self.o_proj = nn.Linear(num_heads * self.head_dim, hidden_size, bias=False)
        self.rotary_emb = RotaryEmbedding(self.head_dim, rope_theta)

    def forward(self, hidden_states: Tensor) -> Tensor:
        batch, tokens, _ = hidden_states.shape
        q = (
            self.q_proj(hidden_states)
            .view(batch, tokens, self.heads, self.head_dim)
            .transpose(1, 2)
        )
        k = self.k_proj(hidden_states).view(batch, tokens, self.kv, self.head_dim).transpose(1, 2)
        v = self.v_proj(hidden_states).view(batch, tokens, self.kv, self.head_dim).transpose(1, 2)
        cos, sin = self.rotary_emb(hidden_states)
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        k, v = (part.repeat_interleave(self.heads // self.kv, dim=1) for part in (k, v))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, tokens, -1))
        return result


class LlamaGivenEmbeddings(nn.Module):
    """The caller shares cosines and sines among its layers, (B, T, D) each."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = num_heads, hidden_size // num_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(4)
        )

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q, k, v = (
            layer(hidden_states).view(shape).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = (part.unsqueeze(1) for part in position_embeddings)
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.o_proj(out.transpose(1, 2).reshape(*hidden_states.shape))
        return result


class MetaAttention(nn.Module):
    """Neighbours are the parts of a complex number; freqs_cis, (T, D / 2), comes from the caller."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, dim // n_heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x: Tensor, freqs_cis: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        xq, xk, xv = (
            layer(x).view(batch, tokens, self.n_heads, self.head_dim)
            for layer in (self.wq, self.wk, self.wv)
        )
        xq, xk = self.turned(xq, freqs_cis), self.turned(xk, freqs_cis)
        q, k, v = (part.transpose(1, 2) for part in (xq, xk, xv))
        scores = q @ k.transpose(2, 3) / self.head_dim**0.5
        scores = scores + torch.full((tokens, tokens), -torch.inf, dtype=x.dtype).triu(1)
        output: Tensor = self.wo(
            (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1)
        )
        return output

    @staticmethod
    def turned(x: Tensor, freqs_cis: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        pairs = torch.view_as_complex(x.to(precise).reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * freqs_cis[:, None]).flatten(3).to(x.dtype)


class NeoXAttention(nn.Module):
    """A quarter of each head is turned by halves; one matrix, head by head; biases."""

    def __init__(self, hidden_size: int, num_heads: int, rotary_pct: float = 0.25) -> None:
        super().__init__()
        self.heads, self.head_dim = num_heads, hidden_size // num_heads
        self.rotary_ndims = int(self.head_dim * rotary_pct)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.rotary_emb = RotaryEmbedding(self.rotary_ndims, 10000.0)

    def forward(self, hidden_states: Tensor) -> Tensor:
        batch, tokens, width = hidden_states.shape
        qkv = self.query_key_value(hidden_states).view(batch, tokens, self.heads, 3 * self.head_dim)
        q, k, v = qkv.permute(0, 2, 1, 3).chunk(3, dim=-1)
        cos, sin = self.rotary_emb(hidden_states)
        q, k = self.partly(q, cos, sin), self.partly(k, cos, sin)
        scores = q @ k.transpose(-1, -2) / self.head_dim**0.5
        scores = scores.masked_fill(~torch.ones(tokens, tokens).tril().bool(), -torch.inf)
        context = scores.softmax(-1) @ v
        output: Tensor = self.dense(context.transpose(1, 2).reshape(batch, tokens, width))
        return output

    def partly(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        turned, rest = x[..., : self.rotary_ndims], x[..., self.rotary_ndims :]
        return torch.cat([turned * cos + rotate_half(turned) * sin, rest], dim=-1)


def by_places(x: Tensor) -> Tensor:
    """Neighbours of (B, H, T, D) turned by their places."""
    speeds = 10000.0 ** (-torch.arange(0, x.shape[-1], 2, dtype=x.dtype) / x.shape[-1])
    angles = torch.arange(x.shape[-2])[:, None] * speeds
    a, b = x[..., 0::2], x[..., 1::2]
    first, second = a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()
    return torch.stack([first, second], dim=-1).flatten(-2)


class TurnedBeside(nn.Module):
    """What turns is a function beside the class, which speaks of nothing."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.wq, self.wk, self.wv)
        )
        q, k = by_places(q), by_places(k)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.wo(out.transpose(1, 2).flatten(2))
        return output


class TurnedByNumber(TurnedBeside):
    """So many columns of each head, whatever its size."""

    def __init__(self, dim: int, n_heads: int, rotary_dim: int = 2) -> None:
        super().__init__(dim, n_heads)
        self.r = rotary_dim

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.wq, self.wk, self.wv)
        )
        q, k = (torch.cat([by_places(p[..., : self.r]), p[..., self.r :]], dim=-1) for p in (q, k))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.wo(out.transpose(1, 2).flatten(2))
        return output


class Sinusoidal(nn.Module):
    """Speaks of cosines, and turns nothing: heads that are scored by their cosine."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos = q @ k.mT / q.shape[-1] ** 0.5
        future = torch.ones_like(cos, dtype=torch.bool).triu(1)
        context = cos.masked_fill(future, -torch.inf).softmax(-1) @ v
        output: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return output


class MetaGivenMask(MetaAttention):
    """The caller has to say what is hidden, or None; turned and normalised in float32."""

    def forward(  # type: ignore[override]
        self, x: Tensor, freqs_cis: Tensor, mask: Tensor | None
    ) -> Tensor:
        batch, tokens, _ = x.shape
        xq, xk, xv = (
            layer(x).view(batch, tokens, self.n_heads, self.head_dim)
            for layer in (self.wq, self.wk, self.wv)
        )
        xq, xk = self.turned(xq, freqs_cis), self.turned(xk, freqs_cis)
        q, k, v = (part.transpose(1, 2) for part in (xq, xk, xv))
        scores = q @ k.transpose(2, 3) / self.head_dim**0.5
        if mask is not None:
            scores = scores + mask
        weights = scores.float().softmax(-1).to(x.dtype)
        output: Tensor = self.wo((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))
        return output

    @staticmethod
    def turned(x: Tensor, freqs_cis: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * freqs_cis[:, None]).flatten(3).to(x.dtype)
