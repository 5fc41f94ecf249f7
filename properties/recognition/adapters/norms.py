"""Norms inside attention: of what comes in, of queries and keys, of what goes out. They are no part of
what is asked here, so they are taken out, and told.
"""

from __future__ import annotations

import re
from dataclasses import replace

from torch import nn

from properties.recognition.adapters import trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.subjects.subject import Config

NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)
KIND = re.compile(r"norm", re.IGNORECASE)


def norms_in(module: nn.Module) -> tuple[str, ...]:
    """The paths of the layers that are norms by their name and kind."""
    return tuple(
        path
        for path, part in module.named_modules()
        if NORM.search(path.rpartition(".")[2]) and KIND.search(type(part).__name__)
    )


def without_norms(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with nothing in the place of each norm where it runs so; what is not asked is told."""
    found = norms_in(module)
    if not found:
        return blueprint, module
    told = blueprint.arguments
    asked = dict.fromkeys(found, "a norm: it is taken out, and all else asked")
    told = replace(told, unasked={**told.unasked, **asked})
    without = replace(blueprint, arguments=told, taken_out=found)
    sizes = blueprint.sizes(2 if told.has("num_heads", "head_dim") else 1)
    made = without.attempt(Config(sizes), None)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    if trials.run(made, x).failure and not trials.run(module, x).failure:
        return blueprint, module
    return without, made
