"""Calls for `rules.py`: random normal numbers, rows that one key dominates, the vectors.

Legend: B batch, H heads, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from properties.basics.dtypes import FORMATS, Array
from properties.judging.plan import spread
from properties.truth.attend import repeated
from properties.truth.bounds.rows import rows_error, rows_of_call
from properties.vectors.call import Call, Parts
from properties.vectors.exact import Exact
from properties.vectors.groups import groups
from properties.vectors.right import bounds_of
from properties.vectors.vector import Options, Turn, Vector
from properties.zoo.wide import Sound, held_ones, sound_ones

SIZES = (64, 512, 8192)
FEW = 16  # queries, where keys are 8192
D = 64
FINE = 2.0**-24


@dataclass(eq=False)
class Asked:
    """One call; steep: whether one key dominates each row, by whose bound it is then judged; claimed:
    whether it is asked in those formats alone in which a bound is claimed, as its file says.
    """

    vector: Vector
    steep: bool = False
    claimed: bool = False
    known: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def parts(self) -> Parts:
        """What is right, in float64."""
        return self.vector.call.parts

    @property
    def right(self) -> Array:
        """(B, H, T, E)."""
        return self.parts.output

    def answer(self, found: Array) -> Array:
        """What is found; where a row sees nothing, what is right."""
        return np.where(self.parts.nothing[..., None], self.right, found)

    def rounded(self, dtype: str) -> Array:
        """What is right, as the format has it."""
        name = f"right {dtype}"
        if name not in self.known:
            self.known[name] = FORMATS[dtype].round(self.right)
        return self.known[name]

    def bound(self, dtype: str) -> Array:
        """Of each number."""
        if dtype not in self.known:
            made = steep_bound if self.steep else (lambda call, d: bounds_of(call, d)["output"])
            self.known[dtype] = made(self.vector.call, dtype)
        return self.known[dtype]

    def asks(self, dtype: str) -> bool:
        """Whether it is asked in a format."""
        return not self.claimed or bool(np.isfinite(self.bound(dtype)).all())

    def plain(self, dtype: str) -> Array:
        """Computed step by step in the format."""
        name = f"plain {dtype}"
        if name not in self.known:
            self.known[name] = self.answer(plain(self.vector.call, getattr(torch, dtype)))
        return self.known[name]


def steep_bound(call: Call, dtype: str) -> Array:
    """That of `truth/bounds/rows.py`, whose values are not below zero."""
    parts = (*call.turned, call.values)
    rows = spread(rows_of_call(*parts, call.request, call.attended), call.shape[3])
    allowed = sum(rows_error(rows, FORMATS[name]) for name in (dtype, "float64"))
    batch, heads, tokens, _ = call.shape
    return np.asarray(allowed)[:, :tokens].reshape(batch, heads, tokens, -1)


def plain(call: Call, kind: torch.dtype) -> Array:
    """Every step in the format, with no attention of torch's own."""
    heads = call.shape[1]
    arrays = (*call.turned, call.values)
    q, k, v = (torch.tensor(repeated(part, heads), dtype=kind) for part in arrays)
    request = call.request
    z = q @ k.mT * request.factor(q.shape[-1])
    z = z if request.cap is None else request.cap * torch.tanh(z / request.cap)
    z = z if request.bias is None else z + torch.tensor(request.bias, dtype=kind)
    seen = torch.tensor(np.broadcast_to(request.seen(call.shape), call.shape).copy())
    z = z.masked_fill(~seen, -torch.inf)
    if request.sink is not None:
        sink = torch.tensor(request.sink, dtype=kind)[:, None, None].expand(*z.shape[:3], 1)
        z = torch.cat([z, sink], -1)
    weights = z.softmax(-1)[..., : k.shape[2]].nan_to_num()
    if call.multiplied is not None:
        weights = weights * torch.tensor(call.multiplied, dtype=kind)
    found: Array = (weights @ v).double().numpy()
    return found


