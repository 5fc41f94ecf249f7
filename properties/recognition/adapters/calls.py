"""How a module or function is called: with one input, and perhaps with more than that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from torch import nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import messages
from properties.recognition.adapters.documents import documents_of
from properties.recognition.adapters.given_masks import GivenMasks, masks_of, words
from properties.recognition.adapters.given_values import GivenValues, values_of
from properties.recognition.adapters.given_values import words as words_of_values
from properties.recognition.adapters.given_zeros import zeros_of
from properties.recognition.adapters.messages import NO_SETTINGS, Settings
from properties.recognition.adapters.spellings import (
    LETTER,
    MASK,
    argument_role,
    meaning,
    parameter_role,
)
from properties.recognition.asking.on_itself import OnItself
from properties.recognition.asking.roles import role
from properties.recognition.signatures import parameters_of
from properties.recognition.turning.handed import handed_to

MASKS = ("mask", "padding")
UNKNOWN = "an argument of no known meaning: it keeps its default"
IDLE = re.compile(
    r"verbose|debug|(layer_?|block_?)?(name|idx|id|index|number)|label|training|train|is_training|"
    r"deterministic|(\w+_)?d?type|(\w+_)?device|return_dict|in_?place|generator|rng|seed|precision|"
    r"compiled?|(global_?)?step|epoch|(print|log|save|store|plot)\w*",
    re.IGNORECASE,
)
"""What changes nothing that attention gives, by its name."""
LENGTHS = re.compile(r"((valid|seq|sequence|src|input|key|x)_?)?len(gth)?s", re.IGNORECASE)


def hides(name: str) -> bool:
    """Whether an argument tells what is hidden: a mask, or the lengths of the items."""
    return role(name) in MASKS or bool(LENGTHS.fullmatch(name))


@dataclass(frozen=True)
class Call:
    """The arguments that have to be given, and those that have a default."""

    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def context(self) -> str:
        """The argument for a context, where nothing else is required besides the input; "" if none is."""
        alone = len(self.required) == 2 and role(self.required[1]) == "context"
        return self.required[1] if alone else ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The arguments for queries, keys and values, in this order; () where not all three are required.

        What is required beyond them has to tell what is hidden.
        """
        named = {parameter_role(name): name for name in self.required[:3]}
        masks = all(map(hides, self.required[3:]))
        return tuple(named[part] for part in LETTER) if set(named) == set(LETTER) and masks else ()

    @property
    def required_masks(self) -> tuple[str, ...]:
        """The masks and lengths among what is required."""
        return tuple(filter(hides, self.required[1:]))

    @property
    def further(self) -> tuple[str, ...]:
        """The arguments besides the tokens that may keep a default, or be None."""
        return (*self.required[3:], *self.optional) if self.tokens else self.optional

    @property
    def masks(self) -> tuple[str, ...]:
        """The optional arguments that could hide the future."""
        return tuple(name for name in self.further if MASK.search(name))


def signature(function: Callable[..., Any], skipped: int = 0) -> Call | None:
    """How `function` is called, but for so many of its first arguments; None where it does not say."""
    try:
        parameters = parameters_of(function)[skipped:]
    except (TypeError, ValueError):
        return None
    open_ended = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    closed = [p for p in parameters if p.kind not in open_ended]
    return Call(
        tuple(p.name for p in closed if p.default is Parameter.empty),
        tuple(p.name for p in closed if p.default is not Parameter.empty),
    )


def of_forward(module: nn.Module) -> Call | None:
    """How the forward of a module is called: a mask or a value that is made for it counts as one with a
    default, a context that is made for it as required, zeros and the starts of documents as nothing.
    """
    call, own = signature(module.forward), own_context(module)
    told = (*masks_of(module), *values_of(module))
    if call is None:
        return None
    made = (*zeros_of(module), *documents_of(module), own)
    optional = tuple(n for n in (*told, *call.optional) if n not in made)
    required = tuple(n for n in call.required if n not in (*told, *made))
    return Call((*required[:1], own, *required[1:]) if own else required, optional)


def forward_of(
    module: nn.Module, owner: str, target: Any = None, settings: Settings = NO_SETTINGS
) -> Call:
    """How the module's forward is called; QuestionError if one input is not enough.

    target: the class or factory called `owner`, and settings: what its arguments hold, for the way out.
    """
    inner = inside(module)
    call, made = of_forward(inner), handed_to(inner)
    if call is None:
        return Call((), ())
    call = Call(
        *(tuple(n for n in names if n not in made) for names in (call.required, call.optional))
    )
    if len(call.required) > 1 and not call.context and not call.tokens:
        raise needs_more(owner, call, target, settings)
    return call


