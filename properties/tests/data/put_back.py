"""Right modules with bounds, windows, sinks, slopes and norms, written as in public code.

Legend: B batch, T tokens, H heads, G groups, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bounded(nn.Module):
    """As in Gemma 2: grouped, a soft cap, a window that counts oneself."""

    def __init__(
        self,
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int,
        attn_logit_softcapping: float | None = 50.0,
        sliding_window: int | None = None,
    ) -> None:
        super().__init__()
        self.h, self.g = num_attention_heads, num_key_value_heads
        self.d = hidden_size // num_attention_heads
        self.cap, self.window = attn_logit_softcapping, sliding_window
        self.q_proj = nn.Linear(hidden_size, self.h * self.d, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.g * self.d, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.g * self.d, bias=False)
        self.o_proj = nn.Linear(self.h * self.d, hidden_size, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        b, t, _ = hidden_states.shape
        q = self.q_proj(hidden_states).view(b, t, self.h, self.d).transpose(1, 2) * self.d**-0.5
        k = self.k_proj(hidden_states).view(b, t, self.g, self.d).transpose(1, 2)
        v = self.v_proj(hidden_states).view(b, t, self.g, self.d).transpose(1, 2)
        k, v = (part.repeat_interleave(self.h // self.g, dim=1) for part in (k, v))
        scores = q @ k.transpose(2, 3)
        if self.cap is not None:
            scores = torch.tanh(scores / self.cap) * self.cap
        i = torch.arange(t)
        seen = i[:, None] >= i[None]
        if self.window is not None:
            seen = seen & (i[:, None] - i[None] < self.window)
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        output: Tensor = self.o_proj((weights @ v).transpose(1, 2).reshape(b, t, -1))
        return output


class Rolling(nn.Module):
    """A window of others, of which the cache inside keeps as many; a sink beside the scores."""

    def __init__(self, d_model: int, n_heads: int, window: int = 4) -> None:
        super().__init__()
        self.n_heads, self.window = n_heads, window
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.sinks = nn.Parameter(torch.zeros(n_heads))
        self.out = nn.Linear(d_model, d_model)
        self.reset_cache()

    def reset_cache(self) -> None:
        self.kept: Tensor | None = None

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        both = parts[1:]
        if use_cache and self.kept is not None:
            both = torch.cat([self.kept, both], dim=3)
        if use_cache:
            self.kept = both[:, :, :, max(0, both.shape[3] - self.window) :]
        k, v = both.unbind()
        t, s = x.shape[1], k.shape[2]
        ahead = torch.arange(s) - torch.arange(s - t, s)[:, None]
        hidden = (ahead > 0) | (ahead < -self.window)
        scores = (parts[0] @ k.mT * k.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
        sink = self.sinks.view(1, -1, 1, 1)
        most = torch.maximum(scores.amax(-1, keepdim=True), sink)
        weights = (scores - most).exp()
        weights = weights / (weights.sum(-1, keepdim=True) + (sink - most).exp())
        output: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return output


class ByPlace(nn.Module):
    """As in Bloom: slope times the place of the key, whatever the query's."""

    slopes: Tensor

    def __init__(self, hidden_size: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.dense = nn.Linear(hidden_size, hidden_size)
        start = 2.0 ** (-8.0 / n_head)
        slopes = torch.tensor([start ** (h + 1) for h in range(n_head)])
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, w = x.shape
        q, k, v = self.query_key_value(x).view(b, t, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        taken = self.slopes[:, None, None].to(x.dtype) * torch.arange(t)
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        bias = taken.masked_fill(future, -torch.inf)[None]
        out = functional.scaled_dot_product_attention(q, k, v, bias)
        output: Tensor = self.dense(out.transpose(1, 2).reshape(b, t, w))
        return output


class OverAllHeads(nn.Module):
    """As in OLMo 2: queries and keys are normed before they are split, by torch's layer."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(4)
        )
        self.q_norm, self.k_norm = nn.LayerNorm(d_model), nn.RMSNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x))
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (q, k, self.v_proj(x))
        )
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return output


class L2Norm(nn.Module):
    """All vectors of the length that is learned."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.tensor(columns**0.5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x.float(), dim=-1).to(x.dtype) * self.g


class OneNormForBoth(OverAllHeads):
    """Queries and keys side by side through one norm."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        del self.q_norm, self.k_norm
        self.qk_norm = L2Norm(d_model // n_heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = self.qk_norm(torch.stack([q, k]))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return output


class NormSwitchedOff(OverAllHeads):
    """The norms are there, and a flag that is off by default leaves them out."""

    normed = False

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q_proj(x), self.k_proj(x)
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (q, k, self.v_proj(x))
        )
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return output


class WindowOfAnother(Bounded):
    """What is told of a window is for who makes the mask outside."""

    def __init__(
        self,
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int,
        sliding_window: int | None = None,
    ) -> None:
        super().__init__(hidden_size, num_attention_heads, num_key_value_heads, None, None)
