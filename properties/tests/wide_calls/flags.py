"""Calls of modules of tokens alone that hide the future by a flag."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.tests.wide_calls import Pairs, call, drawn, past
from properties.tests.wide_calls.modules import PADDED, build, takes, truth
from properties.zoo.wide import Sound

FLAGS = ("is_causal", "use_causal_mask", "causal_mask")


def flagged(
    one: Sound,
    on: bool = True,
    padding: Tensor | None = None,
    before: tuple[bool, int] | None = None,
) -> Pairs | None:
    """A call with the flag, for three items of five tokens; before: the flag and the number of tokens of an
    earlier one.
    """
    module = build(one)
    flag = next((name for name in FLAGS if takes(module, name)), "")
    if not flag or (padding is not None and not takes(module, "padding_mask")):
        return None
    x, given, seen = drawn(3, 5, 12), {}, torch.ones(5, 5, dtype=torch.bool)
    if before is not None:
        module(drawn(3, before[1], 12, seed=1), **{flag: before[0]})
    if on:
        seen = past(5, 5)
    if padding is not None:
        given["padding_mask"], seen = padding, seen & padding[:, None, None]
    got = module(x, **given, **{flag: on})
    want, _ = truth(module, x, seen=seen, empty=one.says.get("empty", "nan"))
    return [(got, want)]


for how, arguments in {
    "causal": {},
    "not causal": {"on": False},
    "causal and padding": {"padding": PADDED},
    "causal after a call without": {"before": (False, 5)},
    "causal after fewer tokens": {"before": (True, 3)},
}.items():
    call("encoder", how)(partial(flagged, **arguments))
