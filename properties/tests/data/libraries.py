"""Attention in the manner of libraries: settings under two names, angles handed in, tuples returned,
norms inside, scores without a scale.
"""

from types import MappingProxyType

import torch
from torch import Tensor, nn


class Settings:
    """Settings that can be told by either of two names."""

    other_names = MappingProxyType({"hidden_size": "n_embd"})

    def __init__(self, n_embd: int = 768, num_heads: int = 12, how: str = "plain") -> None:
        self.n_embd, self.num_heads, self.how = n_embd, num_heads, how

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(self.other_names.get(name, name), value)

    def __getattr__(self, name: str) -> object:
        if name in self.other_names:
            return getattr(self, self.other_names[name])
        raise AttributeError(name)


class Parts(nn.Module):
    """Projections, and softmax of what they give."""

    scaling: float | None = None

    def __init__(self, d_model: int, num_heads: int, bias: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, d_model, bias=bias)
        self.v_proj = nn.Linear(d_model, d_model, bias=bias)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def weigh(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        scale = self.head_dim**-0.5 if self.scaling is None else self.scaling
        scores = query @ key.mT * scale
        return (scores if mask is None else scores + mask).softmax(dim=-1)

    def join(self, weights: Tensor, value: Tensor) -> Tensor:
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.join(self.weigh(query, key), value)


class OfSettings(Parts):
    """Reads a setting by the name that it is not kept under."""

    def __init__(self, config: Settings) -> None:
        super().__init__(config.hidden_size, config.num_heads)


class OptionalSettings(Parts):
    """Settings that are None by default and have to be given."""

    def __init__(self, d_model: int, num_heads: int, config: Settings | None = None) -> None:
        super().__init__(d_model, num_heads)
        self.how = config.how


class AnglesHandedIn(Parts):
    """Cosines and sines come from the caller, and the weights are returned, too."""

    def forward(self, x: Tensor, position_embeddings: tuple | None = None) -> tuple:
        cos, sin = position_embeddings
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        query, key = (
            part * cos[:, None]
            + torch.cat([-part.chunk(2, -1)[1], part.chunk(2, -1)[0]], -1) * sin[:, None]
            for part in (query, key)
        )
        weights = self.weigh(query, key)
        return self.join(weights, value), weights


class AnglesWithoutScale(AnglesHandedIn):
    """A scale of one, on purpose, and angles."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.scaling = 1.0


class NamesAlone(Parts):
    """Queries, keys and values by name alone."""

    def forward(self, *, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        query, key, value = map(self.split, (query, key, value))
        return self.join(self.weigh(query, key), value)


class OfHeads(nn.Module):
    """No matrices, and an axis of heads."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = torch.einsum("bhtd,bhsd->bhts", query, key) / query.shape[-1] ** 0.5
        return torch.einsum("bhts,bhsd->bhtd", scores.softmax(dim=-1), value)


class Normed(Parts):
    """A norm of what comes in, and of each query and key."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.norm = nn.LayerNorm(d_model)
        self.q_norm, self.k_norm = nn.RMSNorm(self.head_dim), nn.RMSNorm(self.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.join(self.weigh(self.q_norm(query), self.k_norm(key)), value)


class NormedScaledTwice(Normed):
    """Behind its norms a fault; no scale at all might be held by the norms."""

    def weigh(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        return (query @ key.mT / query.shape[-1]).softmax(dim=-1)


class WithoutScale(Parts):
    """A scale of one, on purpose."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.scaling = 1.0


class ScaleForgotten(Parts):
    """No scale, and none is kept."""

    def weigh(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        return (query @ key.mT).softmax(dim=-1)


class ScaleOfOneUnused(Parts):
    """A scale of one, and another that is used."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.scale = 1.0


class Switched(Parts):
    """A switch that only other kernels read, and a mask that hides."""

    def __init__(self, d_model: int, num_heads: int, is_causal: bool = False) -> None:
        super().__init__(d_model, num_heads)
        self.is_causal = is_causal

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.join(self.weigh(query, key, attention_mask), value)


class MaskOfPairs(Parts):
    """A mask (T, T), one for all items."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if mask is not None:
            assert mask.shape == (x.shape[1], x.shape[1])
            mask = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, -torch.inf)
        return self.join(self.weigh(query, key, mask), value)


class MaskAsFlag(Parts):
    """Whatever is in the mask, the future is hidden."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        tokens = x.shape[1]
        future = torch.full((tokens, tokens), -torch.inf, dtype=x.dtype).triu(1)
        return self.join(self.weigh(query, key, None if mask is None else future), value)


class KeysWithoutBias(Parts):
    """Biases of all but the keys."""

    def __init__(self, d_model: int, num_heads: int, bias: bool = True) -> None:
        super().__init__(d_model, num_heads, bias)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)


class OutputAlwaysBiased(KeysWithoutBias):
    """The same, and the output projection has one that no argument rules."""

    def __init__(self, d_model: int, num_heads: int, bias: bool = True) -> None:
        super().__init__(d_model, num_heads, bias)
        self.o_proj = nn.Linear(d_model, d_model)


class KeysNeverBiased(Parts):
    """The same, and no argument rules it."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads, bias=True)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)


class ValuesAlwaysBiased(Parts):
    """The argument rules the biases of queries and keys alone."""

    def __init__(self, d_model: int, num_heads: int, bias: bool = False) -> None:
        super().__init__(d_model, num_heads, bias)
        self.v_proj = nn.Linear(d_model, d_model, bias=True)


class OneHeadUnprojected(Parts):
    """One head that is as wide as the input needs no output projection."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__(dim, heads)
        inner, self.head_dim = heads * dim_head, dim_head
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(dim, inner, bias=False) for _ in range(3)
        )
        one = heads == 1 and dim_head == dim
        self.o_proj = nn.Identity() if one else nn.Linear(inner, dim, bias=False)


class NarrowInside(Parts):
    """As wide as the input inside, and as wide as it is told at its end."""

    def __init__(self, dim: int, dim_out: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.o_proj = nn.Linear(dim, dim_out, bias=False)
