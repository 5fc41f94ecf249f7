"""Attention as it is written in the world, right and wrong, by which the wider suite is tested.

Masks that callers give, contexts, groups, windows, positions, caches, packed documents: plain torch
code, found by its signature. A wrong one is small, silent and plausible, and names its public source
("constructed" where it has none). A right one keeps some convention and says which.

Kinds, and what their callables take:

- sdpa-like: query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa; (B, H, T, D)
- flash-like: q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes; (B, T, H, D)
- multihead-like: modules of query, key, value with masks, giving an output and weights
- encoder, masked, cross, grouped, rotary, cached, kept: modules, as their files say
- packed: q, k, v of (total, H, D) and where each document starts

What a specimen says of its conventions (`says`), where it has to say it:

- mask: "attends" or "hides", what True means; padding: the same of a mask of keys, where it differs
- corner: "top left" or "bottom right", where the causal triangle lies for T != S, or "x alone" where
  nothing of a context is hidden
- empty: "nan", "zero" or "uniform", the weights of a query that sees nothing
- window: "others" or "counts oneself"; lse: "natural" or "base 2"; heads: "(B, H, T)" or "(B, T, H)"
- masks: "keys" (B, T), "pairs" (B, T, T) or both; causal: "given", where the mask alone hides the
  future, or "default", where a flag hides it unless it is False
- pairs: "halves" or "neighbours", which components of a head are rotated together;
  part: "half", of a head alone; turns: "backwards", by minus the angle
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

Target = TypeVar("Target", bound=Callable[..., Any])

KINDS = (
    "sdpa-like",
    "flash-like",
    "multihead-like",
    "encoder",
    "masked",
    "cross",
    "grouped",
    "rotary",
    "cached",
    "kept",
    "packed",
)
AREAS = (
    "mask",
    "cross",
    "groups",
    "window",
    "score",
    "position",
    "cache",
    "packed",
    "result",
    "paths",
    "memory",
)


@dataclass(frozen=True)
class Sound:
    """One right implementation: a function or a class of modules, its kind and its conventions."""

    name: str
    target: Callable[..., Any]
    kind: str
    says: Mapping[str, str]

    @property
    def address(self) -> str:
        """MODULE:NAME, as the command line takes it."""
        return f"{self.target.__module__}:{self.target.__name__}"


@dataclass(frozen=True)
class Held(Sound):
    """One wrong implementation, held against what it says of itself.

    area: the area of clauses that has to see it; named: the name that a report should give it;
    how: the ordinary call that shows it; fits: a known convention that it keeps everywhere, so that
    only what is declared of it tells that it is wrong, "" where it fits none.
    """

    area: str
    named: str
    how: str
    symptom: str
    source: str
    fits: str


_held: dict[str, Held] = {}
_sound: dict[str, Sound] = {}


def held(
    name: str,
    kind: str,
    *,
    area: str,
    named: str,
    how: str,
    symptom: str,
    source: str = "constructed",
    fits: str = "",
    **says: str,
) -> Callable[[Target], Target]:
    """Register the decorated function or class as wrong.

    Raises ValueError where the name is taken, or the kind or the area is unknown.
    """
    _require(name, kind)
    if area not in AREAS:
        raise ValueError(f"{name}: area {area!r}, expected one of {', '.join(AREAS)}")

    def register(target: Target) -> Target:
        _held[name] = Held(name, target, kind, says, area, named, how, symptom, source, fits)
        return target

    return register


def sound(name: str, kind: str, **says: str) -> Callable[[Target], Target]:
    """Register the decorated function or class as right.

    Raises ValueError where the name is taken or the kind is unknown.
    """
    _require(name, kind)

    def register(target: Target) -> Target:
        _sound[name] = Sound(name, target, kind, says)
        return target

    return register


def _require(name: str, kind: str) -> None:
    if name in _held or name in _sound:
        raise ValueError(f"{name} is registered twice")
    if kind not in KINDS:
        raise ValueError(f"{name}: kind {kind!r}, expected one of {', '.join(KINDS)}")


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def held_ones() -> dict[str, Held]:
    """Every wrong implementation by name."""
    _load()
    return dict(_held)


def sound_ones() -> dict[str, Sound]:
    """Every right implementation by name."""
    _load()
    return dict(_sound)
