"""Attention of the pixels of an image, asked on an image that is one pixel wide: its pixels are tokens; and
that of sound, whose channels stand before its tokens.

Legend: B batch, T tokens, C width.
"""

from __future__ import annotations

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
POOLING = nn.modules.pooling


@dataclass
class AsImage:
    """Hooks by which a module that takes images is called with tokens (B, T, C), and gives such.

    form: `SOUND` or one of `FORMS`; tokens: whether the call that goes on is one with tokens. One
    call at a time. Scripts contain it as it is.
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
        rows = given[0].mT if self.channels_first else given[0]
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
        return rows.mT if self.channels_first else rows

    @property
    def single(self) -> list[int]:
        """The axes that are one long, in order."""
        return [axis for axis, name in enumerate(self.form.split()) if name == "1"]

    @property
    def channels_first(self) -> bool:
        """Whether numbers of a token stand before tokens."""
        return self.form.index("C") < self.form.index("T")


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


def with_form(told: Arguments, form: str) -> Arguments:
    """What is told: of an image that its other axis is not asked about, of sound how it is handed over."""
    if form == SOUND:
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
