"""Causal modules that are layers of one model and share a cache, in which each has its own place.

Legend: B batch, T tokens of this call, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from properties.zoo.wide import held
from properties.zoo.wide.cached import attend, future, right

Past = tuple[Tensor, Tensor]
wrong = partial(held, kind="cached", area="cache", how="two layers of one cache")


@right("cached-in-a-dict-of-layers")
class CachedInADictOfLayers(nn.Module):
    """The caller hands one dict to all layers; keys and values of each are under its index."""

    def __init__(self, d_model: int, n_heads: int, context_length: int, layer_idx: int) -> None:
        super().__init__()
        self.n_heads, self.context_length, self.layer_idx = n_heads, context_length, layer_idx
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor, kv_cache: Any = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        past = None if kv_cache is None else self.past(kv_cache)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        if keys.shape[2] > self.context_length:
            raise ValueError(f"{keys.shape[2]} tokens: at most {self.context_length} fit")
        if kv_cache is not None:
            self.keep(kv_cache, (keys, values))
        context = attend(queries, keys, values, future(x.shape[1], keys.shape[2]))
        output: Tensor = self.o_proj(context)
        return output

    def past(self, cache: Any) -> Past | None:
        """What this layer has kept, (B, H, S, D) twice."""
        found: Past | None = cache.get(self.layer_idx)
        return found

    def keep(self, cache: Any, whole: Past) -> None:
        """Past and present, for the next call."""
        cache[self.layer_idx] = whole


@right("cached-in-a-list-of-layers")
class CachedInAListOfLayers(CachedInADictOfLayers):
    """A list, to which each layer appends a pair at its first call."""

    def past(self, cache: Any) -> Past | None:
        return cache[self.layer_idx] if self.layer_idx < len(cache) else None

    def keep(self, cache: Any, whole: Past) -> None:
        cache[self.layer_idx :] = [whole, *cache[self.layer_idx + 1 :]]


@wrong(
    "cached-layers-in-one-place",
    named="every layer writes to one place of the cache",
    symptom="right as a model of one layer; with two each attends to the other's keys",
)
class LayersInOnePlace(CachedInADictOfLayers):
    def past(self, cache: Any) -> Past | None:
        found: Past | None = cache.get(0)
        return found

    def keep(self, cache: Any, whole: Past) -> None:
        cache[0] = whole


@wrong(
    "cached-keys-of-the-first-layer",
    named="every layer reads the keys of the first",
    symptom="right as a model of one layer; the second goes on from what the first has kept",
)
class KeysOfTheFirstLayer(CachedInADictOfLayers):
    def forward(self, x: Tensor, kv_cache: Any = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        if not kv_cache or self.layer_idx == 0:
            return super().forward(x, kv_cache)
        keys, values = kv_cache[self.layer_idx] = kv_cache[0]
        queries = self.q_proj(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        hidden = future(x.shape[1], keys.shape[2])
        output: Tensor = self.o_proj(attend(queries, keys, values, hidden))
        return output
