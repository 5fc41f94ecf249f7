"""Ordinary calls of what `properties/zoo/wide` holds, each with what is right, by one plain formula.

A call takes a specimen and returns pairs of what it gave and what is right, or None where the
specimen does not take such a call.

Legend: B batch, H heads, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from properties.zoo.wide import Sound

Pairs = list[tuple[Tensor, Tensor]]
Call = Callable[[Sound], Pairs | None]

_calls: dict[str, dict[str, Call]] = {}


def call(kind: str, how: str) -> Callable[[Call], Call]:
    """Register a call of a kind."""

    def register(function: Call) -> Call:
        assert how not in _calls.setdefault(kind, {}), f"{kind}: {how!r} is registered twice"
        _calls[kind][how] = function
        return function

    return register


@cache
def calls() -> dict[str, dict[str, Call]]:
    """Every call by kind and by how it is made."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return {kind: dict(of_kind) for kind, of_kind in _calls.items()}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn_mask(*shape: int, seed: int = 7) -> Tensor:
    """True in half of the places and on the diagonal of the last two axes."""
    return (drawn(*shape, seed=seed) > 0) | torch.eye(*shape[-2:], dtype=torch.bool)


def past(queries: int, keys: int, corner: str = "bottom right") -> Tensor:
    """(T, S), true where a key is not in the future."""
    offset = keys - queries if corner == "bottom right" else 0
    return torch.arange(keys) <= torch.arange(queries)[:, None] + offset


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    seen: Tensor | bool = True,
    scale: float | None = None,
    bias: Tensor | float = 0.0,
    cap: float = 0.0,
    empty: str = "nan",
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, H, T, D), (B, G, S, D) twice -> context, weights (B, H, T, S) and LSE (B, H, T).

    `seen` and `bias` broadcast to (B, H, T, S); `empty` says what a query that sees nothing weighs.
    """
    reader = [head // (q.shape[1] // k.shape[1]) for head in range(q.shape[1])]
    k, v = k[:, reader], v[:, reader]
    z = torch.einsum("bhtd,bhsd->bhts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    z = (cap * torch.tanh(z / cap) if cap else z) + bias
    seen = torch.as_tensor(seen).expand(z.shape) & (z > -torch.inf)
    nothing = ~seen.any(-1, keepdim=True)
    z = z.masked_fill(~seen, -torch.inf).masked_fill(nothing, 0.0)
    e = torch.exp(z - z.amax(-1, keepdim=True).detach())
    weights = e / e.sum(-1, keepdim=True)
    of_nothing = {"nan": torch.nan, "zero": 0.0, "uniform": 1.0 / z.shape[-1]}[empty]
    weights = weights.masked_fill(nothing, of_nothing)
    lse = torch.logsumexp(z, -1).masked_fill(nothing[..., 0], -torch.inf)
    return torch.einsum("bhts,bhsd->bhtd", weights, v), weights, lse