def normal(draw: np.random.Generator, *shape: int) -> Exact:
    """Normal numbers that every format has."""
    numbers = FORMATS["bfloat16"].round(draw.normal(size=shape))
    return Exact(np.rint(numbers / FINE).astype(np.int64), FINE)


def sizes(keys: int) -> tuple[int, int, int]:
    """B, H and T."""
    return {64: (2, 2, 64), 512: (1, 2, 512), 8192: (1, 2, FEW)}[keys]


def random_calls(keys: int) -> Iterator[Asked]:
    """One for each option, and some together; drawn by the number of keys."""
    draw = np.random.default_rng(keys)
    batch, heads, tokens = sizes(keys)
    shape = (batch, heads, tokens, keys)
    mask = draw.random(shape) < 0.7
    mask[..., 0] = True
    real = np.arange(keys) < draw.integers(keys // 2, keys, (batch, 1))
    places = tuple(range(keys - tokens, keys))
    turn = Turn(places, tuple(range(keys)), "halves")
    slopes = Exact(np.array([1, 4]), 2.0**-8)
    options: list[dict[str, Any]] = [
        {},
        {"scale": 0.25},
        {"cap": 2.0},
        {"sink": Exact(np.array([2, 12]), 0.5)},
        {"mask": mask},
        {"padding": real},
        {"bias": normal(draw, *shape)},
        {"causal": True},
        {"causal": True, "mask": mask},
        {"mask": mask, "padding": real},
        {"window": (keys // 4, 0), "causal": True},
        {"window": (keys // 4, 7)},
        {"slopes": slopes, "causal": True},
        {"rotary": turn, "causal": True},
        {"kept": draw.random(shape) < 0.75, "dropout": 0.25},
    ]
    if keys == 8192:
        options.append({"causal": True, "past": keys - tokens})
    for told in options:
        yield Asked(drawn(draw, batch, heads, heads, tokens, keys, told))
    yield Asked(drawn(draw, batch, 4, 2, tokens, keys, {}))


def drawn(
    draw: np.random.Generator, B: int, H: int, G: int, T: int, S: int, told: dict[str, Any]
) -> Vector:
    """Random queries, keys and values."""
    q, k, v = normal(draw, B, H, T, D), normal(draw, B, G, S, D), normal(draw, B, G, S, D)
    return Vector(0, "", q, k, v, Options(**told), align="bottom right", empty="zeros")


def steep_calls(keys: int) -> Iterator[Asked]:
    """Each query looks for one key: the last ones, the first ones, those at edges of tiles, its own."""
    tokens = min(FEW, keys)
    draw = np.random.default_rng(keys + 1)
    first = [0, 1, 31, 32, 63 % keys, keys // 2 - 1, keys // 2, keys - 2, keys - 1]
    own = [keys - tokens + i for i in range(len(first), tokens)]
    sought = np.array([*first, *own])
    k = draw.integers(-1, 2, (1, 1, keys, D))
    k[0, 0, sought] = 0
    k[0, 0, sought, np.arange(tokens)] = 16
    q = np.zeros((1, 1, tokens, D), dtype=np.int64)
    q[0, 0, np.arange(tokens), np.arange(tokens)] = 32
    v = draw.integers(0, 9, k.shape)
    q = q[:, :, [*range(tokens - 1, -1, -1)]]  # the last query looks for the first key
    mask = draw.random((1, 1, tokens, keys)) < 0.7
    mask[..., -tokens:] = True
    told: list[dict[str, Any]] = [
        {},
        {"causal": True},
        {"mask": mask},
        {"padding": np.arange(keys)[None] < keys - 1},
        {"window": (keys // 2, 0), "causal": True},
        {"scale": 0.25},
    ]
    parts = [Exact(part, 1.0) for part in (q, k, v)]
    for one in told:
        vector = Vector(0, "", *parts[:3], Options(**one), align="bottom right", empty="zeros")
        yield Asked(vector, steep=True)


def vector_calls() -> Iterator[Asked]:
    """Those of `vectors/` that ask for an output."""
    for group in groups():
        for vector in group.vectors:
            if vector.refused or vector.upstream is not None:
                continue
            yield Asked(vector, claimed=True)


Run = Callable[[str], Array]
OWN = Sound("torch's own", functional.scaled_dot_product_attention, "sdpa-like",
            {"mask": "attends", "corner": "top left", "empty": "zero"})  # fmt: skip
TAKES = {
    "sdpa-like": {"mask", "bias", "padding", "causal", "scale"},
    "flash-like": {"causal", "window", "cap", "scale", "slopes"},
}
EMPTY = {"zeros": "zero", "nan": "nan", "uniform": "uniform"}


def kernels(asked: Asked, right: bool) -> Iterator[tuple[str, Run]]:
    """The functions that take a call, and what runs them in a format."""
    every: list[Sound] = [OWN, *sound_ones().values()] if right else list(held_ones().values())
    if right:
        yield "plain", asked.plain
    for one in every:
        if one.kind in TAKES and takes(one, asked):
            yield one.name, runner(one, asked)


def takes(one: Sound, asked: Asked) -> bool:
    """Whether it has what is told, and the conventions that matter here."""
    vector = asked.vector
    told = {name for name, value in vars(vector.options).items() if value is not None}
    tokens, keys = vector.shape[2:]
    placed = told & {"causal", "window", "slopes"} and tokens != keys
    nothing = asked.parts.nothing.any()
    both = "bias" in told and told & {"mask", "padding"}
    by_torch = one is OWN and "causal" in told and told & {"mask", "padding", "bias"}
    return (
        told <= TAKES[one.kind]
        and not both
        and not by_torch
        and not (placed and vector.align and one.says["corner"] != vector.align)
        and not (nothing and EMPTY[vector.empty or "nan"] != one.says["empty"])
        and not (one.name == "flash-block-by-block" and vector.values.integers.shape[3] != D)
    )


def runner(one: Sound, asked: Asked) -> Run:
    """What runs it in a format, with torch's warnings unheard."""

    def run(dtype: str) -> Array:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = by_sdpa if one.kind == "sdpa-like" else by_flash
            found = made(one, asked.vector, getattr(torch, dtype)).double().numpy()
        return asked.answer(found)

    return run


def tensors(vector: Vector, kind: torch.dtype) -> list[Tensor]:
    """Queries, keys and values."""
    parts = (vector.queries, vector.keys, vector.values)
    return [torch.tensor(part.array, dtype=kind) for part in parts]


def by_sdpa(one: Sound, vector: Vector, kind: torch.dtype) -> Tensor:
    """(B, H, T, E)."""
    q, k, v = tensors(vector, kind)
    told, mask = vector.options, None
    if told.mask is not None or told.padding is not None:
        mask = torch.tensor(np.broadcast_to(vector.shown, vector.shape).copy())
        mask = ~mask if one.says["mask"] == "hides" else mask
    if told.bias is not None:
        mask = torch.tensor(told.bias.array, dtype=kind)
    groups_ = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    causal = bool(told.causal)
    return one.target(q, k, v, attn_mask=mask, is_causal=causal, scale=told.scale, **groups_)


def by_flash(one: Sound, vector: Vector, kind: torch.dtype) -> Tensor:
    """(B, H, T, E)."""
    q, k, v = (part.transpose(1, 2) for part in tensors(vector, kind))
    told = vector.options
    left, right = told.window or (-1, -1)
    if one.says["window"] == "counts oneself":
        left, right = (side + 1 if side >= 0 else side for side in (left, right))
    slopes = None if told.slopes is None else torch.tensor(told.slopes.array, dtype=torch.float32)
    found = one.target(
        q,
        k,
        v,
        softmax_scale=told.scale,
        causal=bool(told.causal),
        window_size=(left, right),
        softcap=told.cap or 0.0,
        alibi_slopes=slopes,
    )
    return found.transpose(1, 2)
