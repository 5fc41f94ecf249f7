"""Calls of modules that keep the keys and values of a context, one token of x after the other."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from properties.tests.wide_calls import Pairs, call, drawn
from properties.tests.wide_calls.modules import build, takes, truth
from properties.zoo.wide import Sound
from properties.zoo.wide.kept import ContextCache

SHOWN = torch.arange(5) < torch.tensor([5, 3, 4])[:, None]


def fed(
    module: nn.Module, x: Tensor, context: Tensor, mask: Tensor | None, *, again: bool
) -> Tensor:
    """The outputs of tokens one by one. again: whether later calls are handed the context as well."""
    held: Any = {"kv_cache": {}, "past_key_values": ContextCache()}
    parts, past, told = [], None, {} if mask is None else {"context_mask": mask}
    for n, token in enumerate(x.split(1, dim=1)):
        given = context if again or not n else None
        if takes(module, "past"):
            output, past = module(token, given, past=past, use_cache=True, **told)
        elif takes(module, "use_cache"):
            output = module(token, given, use_cache=True, **told)
        else:
            own = {name: value for name, value in held.items() if takes(module, name)}
            output = module(token, given, **own, **told)
        parts.append(output)
    return torch.cat(parts, dim=1)


def kept(one: Sound, padded: bool = False) -> Pairs | None:
    """A context for three tokens; each call is handed it, or the first one alone where that is enough."""
    module = build(one)
    if padded and not takes(module, "context_mask"):
        return None
    x, context, mask = drawn(3, 3, 12), drawn(3, 5, 12, seed=1), SHOWN if padded else None
    want = right(one, module, x, context, mask)
    ways = (True, False) if "xa" in inspect.signature(module.forward).parameters else (True,)
    return [(fed(module, x, context, mask, again=again), want) for again in ways]


def right(
    one: Sound, module: nn.Module, x: Tensor, context: Tensor, mask: Tensor | None = None
) -> Tensor:
    """What one call with the context gives."""
    seen = torch.ones((), dtype=torch.bool) if mask is None else mask[:, None, None]
    return truth(module, x, context, seen=seen, empty=one.says.get("empty", "nan"))[0]


def another(one: Sound, reset: bool = False, cached: bool = False) -> Pairs | None:
    """Another context after one that was kept."""
    module = build(one)
    if reset and not hasattr(module, "reset_cache"):
        return None
    x, contexts = drawn(3, 3, 12), [drawn(3, 5, 12, seed=n) for n in (1, 2)]
    fed(module, x, contexts[0], None, again=True)
    if reset:
        module.reset_cache()  # type: ignore[operator]
    got = fed(module, x, contexts[1], None, again=True) if cached else module(x, contexts[1])
    return [(got, right(one, module, x, contexts[1]))]


def plain(one: Sound) -> Pairs:
    """A call with a context, without a cache."""
    module, x, context = build(one), drawn(3, 3, 12), drawn(3, 5, 12, seed=1)
    return [(module(x, context), right(one, module, x, context))]


call("kept", "plain")(plain)
call("kept", "a context that is kept")(kept)
call("kept", "a context that is kept, padding")(partial(kept, padded=True))
call("kept", "another context, without the cache")(another)
call("kept", "another context, after a reset")(partial(another, reset=True, cached=True))
