"""Calls of functions of queries, keys and values."""

from __future__ import annotations

import inspect
import math
from functools import partial

import torch
from torch import Tensor

from properties.tests.wide_calls import Pairs, attend, call, drawn, drawn_mask, past
from properties.zoo.wide import Sound


def sdpa(
    one: Sound,
    sizes: tuple[int, int, int, int, int] = (2, 3, 3, 5, 5),
    seen: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    loud: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Pairs:
    """One call of B, H, G, T, S; `seen` is true where a key attends."""
    B, H, G, T, S = sizes
    q, k, v = drawn(B, H, T, 6), drawn(B, G, S, 6, seed=1), drawn(B, G, S, 6, seed=2)
    if loud is not None:
        k[:, :, loud] *= 1e6
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    mask = bias
    if seen is not None:
        mask = seen.clone() if one.says["mask"] == "attends" else ~seen
    kept, query = None if mask is None else mask.clone(), q.clone()
    got = one.target(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=G != H)
    visible = torch.ones(T, S, dtype=torch.bool) if seen is None else seen
    if causal:
        visible = visible & past(T, S, one.says["corner"])
    want, _, _ = attend(
        query.double(),
        k.double(),
        v.double(),
        visible,
        scale,
        0.0 if bias is None else bias,
        empty=one.says["empty"],
    )
    one_after = [(q, query)] if kept is None else [(q, query), (mask, kept)]
    return [(got, want), *one_after]


EMPTY = drawn_mask(5, 5)
EMPTY[2] = False
ITEMS = drawn_mask(4, 1, 5, 5)
ITEMS[0] = True
SILENT = drawn_mask(5, 5)
SILENT[:, 4], SILENT[4, 3] = False, True

for how, arguments in {
    "plain": {},
    "boolean mask": {"seen": drawn_mask(5, 5)},
    "boolean mask and causal": {"seen": drawn_mask(5, 5), "causal": True},
    "boolean mask and causal, cross": {
        "seen": drawn_mask(3, 5),
        "causal": True,
        "sizes": (2, 3, 3, 3, 5),
    },
    "float mask": {"bias": 3 * drawn(5, 5, seed=5)},
    "float mask and causal": {"bias": 3 * drawn(5, 5, seed=5), "causal": True},
    "mask of items": {"seen": ITEMS, "sizes": (4, 4, 4, 5, 5)},
    "mask afterwards": {"seen": drawn_mask(5, 5)},
    "loud hidden key": {"seen": SILENT, "loud": 4},
    "half, a row that sees nothing": {"seen": EMPTY, "dtype": torch.float16},
    "a row that sees nothing, causal": {"seen": EMPTY, "causal": True},
    "causal": {"causal": True},
    "causal, cross": {"causal": True, "sizes": (2, 3, 3, 3, 5)},
    "causal, one query": {"causal": True, "sizes": (2, 3, 3, 1, 5)},
    "cross": {"sizes": (2, 3, 3, 3, 5)},
    "groups": {"sizes": (2, 6, 2, 5, 5)},
    "scale": {"scale": 0.3},
    "scale of zero": {"scale": 0.0},
}.items():
    call("sdpa-like", how)(partial(sdpa, **arguments))


def windowed(one: Sound, queries: int, keys: int, causal: bool, window: tuple[int, int]) -> Tensor:
    """(T, S), true where a key is seen; `window_size` as the specimen counts it."""
    ahead = torch.arange(keys) - torch.arange(keys - queries, keys)[:, None]
    seen = ahead <= 0 if causal else torch.ones_like(ahead, dtype=torch.bool)
    own = one.says["window"] == "counts oneself"
    if window[0] >= 0:
        seen = seen & (-ahead <= window[0] - own)
    if window[1] >= 0 and not causal:
        seen = seen & (ahead <= window[1] - own)
    return seen


def flash(
    one: Sound,
    sizes: tuple[int, int, int, int, int] = (2, 4, 4, 5, 5),
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi: bool = False,
    scale: float | None = None,
    lse: bool = False,
    loud: float = 1.0,
) -> Pairs:
    """One call of B, H, G, T, S."""
    B, H, G, T, S = sizes
    q, k, v = loud * drawn(B, T, H, 6), drawn(B, S, G, 6, seed=1), drawn(B, S, G, 6, seed=2)
    slopes = 2.0 ** -torch.arange(1, H + 1).double() if alibi else None
    parameters = inspect.signature(one.target).parameters
    asked = {name: lse for name in ("return_lse", "return_attn_probs") if name in parameters}
    got = one.target(
        q,
        k,
        v,
        softmax_scale=scale,
        causal=causal,
        window_size=window,
        softcap=softcap,
        alibi_slopes=slopes,
        **asked,
    )
    away = (torch.arange(S) - torch.arange(S - T, S)[:, None]).abs()
    want, _, sums = attend(
        *(part.transpose(1, 2) for part in (q, k, v)),
        windowed(one, T, S, causal, window),
        scale,
        0.0 if slopes is None else -slopes[:, None, None] * away,
        softcap,
        one.says["empty"],
    )
    want = want.transpose(1, 2)
    if not lse:
        return [(got, want)]
    sums = sums / math.log(2) if one.says["lse"] == "base 2" else sums
    sums = sums.transpose(1, 2) if one.says["heads"] == "(B, T, H)" else sums
    return [(got[0], want), (got[1], sums)]


for how, arguments in {
    "plain": {},
    "causal": {"causal": True},
    "causal, cross": {"causal": True, "sizes": (2, 4, 4, 3, 6)},
    "causal, more queries than keys": {"causal": True, "sizes": (2, 4, 4, 5, 3)},
    "groups": {"sizes": (2, 6, 2, 5, 5)},
    "scale": {"scale": 0.3},
    "softcap": {"softcap": 1.5, "loud": 3.0},
    "softcap, causal": {"softcap": 1.5, "causal": True},
    "alibi": {"alibi": True},
    "alibi, cross": {"alibi": True, "sizes": (2, 4, 4, 3, 6)},
    "window": {"window": (2, 1), "sizes": (2, 4, 4, 7, 7)},
    "window, causal": {"window": (2, 1), "causal": True, "sizes": (2, 4, 4, 7, 7)},
    "window of 0": {"window": (0, 0)},
    "window of unequal sides": {"window": (3, 1), "sizes": (2, 4, 4, 7, 7)},
    "window, cross": {"window": (2, 2), "sizes": (2, 4, 4, 3, 7)},
    "lse, causal": {"lse": True, "causal": True},
    "lse, window": {"lse": True, "window": (2, 1), "sizes": (2, 4, 4, 7, 7)},
    "lse, a row that sees nothing": {"lse": True, "causal": True, "sizes": (2, 4, 4, 5, 3)},
    "many keys": {"sizes": (2, 4, 4, 3, 40), "loud": 3.0},
}.items():
    call("flash-like", how)(partial(flash, **arguments))


def packed(
    one: Sound,
    queries: tuple[int, ...] = (3, 2, 4),
    keys: tuple[int, ...] = (3, 2, 4),
    causal: bool = False,
    groups: int = 6,
) -> Pairs:
    """One call of documents of these lengths, against a call for each of them."""
    q = drawn(sum(queries), 6, 4)
    k, v = drawn(sum(keys), groups, 4, seed=1), drawn(sum(keys), groups, 4, seed=2)
    starts = [torch.tensor([0, *lengths]).cumsum(0).to(torch.int32) for lengths in (queries, keys)]
    got = one.target(q, k, v, *starts, max(queries), max(keys), causal=causal)
    want = []
    for some_q, some_k, some_v in zip(q.split(queries), k.split(keys), v.split(keys), strict=True):
        if not len(some_q) or not len(some_k):
            want.append(torch.zeros_like(some_q))
            continue
        parts = (part.transpose(0, 1)[None] for part in (some_q, some_k, some_v))
        seen = past(len(some_q), len(some_k)) if causal else True
        context, _, _ = attend(*parts, seen, empty=one.says["empty"])
        want.append(context[0].transpose(0, 1))
    return [(got, torch.cat(want))]


for how, arguments in {
    "plain": {},
    "causal": {"causal": True},
    "cross": {"queries": (3, 2, 4), "keys": (4, 5, 2)},
    "causal, cross": {"queries": (3, 2, 4), "keys": (4, 5, 2), "causal": True},
    "groups": {"groups": 2},
    "empty documents": {"queries": (3, 2, 0, 2), "keys": (2, 0, 2, 3)},
}.items():
    call("packed", how)(partial(packed, **arguments))