@dataclass(frozen=True)
class OwnContext:
    """A hook before forward: x is its own context where no other is given."""

    name: str

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with a context."""
        alone = len(given) == 1 and self.name not in named
        return given, ({**named, self.name: given[0]} if alone else named)


def on_x_alone(module: nn.Module, heads: int, axes: str) -> nn.Module:
    """A module whose forward requires a context, or keys and values, so that it can be called on x alone.

    heads, axes: see `OnItself`.
    """
    call = of_forward(module)
    if call is not None and call.tokens:
        return OnItself(module, call.tokens, call.required[3:], heads, axes)
    if call is None or not call.context or own_context(module):
        return module
    return given_itself(module, call.context)


def given_itself(module: nn.Module, name: str) -> nn.Module:
    """The module, called with x as its argument of this name where no other is given."""
    module.register_forward_pre_hook(OwnContext(name), with_kwargs=True)
    return module


def own_context(module: nn.Module) -> str:
    """The argument by which a module is given x as its context; "" for none."""
    hooks = module._forward_pre_hooks.values()
    return next((hook.name for hook in hooks if isinstance(hook, OwnContext)), "")


def inside(module: nn.Module) -> nn.Module:
    """The module itself, where it is called on x alone by ours."""
    return module.inner if isinstance(module, OnItself) else module


def context_of(call: Call | None) -> str:
    """The argument for a context, required or not, beside the tokens; "" where there is none."""
    names = () if call is None else (*call.required, *call.optional)[1:]
    return next((name for name in names if role(name) == "context"), "")


def causal_flag(module: nn.Module) -> Parameter | None:
    """The argument of forward that is True or False and tells whether the future is hidden; None where
    there is none. One that is called so and may be a mask is none.
    """
    try:
        parameters = parameters_of(inside(module).forward)[1:]
    except (TypeError, ValueError):
        return None
    named = next((p for p in parameters if role(p.name) == "causal"), None)
    if named is None or named.name in values_of(inside(module)):
        return named
    is_flag = isinstance(named.default, bool) or "bool" in str(named.annotation)
    return named if is_flag else None


def takes_context(target: Any) -> bool:
    """Whether the forward of a class takes a context."""
    call = signature(getattr(target, "forward", target), skipped=1)
    return hasattr(target, "forward") and bool(context_of(call))


def unasked(names: Iterable[str], given: str = "it keeps its default") -> dict[str, str]:
    """The arguments with a meaning of these, each with that meaning; given: what all of them are told."""
    known = {name: meaning(name) for name in names}
    return {name: f"{text}: {given}" for name, text in known.items() if text}


def unknown(names: Iterable[str]) -> dict[str, str]:
    """The arguments of a call of which nobody knows what they do: whatever it is, nobody has tried it."""
    strange = (n for n in names if not (meaning(n) or role(n) or argument_role(n)))
    return {name: UNKNOWN for name in strange if not IDLE.fullmatch(name)}


def unasked_of_forward(
    call: Call, masks: GivenMasks | None, values: GivenValues | None
) -> dict[str, str]:
    """The same of a forward; masks, values: those that are made for what it requires."""
    blank = call.required[3:] if call.tokens else ()
    made = unasked(masks.names, words(masks)) if masks else {}
    told = words_of_values(values) if values else {}
    for name, text in told.items():
        made |= unasked([name], text)
    strange = unknown(name for name in call.further if name not in made)
    drops = [name for name in call.further if argument_role(name) == "dropout"]
    strange |= dict.fromkeys(drops, "dropout that a call is told: it keeps its default")
    return strange | unasked(call.further) | unasked(blank, "it is None") | made


# The causal mask, true for what is hidden, as a module of one's own would make it.
FUTURE = "torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)"
NONE_HID = "true for what is hidden (none that was tried hid the future)", FUTURE


def needs_more(owner: str, call: Call, target: Any, settings: Settings) -> QuestionError:
    """The refusal of a forward that wants more than x."""
    given = ["x", *(made_of_x(name) for name in call.required[1:])]
    blank = [name for name, value in zip(call.required, given, strict=True) if value == "..."]
    tried = call.context and (
        f" No trial showed that queries are made of {call.required[0]} alone, keys and values of "
        f"{call.context} alone."
    )
    return messages.refusal(
        f"{owner} needs {len(call.required)} inputs: forward({', '.join(call.required)}).{tried}",
        "forward(x) with x (B, T, d_in); everything else made inside",
        "name a module or an adapter that makes the others from x:",
        messages.shell(owner, target, ", ".join(given), settings, blank),
    )


def made_of_x(name: str) -> str:
    """What an input of forward is in attention of a sequence to itself."""
    if MASK.search(name):
        return FUTURE
    return "x" if parameter_role(name) in LETTER else "..."


def needs_mask(
    owner: str,
    call: Call,
    target: Any,
    other: str,
    settings: Settings,
    hiding: tuple[str, str, str] | None,
) -> QuestionError:
    """The refusal of a forward that hides the future only if it is handed a mask.

    other: the family that does not hide it; hiding: the argument, what it says in words, and its code.
    """
    name, words, mask = hiding or (call.masks[0], *NONE_HID)
    tokens = ", ".join(["x"] * max(1, len(call.tokens)))
    return messages.refusal(
        f"{owner} hides the future only if forward is given {' or '.join(call.masks)}: "
        "called with x alone, it does not.",
        f"forward(x) that hides the future itself (--family {other} asks for none of that, and about "
        "masks)",
        f"name a module that passes {name}, here {words}:",
        messages.shell(owner, target, f"{tokens}, {name}={mask}", settings),
    )
