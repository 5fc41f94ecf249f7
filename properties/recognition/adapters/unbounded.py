"""Bounds that the constructor sets on the scores, on how far back a query sees, or on how wide heads are
are put out of action, and so are learned keys and values that it adds.

All that is asked is asked without them, and that is told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from inspect import Parameter
from itertools import chain, pairwise
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from properties.basics.errors import QuestionError
from properties.recognition.adapters import trials
from properties.recognition.adapters.arguments import Arguments
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.spellings import CAP, LEARNED, NARROW, WINDOW, meaning
from properties.recognition.asking.widened import WIDE
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

HIGH = 2.0**80  # scores over it are exact, their tanh is themselves, and float16 has neither
SHORT = (32, 64, 128)  # windows by which it is seen what a wide one would hold
LARGEST = 2**22  # numbers in one module
WORDS: Mapping[object, str] = {
    None: "it is None",
    HIGH: "it is 2**80",
    WIDE: f"it is {WIDE}",
    1: "it is 1",
    0: "it is 0",
}
OFF: Mapping[str, tuple[object, ...]] = {
    CAP: (None, HIGH),
    WINDOW: (None, WIDE),
    NARROW: (1,),
    LEARNED: (0,),
}
"""By kind, what leaves nothing of it, in the order in which it is tried."""


def without_bounds(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or with None, else a number beyond all examples, for what the constructor or its settings
    have by default for a bound on the scores or a window, 1 for a rate by which heads are narrower, and 0
    for a number of learned keys and values, where forward runs so.
    """
    sizes = blueprint.sizes(heads)
    for kind, values in OFF.items():
        told = blueprint.arguments
        named = [n for n in told.unasked if meaning(n.rpartition(".")[2]) == kind]
        names = [n for n in named if not is_off(blueprint.target, n)]
        if not names or not gives(module, sizes):
            continue
        for value in values:
            other = replace(blueprint, arguments=with_value(told, names, kind, value))
            if value == WIDE and not is_small(other, names, sizes):
                blueprint = within_one_window(blueprint, names, sizes)
                continue
            made = built(other, sizes)
            if made is not None and gives(made, sizes):
                blueprint, module = (
                    replace(other, uncapped=blueprint.uncapped or value == HIGH),
                    made,
                )
                break
    return blueprint, module


def within_one_window(blueprint: Blueprint, names: list[str], sizes: Sizes) -> Blueprint:
    """The same, asked of as many tokens as the window has, where it runs so: a wide one would be a square
    of its size.
    """
    told, (name, *others) = blueprint.arguments, names
    if others or name in told.paths or told.has("context_length"):
        return blueprint
    unasked = {other: text for other, text in told.unasked.items() if other != name}
    roles = {**told.roles, "context_length": name}
    within = replace(blueprint, arguments=replace(told, roles=roles, unasked=unasked))
    made = built(within, sizes)
    return within if made is not None and gives(made, sizes) else blueprint


def with_value(told: Arguments, names: list[str], kind: str, value: object) -> Arguments:
    """The arguments with this value for these names, told as not asked about."""
    asked = dict.fromkeys(names, f"{kind}: {WORDS[value]}")
    return replace(told.fixing(dict.fromkeys(names, value)), unasked={**told.unasked, **asked})


def required_windows(target: Callable[..., Any], given: Iterable[str]) -> list[str]:
    """The arguments without a default that are windows, and are not given."""
    named = parameters(target).values()
    empty = [p.name for p in named if p.default is Parameter.empty and p.kind is not p.VAR_KEYWORD]
    return [n for n in empty if meaning(n) == WINDOW and n not in set(given)]


def parameters(target: Callable[..., Any]) -> Mapping[str, Parameter]:
    """Those of a constructor, nothing where it does not say."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}


def is_off(target: Callable[..., Any], name: str) -> bool:
    """Whether an argument sets no bound by default, or says it in a word."""
    if name not in parameters(target):
        return False
    default = parameters(target)[name].default
    return default is None or isinstance(default, str) or (_number(default) and default <= 0)


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def is_small(blueprint: Blueprint, names: list[str], sizes: Sizes) -> bool:
    """Whether a module with a wide window holds few numbers, and makes few in a call: a square for each
    window would be many.
    """
    counts = []
    for short in SHORT:
        told = blueprint.arguments.fixing(dict.fromkeys(names, short))
        made = built(replace(blueprint, arguments=told), sizes)
        if made is None:
            return False
        held = chain(made.parameters(), made.buffers())
        with Largest() as call:
            gives(made, sizes)
        counts.append(sum(tensor.numel() for tensor in held) + call.numbers)
    first, second = (after - before for before, after in pairwise(counts))
    return second <= 2 * first and second * WIDE // (SHORT[2] - SHORT[1]) <= LARGEST


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made meanwhile."""

    def __init__(self) -> None:
        """None so far."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What the operation returns, counted."""
        returned = func(*args, **(kwargs or {}))
        made = returned if isinstance(returned, tuple | list) else [returned]
        sizes = (part.numel() for part in made if isinstance(part, Tensor))
        self.numbers = max(self.numbers, *sizes, 0)
        return returned


def built(blueprint: Blueprint, sizes: Sizes) -> nn.Module | None:
    """A module, None where the constructor does not take what it is given."""
    try:
        return blueprint.attempt(Config(sizes), None)
    except QuestionError:
        return None


def gives(module: nn.Module, sizes: Sizes) -> bool:
    """Whether a call with x gives a tensor, be it one of several."""
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    return trials.run(module, x).tensor is not None
