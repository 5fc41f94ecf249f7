"""Which family a module belongs to, by its signature, its parts and what it does.

A fault must not move a module into another family, where it would be innocent: what it is meant to
be (its name, its context_length, its mask) counts before what it does.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from properties.adapters import messages, trials
from properties.adapters.blueprint import Blueprint
from properties.adapters.projections import Structure, find
from properties.errors import QuestionError
from properties.subject import FAMILIES, HEADED_FAMILIES, Config, Sizes

CAUSAL_NAME = re.compile(r"(?<!non)(?<!un)(?<!non_)(causal|masked|autoregressive)", re.IGNORECASE)
MANY_HEADS = re.compile(r"multi|mha", re.IGNORECASE)


def validate(family: str | None) -> None:
    """QuestionError unless `family` is None or one of `FAMILIES`."""
    if family is not None and family not in FAMILIES:
        choices = "\n".join(f"    {name:<10} {text}" for name, text in FAMILIES.items())
        raise QuestionError(f"There is no family {family!r}.\nExpected one of:\n{choices}")


def decide(
    blueprint: Blueprint, module: nn.Module, structure: Structure | None
) -> tuple[Blueprint, str]:
    """The family, and the blueprint with its sizes understood accordingly."""
    arguments = blueprint.arguments
    if structure is None and not has_parameters(module) and not arguments.has("num_heads"):
        return blueprint, "plain"
    if arguments.has("num_heads"):
        return blueprint, headed_family(blueprint, structure)
    if arguments.has("head_dim") and arguments.has("embed", "d_out"):
        if derives_heads(blueprint):
            return blueprint, headed_family(blueprint, structure)
        blueprint = as_one_head(blueprint)
        module = blueprint.attempt(Config(blueprint.sizes(1)), None)
    if structure is not None and structure.listed:
        raise no_place(blueprint, "num_heads", "the number of heads")
    return blueprint, single_family(blueprint, module)


def has_parameters(module: nn.Module) -> bool:
    """Whether anything in it is trained."""
    return next(module.parameters(), None) is not None


def no_place(blueprint: Blueprint, argument: str, meaning: str) -> QuestionError:
    """The refusal of a constructor that lacks an argument which the family needs."""
    return messages.refusal(
        f"{blueprint.owner} has no argument for {meaning}.",
        f"an argument such as {argument}; examples of several sizes are built",
        "name a factory function that takes it, or an adapter:",
        messages.way_out(blueprint.owner),
    )


def as_one_head(blueprint: Blueprint) -> Blueprint:
    """The blueprint of one head: embed is the width of its input, head_dim that of its output."""
    if not blueprint.arguments.has("embed"):
        return blueprint
    return replace(blueprint, arguments=blueprint.arguments.rename("embed", "d_in"), square=False)


def derives_heads(blueprint: Blueprint) -> bool:
    """Whether the number of heads follows from width and head_dim, as in `MHA(d_model, head_dim)`.

    One head is head_dim wide; all heads together fill the width.
    """
    sizes = blueprint.sizes(2)
    module = blueprint.attempt(Config(sizes), None)
    structure = find(module, blueprint.owner)
    if structure is None:
        return bool(MANY_HEADS.search(blueprint.owner))
    query, value = (
        sum(max_other(cell.weight, sizes.d_in) for cell in structure.cells[role])
        for role in ("query", "value")
    )
    return query == value == sizes.width


def max_other(weight: Tensor, d_in: int) -> int:
    """The size of a matrix along the axis that is not d_in."""
    rows, columns = weight.shape
    return columns if rows == d_in else rows


def headed_family(blueprint: Blueprint, structure: Structure | None) -> str:
    """Wrapper if the output is H times d_out wide, else multihead.

    Without an output to look at, a list of heads that are each d_out wide is a wrapper.
    """
    config = Config(blueprint.sizes(2))
    sizes = config.sizes
    module = blueprint.attempt(config, None)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    trial = trials.run(module, x)
    structure = find(module, blueprint.owner)
    per_head = not blueprint.arguments.has("embed", "d_out")
    if structure is not None and structure.listed and structure.out is None:
        first = structure.cells["value"][0]
        wide = max_other(first.weight, sizes.d_in) // max(1, len(first.order))
        if wide == (sizes.head_dim if per_head else sizes.width):
            return "wrapper"
    if trial.output is not None and trial.output.shape[-1] == sizes.width * sizes.heads:
        return "wrapper"
    return "multihead"


def single_family(blueprint: Blueprint, module: nn.Module) -> str:
    """Causal if it is meant to hide the future or hides some of it, else self."""
    if meant_causal(blueprint, module):
        return "causal"
    return "self" if trial_future(module, blueprint.sizes(1)) in ("all", "") else "causal"


def meant_causal(blueprint: Blueprint, module: nn.Module) -> bool:
    """Whether its name, its context_length or its mask says that the future is to be hidden."""
    names = (blueprint.owner, type(module).__name__)
    return (
        blueprint.arguments.has("context_length")
        or any(CAUSAL_NAME.search(name) for name in names)
        or mask_size(module) is not None
    )


def trial_future(module: nn.Module, sizes: Sizes) -> str:
    """How much of the future a module of these sizes sees; see `trials.sees_future`."""
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    return trials.sees_future(module, x, x[0])


def mask_size(module: nn.Module) -> int | None:
    """The size of the square mask that it keeps, as a buffer or a plain tensor."""
    for part in module.modules():
        plain = [value for value in vars(part).values() if isinstance(value, Tensor)]
        for tensor in [*part._buffers.values(), *plain]:
            if tensor is not None and is_mask(tensor):
                return tensor.shape[-1]
    return None


def is_mask(tensor: Tensor) -> bool:
    """Square, and triangular with at most two different values."""
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < 2:
        return False
    values = torch.unique(tensor.double().nan_to_num())
    return len(values) <= 2


def check_override(blueprint: Blueprint, family: str, module: nn.Module) -> None:
    """QuestionError where the constructor cannot be asked for what the family needs."""
    several = blueprint.arguments.has("num_heads") or (
        blueprint.arguments.has("head_dim") and blueprint.arguments.has("embed", "d_out")
    )
    if family in HEADED_FAMILIES and not several:
        meaning = f"the number of heads, which the family {family} needs"
        raise no_place(blueprint, "num_heads", meaning)
