"""Rotary positions with frequencies scaled for longer contexts, as libraries scale them, and wrongly.

Legend: T tokens, D head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.tests.data.rotary_manners import rotate_half
from properties.zoo.wide.rotary import PlainRotary

FACTOR = 4.0


class Scaled(nn.Module):
    """Halves; frequencies, in float32, are a buffer; what a scaling changes is a method."""

    inv_freq: Tensor

    def __init__(self, hidden_size: int, num_heads: int, rope_theta: float = 10000.0) -> None:
        super().__init__()
        self.heads, self.head_dim, self.rope_theta = num_heads, hidden_size // num_heads, rope_theta
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)
        self.attention_scaling = self.attention_factor()
        self.register_buffer("inv_freq", self.frequencies(), persistent=False)

    def plain(self, base: float) -> Tensor:
        """(D / 2,), base**(-2 i / D)."""
        return 1.0 / base ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim)

    def frequencies(self) -> Tensor:
        return self.plain(self.rope_theta)

    def attention_factor(self) -> float:
        return 1.0

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        angles = torch.outer(self.places(tokens), self.inv_freq.float())
        emb = torch.cat([angles, angles], dim=-1)
        cos, sin = (f(emb) * self.attention_scaling for f in (torch.cos, torch.sin))
        q, k = self.turned(q, cos.to(x.dtype), sin.to(x.dtype)), self.keys(k, cos, sin)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, tokens, width))
        return result

    def places(self, tokens: int) -> Tensor:
        return torch.arange(tokens).float()

    def keys(self, keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return self.turned(keys, cos.to(keys.dtype), sin.to(keys.dtype))

    def turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return x * cos + rotate_half(x) * sin


class Linear(PlainRotary):
    """Positions divided by a factor; angles in float64, gathered by the place of each token."""

    scaling_factor = FACTOR

    def table(self, positions: int, base: float) -> Tensor:
        return super().table(positions, base) / self.scaling_factor


class OfFrequencies(Scaled):
    """The same, in the frequencies; angles in float32."""

    scaling_factor = FACTOR

    def frequencies(self) -> Tensor:
        return super().frequencies() / self.scaling_factor


class Ntk(Scaled):
    """Another base, which grows with the factor and depends on D."""

    def frequencies(self) -> Tensor:
        power = self.head_dim / max(1, self.head_dim - 2)
        return self.plain(self.rope_theta * FACTOR**power)


class Llama3(Scaled):
    """Long wavelengths slowed by 8, short ones kept, those between blended."""

    low, high, original = 1.0, 4.0, 64

    def __init__(self, hidden_size: int, num_heads: int, rope_theta: float = 500000.0) -> None:
        super().__init__(hidden_size, num_heads, rope_theta)

    def frequencies(self) -> Tensor:
        plain = super().frequencies()
        turns = self.original * plain / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return (1 - kept) * plain / 8.0 + kept * plain


class Yarn(Scaled):
    """A ramp over the pairs, and cosines and sines times an attention factor."""

    original, fast, slow = 64, 32.0, 1.0

    def attention_factor(self) -> float:
        return 0.1 * math.log(FACTOR) + 1.0

    def frequencies(self) -> Tensor:
        low, high = (
            self.head_dim
            * math.log(self.original / (turns * 2 * math.pi))
            / (2 * math.log(self.rope_theta))
            for turns in (self.fast, self.slow)
        )
        low, high = max(math.floor(low), 0), min(math.ceil(high), self.head_dim - 1)
        ramp = (torch.arange(self.head_dim // 2).float() - low) / max(high - low, 1e-3)
        kept = 1.0 - ramp.clamp(0, 1)
        plain = super().frequencies()
        return plain / FACTOR * (1 - kept) + plain * kept


class QueriesAlone(Linear):
    """The scaling is made of queries, and forgotten of keys."""

    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(keys, angles * self.scaling_factor)


class Twice(Linear):
    """Positions are divided, and frequencies, too."""

    def table(self, positions: int, base: float) -> Tensor:
        return super().table(positions, base) / self.scaling_factor


class TwiceByRamp(Yarn):
    """Positions are divided, where the ramp has scaled the slow pairs already."""

    factor = FACTOR

    def frequencies(self) -> Tensor:
        return super().frequencies() ** 2 / self.plain(self.rope_theta)


class ByHead(Linear):
    """The index of a head, divided, is taken for the position."""

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return super().rotate(heads, self.angles[: self.n_heads, None])


class FactorOfQueriesAlone(Yarn):
    """Keys are turned by cosines without the attention factor."""

    def keys(self, keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return super().keys(keys, cos / self.attention_scaling, sin / self.attention_scaling)


class FactorTwice(Yarn):
    """The scores are multiplied by the square of the attention factor, though cosines carry it."""

    def turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return super().turned(x, cos, sin) * self.attention_scaling


class WholePositions(Linear):
    """Positions are divided and rounded down: four tokens stand at the same place."""

    def table(self, positions: int, base: float) -> Tensor:
        places = torch.arange(positions).double() // self.scaling_factor
        return places[:, None] * PlainRotary.table(self, positions, base)[1]


class DynamicNtk(Scaled):
    """The base grows with T once there are more tokens than the module is made for."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        max_position_embeddings: int,
        scaling_factor: float = 2.0,
    ) -> None:
        super().__init__(hidden_size, num_heads)
        self.longest, self.factor = max_position_embeddings, scaling_factor

    def grown(self, tokens: int) -> float:
        """What the base is raised by."""
        return self.factor * tokens / self.longest - (self.factor - 1)

    def power(self) -> float:
        return self.head_dim / (self.head_dim - 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        if tokens > self.longest:
            base = self.rope_theta * self.grown(tokens) ** self.power()
            self.inv_freq = self.plain(base)
        else:
            self.inv_freq = self.plain(self.rope_theta)
        return super().forward(x)


class SteppedNtk(DynamicNtk):
    """The base grows in steps, whenever the length doubles."""

    def grown(self, tokens: int) -> float:
        return float(2 ** math.ceil(math.log2(tokens / self.longest) + 1) - 1)


class DynamicLinear(DynamicNtk):
    """Positions are divided by as much as there are more tokens."""

    def grown(self, tokens: int) -> float:
        return 1.0

    def places(self, tokens: int) -> Tensor:
        return super().places(tokens) * min(1.0, self.longest / tokens)


class DynamicNtkByAnotherPower(DynamicNtk):
    """The power of the growing base is upside down."""

    def power(self) -> float:
        return (self.head_dim - 2) / self.head_dim
