"""Norms inside attention: of what comes in, of queries and keys, of what goes out; and the residual that
is added beside one. They are no part of what is asked here, so they are taken out, and told.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, messages, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.subjects.subject import Config

NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)
KIND = re.compile(r"norm", re.IGNORECASE)
OF_TORCH = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def norms_in(module: nn.Module) -> tuple[str, ...]:
    """The paths of the layers that are norms by their name and kind, or torch's own."""
    return tuple(
        path
        for path, part in module.named_modules()
        if isinstance(part, OF_TORCH)
        or (NORM.search(path.rpartition(".")[2]) and KIND.search(type(part).__name__))
    )


def without_norms(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with nothing in the place of each norm where it runs so; what is not asked is told."""
    inner = calls.inside(module)
    found = norms_in(inner)
    if not found:
        return blueprint, module
    told = blueprint.arguments
    asked = dict.fromkeys(found, "a norm: it is taken out, and all else asked")
    told = replace(told, unasked={**told.unasked, **asked})
    without = replace(blueprint, arguments=told, taken_out=found)
    sizes, x = blueprint.first_sizes, input_for(blueprint)
    made = without.attempt(Config(sizes), None)
    if trials.run(made, x).failure and not trials.run(module, x).failure:
        return blueprint, module
    if not any(is_of_tokens(inner.get_submodule(path), sizes.d_in) for path in found):
        return without, made  # norms of queries and keys alone do not say that a residual is meant
    return without_residual_of(without, made)


def is_of_tokens(norm: nn.Module, width: int) -> bool:
    """Whether a norm is as wide as the tokens, not as a head; (C, 1, 1) is for images."""
    shapes = [tuple(parameter.shape) for parameter in norm.parameters()]
    shapes.append(tuple(getattr(norm, "normalized_shape", ())))
    bare = [tuple(size for size in shape if size != 1) for shape in shapes]
    return any(shape[-1:] == (width,) for shape in bare)


def without_residual_of(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or without the input that is added to the output. QuestionError where what is left without
    it is not the rest of the output.
    """
    call = calls.of_forward(calls.inside(module))
    x = input_for(blueprint)
    if call is None or not identical(output_of(blueprint, x, zero=True), x):
        return blueprint, module
    first = (*call.required, *call.optional)[:1]
    names = call.tokens or tuple(filter(None, (*first, calls.context_of(call))))
    text = "the input that is added to the output: it is taken out, and all else asked"
    told = replace(blueprint.arguments, unasked={**blueprint.arguments.unasked, "residual": text})
    without = replace(blueprint, arguments=told, residual=names)
    whole, rest = output_of(blueprint, x), output_of(without, x)
    if whole is None or rest is None:
        return blueprint, module
    if not trials.same(rest + x, whole):
        raise inseparable(blueprint)
    return without, without.attempt(Config(without.first_sizes), None)


def inseparable(blueprint: Blueprint) -> QuestionError:
    """The refusal of a residual that cannot be taken out."""
    settings = blueprint.arguments.settings
    return messages.refusal(
        f"{blueprint.owner} has a norm and adds its input to its output: a block around attention, whose "
        "residual cannot be taken out here.",
        "attention alone, or a residual of the input as it is handed to a layer",
        "name the class of its attention, or leave the residual out in a subclass:",
        messages.factory(blueprint.owner, blueprint.target, settings),
    )


def output_of(blueprint: Blueprint, x: Tensor, zero: bool = False) -> Tensor | None:
    """What a new module gives for x, with its own parameters or with zeros for all of them."""
    module = blueprint.attempt(Config(blueprint.first_sizes), None)
    with torch.no_grad():
        for parameter in module.parameters() if zero else ():
            parameter.zero_()
    return trials.run(module, x).tensor


def input_for(blueprint: Blueprint) -> Tensor:
    """Random tokens (B, T, d_in)."""
    sizes = blueprint.first_sizes
    return trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)


def identical(output: Tensor | None, x: Tensor) -> bool:
    """Whether there is an output, and it is x to the bit."""
    return output is not None and torch.equal(output, x)
