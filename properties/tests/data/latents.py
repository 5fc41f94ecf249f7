"""Multi-head latent attention without positions in two spellings, and wrong ones.

Legend: B batch, T tokens, H heads, D head_dim, C width of a latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentAttention(nn.Module):
    """As in lectures: one latent for keys and values."""

    diagonal = 1

    def __init__(self, d_model: int, num_heads: int, kv_latent_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.W_q = nn.Linear(d_model, d_model, bias=False)
        self.W_dkv = nn.Linear(d_model, kv_latent_dim, bias=False)
        self.W_uk = nn.Linear(kv_latent_dim, d_model, bias=False)
        self.W_uv = nn.Linear(kv_latent_dim, d_model, bias=False)
        self.W_o = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> the same."""
        latent = self.W_dkv(x)
        q, k, v = self.W_q(x), self.W_uk(latent), self.W_uv(latent)
        output: Tensor = self.W_o(self.merged(self.attend(q, k, v)))
        return output

    def attend(self, *projected: Tensor) -> Tensor:
        """(B, T, H * D) three times -> (B, H, T, D)."""
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in projected)
        future = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(self.diagonal)
        scores = (q @ k.mT * self.scale()).masked_fill(future, -torch.inf)
        return scores.softmax(-1) @ v

    def scale(self) -> float:
        """By what scores are multiplied."""
        return float(self.head_dim**-0.5)

    def merged(self, context: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, T, H * D)."""
        return context.transpose(1, 2).flatten(2)


class NormedLatents(LatentAttention):
    """As in DeepSeek-V2, without its positions: a latent for queries, too, and a norm of each."""

    def __init__(
        self, hidden_size: int, num_heads: int, q_lora_rank: int = 6, kv_lora_rank: int = 4
    ) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.head_dim = num_heads, hidden_size // num_heads
        self.q_a_proj = nn.Linear(hidden_size, q_lora_rank, bias=False)
        self.q_a_layernorm = nn.RMSNorm(q_lora_rank)
        self.q_b_proj = nn.Linear(q_lora_rank, hidden_size, bias=False)
        self.kv_a_proj = nn.Linear(hidden_size, kv_lora_rank, bias=False)
        self.kv_a_layernorm = nn.RMSNorm(kv_lora_rank)
        self.kv_b_proj = nn.Linear(kv_lora_rank, 2 * hidden_size, bias=False)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, hidden_size) -> the same."""
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        k, v = self.kv_b_proj(self.latent(x)).chunk(2, dim=-1)
        output: Tensor = self.o_proj(self.merged(self.attend(q, k, v)))
        return output

    def latent(self, x: Tensor) -> Tensor:
        """(B, T, C), of which keys and values are made."""
        made: Tensor = self.kv_a_layernorm(self.kv_a_proj(x))
        return made


class OffByOne(LatentAttention):
    diagonal = 2


class ScaledByTheLatent(LatentAttention):
    def scale(self) -> float:
        return float(self.W_uk.in_features**-0.5)


class MergedWithoutTranspose(LatentAttention):
    def merged(self, context: Tensor) -> Tensor:
        batch, heads, tokens, head_dim = context.shape
        return context.reshape(batch, tokens, heads * head_dim)


class OfTheQueriesLatent(NormedLatents):
    """Keys and values are made of what queries are made of."""

    def __init__(self, hidden_size: int, num_heads: int, latent_dim: int) -> None:
        super().__init__(hidden_size, num_heads, latent_dim, latent_dim)

    def latent(self, x: Tensor) -> Tensor:
        made: Tensor = self.q_a_layernorm(self.q_a_proj(x))
        return made


class OfAWidthOfItsOwn(LatentAttention):
    """Right, of a latent whose width nobody can set."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads, 3)


class RotaryKeyAttention(LatentAttention):
    """As in DeepSeek-V2, in one's own words: positions turn a part of queries and keys that is made of no
    latent, and all heads share that of the keys.
    """

    rotary = 2  # columns of it

    def __init__(self, d_model: int, num_heads: int, kv_latent_dim: int = 6) -> None:
        super().__init__(d_model, num_heads, kv_latent_dim)
        self.W_qr = nn.Linear(d_model, num_heads * self.rotary, bias=False)
        self.W_kr = nn.Linear(d_model, self.rotary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> the same."""
        latent = self.W_dkv(x)
        own = self.W_kr(x).repeat(1, 1, self.num_heads)
        q = self.joined(self.W_q(x), self.turned(self.W_qr(x)))
        k = self.joined(self.W_uk(latent), self.turned(own))
        output: Tensor = self.W_o(self.merged(self.attend(q, k, self.W_uv(latent))))
        return output

    def scale(self) -> float:
        return float((self.head_dim + self.rotary) ** -0.5)

    def joined(self, made: Tensor, turned: Tensor) -> Tensor:
        """For each head its columns of both, one after the other."""
        parts = [part.unflatten(-1, (self.num_heads, -1)) for part in (made, turned)]
        return torch.cat(parts, -1).flatten(2)

    def turned(self, x: Tensor) -> Tensor:
        """Pairs of columns, turned by the number of their token."""
        angles = torch.arange(x.shape[1]).to(x.dtype)[:, None]
        one, other = x[..., 0::2], x[..., 1::2]
        pairs = (
            one * angles.cos() - other * angles.sin(),
            one * angles.sin() + other * angles.cos(),
        )
        return torch.stack(pairs, -1).flatten(2)


class RotaryKeyBesideTheLatent(RotaryKeyAttention):
    """The same, in which one layer makes the latent and the rotary key."""

    def __init__(self, d_model: int, num_heads: int, kv_lora_rank: int = 6) -> None:
        super().__init__(d_model, num_heads, kv_lora_rank)
        self.W_dkv = nn.Linear(d_model, kv_lora_rank + self.rotary, bias=False)
        del self.W_kr

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> the same."""
        latent, key = self.W_dkv(x).tensor_split([-self.rotary], dim=-1)
        q = self.joined(self.W_q(x), self.turned(self.W_qr(x)))
        k = self.joined(self.W_uk(latent), self.turned(key.repeat(1, 1, self.num_heads)))
        output: Tensor = self.W_o(self.merged(self.attend(q, k, self.W_uv(latent))))
        return output
