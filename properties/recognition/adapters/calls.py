"""How a module or function is called: with one input, and perhaps with more than that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from torch import nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import messages
from properties.recognition.adapters.messages import NO_SETTINGS, Settings
from properties.recognition.adapters.spellings import LETTER, MASK, meaning, parameter_role
from properties.recognition.asking.on_itself import OnItself
from properties.recognition.asking.roles import role
from properties.recognition.signatures import parameters_of
from properties.recognition.turning.handed import handed_to

MAY_BE_NONE = re.compile(r"\b(None|Optional)\b")


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

        What is required beyond them has to be a mask, which is none if it is None.
        """
        first, rest = self.required[:3], self.required[3:]
        named = tuple(map(parameter_role, first)) == tuple(LETTER)
        masks = all(role(name) in ("mask", "padding") for name in rest)
        return first if named and masks else ()

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


def optional_masks(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The required arguments that are masks and may be None, as their annotation says."""
    try:
        parameters = parameters_of(forward)
    except (TypeError, ValueError):
        return ()
    return tuple(
        p.name
        for p in parameters
        if p.default is Parameter.empty
        and role(p.name) in ("mask", "padding")
        and MAY_BE_NONE.search(str(p.annotation))
    )


def of_forward(forward: Callable[..., Any]) -> Call | None:
    """`signature`, with the masks that may be None among what has a default: `on_x_alone` gives them."""
    call, masks = signature(forward), optional_masks(forward)
    if call is None or not masks:
        return call
    return Call(tuple(n for n in call.required if n not in masks), (*masks, *call.optional))


def forward_of(
    module: nn.Module, owner: str, target: Any = None, settings: Settings = NO_SETTINGS
) -> Call:
    """How the module's forward is called; QuestionError if one input is not enough.

    target: the class or factory called `owner`, and settings: what its arguments hold, for the way out.
    """
    inner = inside(module)
    call, made = of_forward(inner.forward), handed_to(inner)
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


@dataclass(frozen=True)
class WithoutMasks:
    """A hook before forward: required masks are None where none is given."""

    names: tuple[str, ...]

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these masks."""
        bound = inspect.signature(module.forward).bind_partial(*given, **named).arguments
        return given, named | dict.fromkeys(n for n in self.names if n not in bound)


def on_x_alone(module: nn.Module, heads: int, sequence_first: bool) -> nn.Module:
    """A module whose forward requires a context, or keys and values, so that it can be called on x alone.

    heads, sequence_first: see `OnItself`.
    """
    call, masks = of_forward(module.forward), optional_masks(module.forward)
    if masks:
        module.register_forward_pre_hook(WithoutMasks(masks), with_kwargs=True)
    if call is not None and call.tokens:
        return OnItself(module, call.tokens, call.required[3:], heads, sequence_first)
    return module if call is None or not call.context else given_itself(module, call.context)


def given_itself(module: nn.Module, name: str) -> nn.Module:
    """The module, called with x as its argument of this name where no other is given."""
    module.register_forward_pre_hook(OwnContext(name), with_kwargs=True)
    return module


def inside(module: nn.Module) -> nn.Module:
    """The module itself, where it is called on x alone by ours."""
    return module.inner if isinstance(module, OnItself) else module


def takes_context(target: Any) -> bool:
    """Whether the forward of a class takes a context."""
    call = signature(getattr(target, "forward", target))
    names = () if call is None else (*call.required, *call.optional)
    return hasattr(target, "forward") and any(role(name) == "context" for name in names)


def unasked(names: Iterable[str]) -> dict[str, str]:
    """The arguments with a meaning of those that keep their defaults, each with that meaning."""
    known = {name: meaning(name) for name in names}
    return {name: f"{text}: it keeps its default" for name, text in known.items() if text}


# The causal mask, as a module of one's own would make it.
FUTURE = "torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)"


def needs_more(owner: str, call: Call, target: Any, settings: Settings) -> QuestionError:
    """The refusal of a forward that wants more than x."""
    given = ["x", *(made_of_x(name) for name in call.required[1:])]
    blank = [name for name, value in zip(call.required, given, strict=True) if value == "..."]
    return messages.refusal(
        f"{owner} needs {len(call.required)} inputs: forward({', '.join(call.required)}).",
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
    masks: tuple[str, ...],
    target: Any,
    other: str,
    settings: Settings = NO_SETTINGS,
) -> QuestionError:
    """The refusal of a forward that hides the future only if it is handed a mask.

    other: the family that does not hide it.
    """
    return messages.refusal(
        f"{owner} hides the future only if forward is given {' or '.join(masks)}: "
        "called with x alone, it does not.",
        f"forward(x) that hides the future itself (--family {other} asks for none of that)",
        f"name a module that passes {masks[0]}, here true for what is hidden:",
        messages.shell(owner, target, f"x, {masks[0]}={FUTURE}", settings),
    )
