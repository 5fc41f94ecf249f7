"""Norms inside attention: of what comes in, of queries and keys, of what goes out; and the residual that
is added beside one. They are no part of what is asked here, so they are taken out, and told.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from properties.recognition.adapters import calls, trials
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
    return with_zeros_added(without, made)


def with_zeros_added(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or without the input that is added to the output: what is left of it where all parameters
    are zero.
    """
    call = calls.of_forward(calls.inside(module))
    sizes = blueprint.sizes(2 if blueprint.arguments.has("num_heads", "head_dim") else 1)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    if call is None or not same(left_of(x, blueprint), x):
        return blueprint, module
    names = call.tokens or tuple(filter(None, (call.required[0], calls.context_of(call))))
    asked = {
        "residual": "the input that is added to the output: it is taken out, and all else asked"
    }
    told = replace(blueprint.arguments, unasked={**blueprint.arguments.unasked, **asked})
    without = replace(blueprint, arguments=told, residual=names)
    if not same(left_of(x, without), 0 * x):
        return blueprint, module
    return without, without.attempt(Config(sizes), None)


def left_of(x: Tensor, blueprint: Blueprint) -> Tensor | None:
    """What a new module gives for x once all its parameters are zero."""
    sizes = blueprint.sizes(2 if blueprint.arguments.has("num_heads", "head_dim") else 1)
    module = blueprint.attempt(Config(sizes), None)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    trial = trials.run(module, x)
    return next((p for p in (trial.output, *trial.returned) if isinstance(p, Tensor)), None)


def same(output: Tensor | None, x: Tensor) -> bool:
    """Whether there is an output, and it is x."""
    return output is not None and torch.equal(output, x)
