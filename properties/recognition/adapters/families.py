"""Which family a module belongs to, by its signature, its parts and what it does.

A fault must not move a module into another family, where it would be innocent: what it is meant to
be (its name, its context_length, its mask) counts before what it does.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, messages, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.projections import Structure, find
from properties.subjects.subject import FAMILIES, HEADED_FAMILIES, Config
from properties.truth.parameters import Sizes

CAUSAL_NAME = re.compile(r"(?<!non)(?<!un)(?<!non_)(causal|masked|autoregressive)", re.IGNORECASE)
CAUSAL_CODE = re.compile(r"\b(triu|tril|is_causal|causal_mask)\b")
MASKED = re.compile("masked", re.IGNORECASE)
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
MANY_HEADS = re.compile(r"multi|mha", re.IGNORECASE)


def validate(family: str | None) -> None:
    """QuestionError unless `family` is None or one of `FAMILIES`."""
    if family is not None and family not in FAMILIES:
        choices = "\n".join(f"    {name:<10} {text}" for name, text in FAMILIES.items())
        raise QuestionError(f"There is no family {family!r}.\nExpected one of:\n{choices}")


def decide(
    blueprint: Blueprint, module: nn.Module, structure: Structure | None
) -> tuple[Blueprint, str, str]:
    """The blueprint with its sizes understood, the family, and why where it might be another."""
    arguments = blueprint.arguments
    if structure is None and not has_parameters(module) and not arguments.has("num_heads"):
        return blueprint, "plain", ""
    if arguments.has("num_heads"):
        return blueprint, *headed_family(blueprint, structure)
    if arguments.has("head_dim") and arguments.has("embed", "d_out"):
        if derives_heads(blueprint):
            return blueprint, *headed_family(blueprint, structure)
        blueprint = as_one_head(blueprint)
        module = blueprint.attempt(Config(blueprint.sizes(1)), None)
    if structure is not None and structure.listed:
        raise no_place(blueprint, "num_heads", "the number of heads")
    return blueprint, *single_family(blueprint, module)


def has_parameters(module: nn.Module) -> bool:
    """Whether anything in it is trained."""
    return next(module.parameters(), None) is not None


def no_place(blueprint: Blueprint, argument: str, meaning: str) -> QuestionError:
    """The refusal of a constructor that lacks an argument which the family needs."""
    there = messages.listed([*messages.roles(blueprint.target), argument])
    return messages.refusal(
        f"{blueprint.owner} has no argument for {meaning}.",
        f"an argument such as {argument}; examples of several sizes are built",
        f"let its constructor take it: {blueprint.owner}({there})",
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


def headed_family(blueprint: Blueprint, structure: Structure | None) -> tuple[str, str]:
    """Wrapper if the output is H times d_out wide, else multihead or encoder; and why, in doubt.

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
            return "wrapper", ""
    if trial.output is not None and trial.output.shape[-1] == sizes.width * sizes.heads:
        return "wrapper", ""
    future = trial_future(module, sizes)
    meant = meant_causal(blueprint, module)
    if not meant and blueprint.arguments.has("causal"):
        meant = f"it is told {blueprint.arguments.roles['causal']}"
    call = calls.forward_of(module, blueprint.owner)
    if future == "all" and call.context:
        return "cross", ""  # whatever its name says: masks of a context are handed in
    names = (blueprint.owner, type(calls.inside(module)).__name__)
    named = any(says_causal(MASKED.sub("", name)) for name in names)  # by the mask it is given
    made = blueprint.masks.names if blueprint.masks else ()
    masks = tuple(dict.fromkeys((*call.masks, *made)))
    keeps = named or mask_size(module) is not None
    if future == "all" and masks and (by_a_flag(blueprint, module) or not keeps):
        told = f"hidden only by {messages.listed(masks)}, though {meant}"
        return "encoder", f"taken as encoder: the future is {told}" if meant else ""
    return reading(meant, future, hiding="multihead", open="encoder")


