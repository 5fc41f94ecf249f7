"""Gates that a layer makes of the tokens, by which what attention gives is multiplied: sigmoids, which are
one for a large number. They are no part of what is asked here, so they are held open, and told.
"""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, messages, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.held_open import HeldOpen
from properties.subjects.subject import Config

OPEN = HeldOpen().number
GATE = re.compile(r"(^|[._])gat(e|ing)", re.IGNORECASE)


def gates_in(module: nn.Module) -> tuple[str, ...]:
    """The paths of the linear layers that are called gates, or are in a part that is."""
    return tuple(
        path
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear) and GATE.search(path)
    )


def with_open_gates(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or with gates that are open, where these matter. QuestionError where one is never open: the
    more it is made of, the more comes through.
    """
    paths = gates_in(calls.inside(module))
    if not paths:
        return blueprint, module
    half, whole, more = (given(blueprint, paths, heads, number) for number in (0.0, OPEN, 2 * OPEN))
    if half is None or whole is None or more is None or trials.same(half, whole):
        return blueprint, module
    if not trials.same(whole, more):
        raise never_open(blueprint, paths)
    asked = dict.fromkeys(paths, "a gate: it is held open, and all else asked")
    told = replace(blueprint.arguments, unasked={**blueprint.arguments.unasked, **asked})
    blueprint = replace(blueprint, arguments=told, gates=paths)
    return blueprint, blueprint.attempt(Config(blueprint.sizes(heads)), None)


def given(blueprint: Blueprint, paths: tuple[str, ...], heads: int, number: float) -> Tensor | None:
    """What a new module gives with this number in place of what its gates are made of."""
    sizes = blueprint.sizes(heads)
    module = blueprint.attempt(Config(sizes), None)
    for path in paths:
        calls.inside(module).get_submodule(path).register_forward_hook(HeldOpen(number))
    return trials.run(module, trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)).tensor


def never_open(blueprint: Blueprint, paths: tuple[str, ...]) -> QuestionError:
    """The refusal of a gate without an end."""
    settings = blueprint.arguments.settings
    return messages.refusal(
        f"{blueprint.owner} multiplies by what {messages.listed(paths)} makes of the tokens, and no number "
        "is large enough to leave all else as it is.",
        "no gate, or one by a sigmoid, which is held open here",
        "leave it out for the check, by an argument or a subclass, in a factory:",
        messages.factory(blueprint.owner, blueprint.target, settings),
    )


def parameters_of(module: nn.Module, paths: tuple[str, ...]) -> list[str]:
    """The names of the parameters of these layers; of biases also those that no argument asks for now."""
    inner = "inner." if calls.inside(module) is not module else ""
    return [f"{inner}{path}.{kind}" for path in paths for kind in ("weight", "bias")]
