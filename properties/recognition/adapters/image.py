"""Attention of the pixels of an image, asked on an image that is one pixel wide: its pixels are tokens.
That of sound, whose channels stand before its tokens, and that of tokens that stand before items.

Legend: B batch, T tokens, C width.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from properties.recognition.adapters import calls, trials
from properties.subjects.subject import Config

if TYPE_CHECKING:
    from properties.recognition.adapters.arguments import Arguments
    from properties.recognition.adapters.blueprint import Blueprint

FORMS = ("B C T 1", "B T 1 C", "B 1 T C", "B C 1 T 1", "B 1 T 1 C")
"""The axes of an image, or of a video of one image, as a forward may want them."""
SOUND = "B C T"  # as convolutions along the tokens want it
TOKENS_FIRST = "T B C"
SAID = re.compile(
    r"\b(T|L|S|time|\w*seq\w*|\w*len|\w*length|\w*tokens)\s*,\s*(B|N|bs|bsz|batch\w*|n_batch)\s*,",
    re.IGNORECASE,
)
"""How code or a docstring says that: tgt_len, bsz, embed_dim = x.shape."""
POOLING = nn.modules.pooling


@dataclass
class AsImage:
    """Hooks by which a module that takes images is called with tokens (B, T, C), and gives such.

    form: `SOUND`, `TOKENS_FIRST` or one of `FORMS`; tokens: whether the call that goes on is one with
    tokens. One call at a time. Scripts contain it as it is.
    """

    form: str
    tokens: bool = False

    def enter(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """An image in place of the tokens."""
        self.tokens = len(given) == 1 and isinstance(given[0], Tensor) and given[0].ndim == 3
        if not self.tokens:
            return given, named
        rows = self.turned(given[0])
        for axis in self.single:
            rows = rows.unsqueeze(axis)
        return (rows.contiguous(),), named

    def leave(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        """Tokens in place of the image."""
        ours = self.tokens and isinstance(output, Tensor)
        if not ours or output.ndim != 3 + len(self.single):
            return output
        rows = output
        for axis in reversed(self.single):
            rows = rows.squeeze(axis)
        return self.turned(rows)

    def turned(self, rows: Tensor) -> Tensor:
        """(B, T, C) with its axes in the order of the form, and back."""
        if self.form.startswith("T"):
            return rows.transpose(0, 1)
        return rows.mT if self.form.index("C") < self.form.index("T") else rows

    @property
    def single(self) -> list[int]:
        """The axes that are one long, in order."""
        return [axis for axis, name in enumerate(self.form.split()) if name == "1"]


def as_image(module: nn.Module, form: str) -> nn.Module:
    """The module, given an image of this form for tokens. Scripts contain this as it is."""
    hooks = AsImage(form)
    module.register_forward_pre_hook(hooks.enter, with_kwargs=True)
    module.register_forward_hook(hooks.leave)
    return module


def of_tokens(module: nn.Module, value: Any) -> Any:
    """Of a call that goes on, the tokens that an image stands for; any other value as it is."""
    hooks = (getattr(hook, "__self__", None) for hook in module._forward_hooks.values())
    made = next((hook for hook in hooks if isinstance(hook, AsImage)), None)
    return value if made is None else made.leave(module, (), value)


def with_image(blueprint: Blueprint, module: nn.Module, heads: int) -> tuple[Blueprint, nn.Module]:
    """The same, or given an image, where it raises on tokens and the pixels of an image see each other."""
    call = calls.of_forward(module)
    sizes = blueprint.sizes(heads)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    alone = call is not None and len(call.required) == 1
    if (
        not alone
        or sees_around(module)
        or any(not trials.run(module, t).failure for t in (x, x[0]))
    ):
        return blueprint, module
    convolves = any(isinstance(part, nn.Conv1d) for part in module.modules())
    for form in (SOUND,) if convolves else FORMS:
        other = replace(blueprint, arguments=with_form(blueprint.arguments, form), image=form)
        made = other.attempt(Config(sizes), None)
        if mixes(made, x):
            return other, other.attempt(Config(sizes), None)
    return blueprint, module


def with_tokens_first(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or given tokens before items, where its code or documentation says so and a trial agrees:
    no token of (B, T, C) changes another, and of (T, B, C) one does.
    """
    sizes, call = blueprint.sizes(heads), calls.of_forward(module)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    alone = call is not None and len(call.required) == 1
    if not alone or blueprint.arguments.has("batch_first") or not SAID.search(said_of(module)):
        return blueprint, module
    told = with_form(blueprint.arguments, TOKENS_FIRST)
    other = replace(blueprint, arguments=told, image=TOKENS_FIRST)
    if mixes(module, x) or not mixes(other.attempt(Config(sizes), None), x):
        return blueprint, module
    return other, other.attempt(Config(sizes), None)


def said_of(module: nn.Module) -> str:
    """The code of forward, and what is written about the class; "" where there is none to read."""
    try:
        return f"{inspect.getsource(type(module).forward)}\n{type(module).__doc__}"
    except (OSError, TypeError):
        return ""


def with_form(told: Arguments, form: str) -> Arguments:
    """What is told: of an image that its other axis is not asked about, else how x is handed over."""
    if form in (SOUND, TOKENS_FIRST):
        return replace(told, notes=(*told.notes, f"x is handed over as ({form})"))
    text = f"the axes of an image: it is one pixel wide, ({form})"
    return replace(told, unasked={**told.unasked, "image": text})


def sees_around(module: nn.Module) -> bool:
    """Whether a layer of a module mixes neighbours in an image, which attention as defined does not."""
    for part in module.modules():
        wide = isinstance(part, nn.modules.conv._ConvNd) and set(part.kernel_size) != {1}
        if wide or type(part).__module__ == POOLING.__name__ or isinstance(part, nn.Upsample):
            return True
    return False


def mixes(module: nn.Module, x: Tensor) -> bool:
    """Whether a module gives rows for tokens (B, T, C), of which the last changes with the first token."""
    other = x.clone()
    other[:, 0] += 1.0
    before, after = trials.run(module, x).output, trials.run(module, other).output
    if before is None or after is None or before.shape[:-1] != x.shape[:-1]:
        return False
    return not trials.same(before[:, -1], after[:, -1])