def single_family(blueprint: Blueprint, module: nn.Module) -> tuple[str, str]:
    """Causal if it is meant to hide the future or hides all of it, else self; and why, in doubt."""
    meant = meant_causal(blueprint, module)
    future = trial_future(module, blueprint.sizes(1))
    if future == "all" and (flag := by_a_flag(blueprint, module)):
        told = f"hidden only by {flag}, though {meant}"
        return "self", f"taken as self: the future is {told}" if meant else ""
    return reading(meant, future)


def by_a_flag(blueprint: Blueprint, module: nn.Module) -> str:
    """The argument of forward that tells whether the future is hidden, "" where there is none or the
    constructor is told as well.
    """
    flag = calls.causal_flag(module)
    return "" if flag is None or blueprint.arguments.has("causal") else flag.name


def reading(
    meant: str, future: str, *, hiding: str = "causal", open: str = "self"
) -> tuple[str, str]:
    """Which of two families, and a remark where what is meant and what is seen do not agree.

    meant: what says that the future is to be hidden, "" if nothing; future: see `trials.sees_future`;
    hiding, open: the family that hides it and the one that does not, by default those of one head.
    """
    seen = f"{future} of the future is seen" if future else "no trial tells what is seen"
    if meant:
        doubt = (
            f"taken as {hiding}, since {meant}, though {seen}: --family {open} asks for the other"
        )
        return hiding, "" if future == "none" else doubt
    doubt = f"taken as {open}, not {hiding}: {seen}, and nothing says that it is to be hidden"
    if future == "none":
        return hiding, ""
    return open, "" if future == "all" else f"{doubt}; --family {hiding} asks for the other"


def meant_causal(blueprint: Blueprint, module: nn.Module) -> str:
    """What says that the future is to be hidden: a name, context_length, a mask; "" if nothing."""
    inner = calls.inside(module)
    call = calls.forward_of(module, blueprint.owner)
    by_lengths = any(map(calls.LENGTHS.fullmatch, call.further))  # and so called masked
    for name in (blueprint.owner, type(inner).__name__):
        if says_causal(MASKED.sub("", name) if by_lengths else name):
            return f"it is called {name}"
    if blueprint.arguments.has("context_length") and not blueprint.block:
        return f"it takes {blueprint.arguments.roles['context_length']}"
    if mask_size(module) is not None:
        return "it keeps a mask"
    chosen = blueprint.arguments.has("causal") or call.masks
    return "" if chosen or says_open(inner) else mask_in_code(type(inner).forward)


def says_open(module: nn.Module) -> bool:
    """Whether a module keeps a flag by which nothing is hidden, as those of transformers do."""
    return any(vars(module).get(name) is False for name in ("is_causal", "causal"))


def mask_in_code(function: Callable[..., Any]) -> str:
    """What in the code of a forward or function makes a causal mask; "" if nothing does."""
    try:
        found = CAUSAL_CODE.search(
            ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
        )
    except (OSError, TypeError, SyntaxError):  # built at run time
        return ""
    return f"its code calls {found[0]}" if found else ""


def says_causal(name: str) -> bool:
    """Whether a name says so, also with one letter wrong or two exchanged: Casual, Causla, Causel."""
    words = [word.lower() for word in WORDS.findall(name)]
    near = any(is_misspelt(word, "causal") for word in words)
    return "acausal" not in words and (near or bool(CAUSAL_NAME.search(name)))


def is_misspelt(word: str, meant: str) -> bool:
    """Whether a word is another with a letter lost, added or changed, or two neighbours exchanged."""
    parts = [(meant[:cut], meant[cut:]) for cut in range(len(meant) + 1)]
    patterns = [
        *(f"{head}{rest[1:]}" for head, rest in parts if rest),
        *(f"{head}.{rest}" for head, rest in parts),
        *(f"{head}.{rest[1:]}" for head, rest in parts if rest),
        *(f"{head}{rest[1]}{rest[0]}{rest[2:]}" for head, rest in parts if len(rest) > 1),
    ]
    return word != meant and any(re.fullmatch(pattern, word) for pattern in patterns)


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
