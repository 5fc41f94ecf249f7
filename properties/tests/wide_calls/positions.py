"""Calls of modules with rotary positions or a cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from properties.tests.wide_calls import Pairs, call, drawn, drawn_mask, past
from properties.tests.wide_calls.modules import build, takes, truth
from properties.zoo.wide import Sound


def angles(tokens: int, width: int) -> Tensor:
    """(T, D / 2), position times 10000^(-2i / D)."""
    speeds = torch.tensor([10000.0 ** (-2 * i / width) for i in range(width // 2)]).double()
    return torch.arange(tokens).double()[:, None] * speeds


def turned(x: Tensor, pairs: str, part: str = "", turns: str = "") -> Tensor:
    """(B, H, T, D), every pair of components turned by position times its speed."""
    width = x.shape[-1] // 2 if part == "half" else x.shape[-1]
    turn, out = angles(x.shape[-2], width), x.clone()
    turn = -turn if turns == "backwards" else turn
    for i in range(width // 2):
        a, b = (i, i + width // 2) if pairs == "halves" else (2 * i, 2 * i + 1)
        cos, sin = turn[:, i].cos(), turn[:, i].sin()
        out[..., a] = x[..., a] * cos - x[..., b] * sin
        out[..., b] = x[..., b] * cos + x[..., a] * sin
    return out


def rotary(one: Sound, tokens: int = 6, start: int | None = None) -> Pairs | None:
    """A causal call, or one whose positions count from `start`, which changes nothing."""
    module = build(one)
    if start is not None and not takes(module, "start_pos"):
        return None
    x, given = drawn(2, tokens, 12), {} if start is None else {"start_pos": start}
    if takes(module, "cos"):
        both = angles(tokens, 4).repeat(1, 2)
        given = {"cos": both.cos(), "sin": both.sin()}
    turn = partial(turned, **one.says)
    want, _ = truth(module, x, turn=turn, seen=past(tokens, tokens))
    return [(module(x, **given), want)]


call("rotary", "plain")(rotary)
call("rotary", "long")(partial(rotary, tokens=32))
call("rotary", "start")(partial(rotary, start=3))


def whole(one: Sound, module: nn.Module, x: Tensor) -> Tensor:
    """What is right for all tokens at once."""
    pairs = one.says.get("pairs")
    turn = None if pairs is None else partial(turned, pairs=pairs)
    want, _ = truth(module, x, turn=turn, seen=past(x.shape[1], x.shape[1]))
    return want


def chunked(module: nn.Module, x: Tensor, lengths: Sequence[int]) -> Tensor:
    """The outputs of chunks one after the other."""
    outputs, held, start = [], None, 0
    for chunk in x.split(list(lengths), dim=1):
        if takes(module, "layer_past"):
            output, held = module(chunk, layer_past=held, use_cache=True)
        elif takes(module, "freqs_cis"):
            turn = angles(start + chunk.shape[1], 4)[start:]
            output = module(chunk, start, torch.polar(torch.ones_like(turn), turn))
        elif takes(module, "use_cache"):
            output = module(chunk, use_cache=True)
        elif takes(module, "past"):
            output, held = module(chunk, past=held)
        elif takes(module, "kv_cache"):
            held = ([] if "List" in type(module).__name__ else {}) if held is None else held
            output = module(chunk, kv_cache=held)
        else:
            output = module(chunk, start_pos=start)
        outputs.append(output)
        start += chunk.shape[1]
    return torch.cat(outputs, dim=1)


def cached(one: Sound, lengths: Sequence[int], before: int = 0) -> Pairs | None:
    """Chunks of these lengths, after a longer sequence that is forgotten."""
    if one.says.get("causal") == "given":
        return None
    module = build(one)
    if before:
        chunked(module, drawn(2, before, 12, seed=9), [before - 1, 1])
        if hasattr(module, "reset_cache"):
            module.reset_cache()
    x = drawn(2, sum(lengths), 12)
    return [(chunked(module, x, lengths), whole(one, module, x))]


def unasked(one: Sound) -> Pairs | None:
    """A call without the cache, after one with it."""
    module = build(one)
    if not takes(module, "use_cache"):
        return None
    module(drawn(2, 4, 12, seed=9), use_cache=True)
    x = drawn(2, 5, 12)
    output = module(x)
    return [(output[0] if takes(module, "layer_past") else output, whole(one, module, x))]


def under_a_mask(one: Sound, lengths: Sequence[int]) -> Pairs | None:
    """Chunks of these lengths, each with its rows of a mask of pairs in the module's own terms."""
    module, total = build(one), sum(lengths)
    if not takes(module, "attn_mask"):
        return None
    x, seen = drawn(2, total, 12), drawn_mask(2, total, total) & past(total, total)
    numbers = torch.zeros(2, 1, total, total).double().masked_fill(~seen[:, None], -torch.inf)
    mask = {"attends": seen, "hides": ~seen, "is added": numbers}[one.says["mask"]]
    held, end, parts = None, 0, []
    for length in lengths:
        start, end = end, end + length
        output, held = module(
            x[:, start:end], attn_mask=mask[..., start:end, :end].clone(), past=held
        )
        parts.append(output)
    want, _ = truth(module, x, seen=seen[:, None])
    return [(torch.cat(parts, dim=1), want)]


def layered(one: Sound) -> Pairs | None:
    """Two layers with one cache, fed by turns."""
    layers = [build(one, layer_idx=n) for n in (0, 1)]
    if not takes(layers[0], "kv_cache"):
        return None
    cache: Any = [] if "list" in one.name else {}
    xs, outputs = (drawn(2, 5, 12), drawn(2, 5, 12, seed=1)), ([], [])
    for token in range(5):
        for layer, x, parts in zip(layers, xs, outputs, strict=True):
            parts.append(layer(x[:, token : token + 1], kv_cache=cache))
    given = zip(layers, xs, outputs, strict=True)
    return [(torch.cat(parts, dim=1), whole(one, layer, x)) for layer, x, parts in given]


def continued(one: Sound) -> Pairs | None:
    """Two continuations of one past."""
    module = build(one)
    if not takes(module, "past") or one.says.get("causal") == "given":
        return None
    x, other = drawn(2, 5, 12), drawn(2, 5, 12, seed=1)
    other[:, :3] = x[:, :3]
    _, held = module(x[:, :3])
    return [
        (module(some[:, 3:], past=held)[0], whole(one, module, some)[:, 3:]) for some in (x, other)
    ]


for how, arguments in {
    "plain": {"lengths": (6,)},
    "chunks": {"lengths": (4, 3, 2)},
    "token by token": {"lengths": (3, 1, 1, 1)},
    "reset": {"lengths": (3, 2), "before": 5},
    "a second sequence": {"lengths": (3, 1, 1), "before": 9},
}.items():
    call("cached", how)(partial(cached, **arguments))
call("cached", "without the cache")(unasked)
call("cached", "two continuations of one past")(continued)
call("cached", "two layers of one cache")(layered)
call("cached", "chunks under a mask")(partial(under_a_mask, lengths=(3, 1, 2)))
