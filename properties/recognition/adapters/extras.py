"""Parameters that attention as defined has not, and the field has: sinks, gates, relative positions, the
speeds of rotary angles; and the slopes of ALiBi, which are parameters, buffers or plain tensors. They are
filled so that nothing of them is left, and told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from properties.recognition.adapters import trials
from properties.recognition.adapters.spellings import MIXING
from properties.subjects.restored import by_head
from properties.truth import visibility

IDENTITY = "identity"
KINDS: Mapping[str, float | str | None] = {
    r"(^|[._])sinks?($|[._])": -math.inf,
    r"(^|[._])rel(ative)?_?(pos|emb|k|v|att|bias|\b)": 0.0,
    r"(^|[._])((q|k|query|key)_)?pos(ition(al)?)?_?(emb|bias)": 0.0,
    r"(^|[._])(\w*slopes?|alibi\w*)($|[._])": 0.0,
    r"(^|[._])(theta|inv_?freqs?|freqs?|timescales?)($|[._])": None,
    MIXING: IDENTITY,
    r"(^|[._])(gat(e|ing)|temperature|scale|gamma|lambda|alpha|beta)\w*($|[._])": None,
}
"""A regular expression for a part of the name, and the number at which such a parameter has no effect, or
IDENTITY for a matrix of heads by heads; None: only what it is initialised with may have none.
"""
WORDS: Mapping[float | str | None, str] = {
    None: "it is as initialised",
    0.0: "it is zero",
    -math.inf: "it is minus infinity",
    IDENTITY: "it is the identity",
}
SLOPES = next(iter(re.compile(kind) for kind in KINDS if "alibi" in kind))
PLACES = re.compile("|".join(k for k, number in KINDS.items() if number == 0.0), re.IGNORECASE)
SINKS = next(kind for kind in KINDS if "sinks" in kind)
LAYERS = (nn.Linear, nn.Conv2d)  # that may mix heads; a bias before a softmax has no effect
MASKING = 1e4  # what is as large hides a key, and stays
Fills = Mapping[str, float | str | None]


def fill(module: nn.Module, fills: Fills) -> None:
    """Fill the tensors of these names; None leaves one as it is."""
    with torch.no_grad():
        for name, number in fills.items():
            if number is None:
                continue
            tensor = tensor_of(module, name)
            if isinstance(number, str):
                tensor.copy_(identity(tensor.shape))
            elif kind_of(name) == SINKS:  # anything may be in it, where it is not initialised
                tensor.copy_(
                    torch.from_numpy(by_head(number, tensor.numel())).reshape(tensor.shape)
                )
            else:
                tensor.masked_fill_(tensor.abs() < MASKING, number)


def identity(shape: torch.Size) -> Tensor:
    """The identity of heads by heads, before the window of a convolution or after other axes."""
    if len(shape) == 4 and shape[-2:] == (1, 1):
        return torch.eye(*shape[:2])[:, :, None, None]
    return torch.eye(*shape[-2:]).expand(shape)


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """A parameter, a buffer or a plain tensor by its path."""
    path, _, last = name.rpartition(".")
    tensor = getattr(module.get_submodule(path), last)
    assert isinstance(tensor, Tensor)
    return tensor


def slopes_in(module: nn.Module) -> list[str]:
    """The paths of buffers and plain tensors that are called like the slopes of ALiBi, or like it, or hold
    those that were published.
    """
    found = {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in [*part._buffers.items(), *vars(part).items()]
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    return [
        name
        for name, value in found.items()
        if SLOPES.search(name.rpartition(".")[2].lower()) or published(value)
    ]


def published(tensor: Tensor) -> bool:
    """Whether a tensor holds the slopes of ALiBi for two heads or more, by either sign, alone."""
    heads = tensor.numel()
    if heads not in tensor.shape or heads < 2:
        return False
    held = tensor.detach().flatten().abs().double().numpy()
    return bool(np.allclose(held, visibility.slopes(heads), rtol=1e-2))


def mixing(module: nn.Module, heads: int) -> Fills:
    """What to fill layers with that lead from heads to heads, whatever they are called."""
    fills: dict[str, float | str | None] = {}
    for path, part in module.named_modules():
        weight = getattr(part, "weight", None) if isinstance(part, LAYERS) else None
        if isinstance(weight, Tensor) and tuple(weight.shape) in (
            (heads, heads),
            (heads, heads, 1, 1),
        ):
            fills[f"{path}.weight"] = IDENTITY
            fills[f"{path}.bias"] = 0.0
    return fills


def without_effect(
    names: list[str],
    mixed: Fills,
    build: Callable[[Fills], nn.Module],
    right: Callable[[nn.Module], bool],
    output: Callable[[nn.Module], Tensor | None],
) -> Fills:
    """What to fill the tensors of these names with; nothing where one of them is of no known kind, or
    takes no part. As they are initialised, where a module is right so.

    mixed: as `mixing`, or what else is known of some; build: a module with such parameters; right, output:
    whether it is, and what it gives.
    """
    known = {
        n: mixed[n] if n in mixed else KINDS[kind_of(n)] for n in names if n in mixed or kind_of(n)
    }
    if not names or len(known) < len(names):
        return {}
    kept: Fills = dict.fromkeys(names)
    fills = kept if right(build(kept)) else known
    if fills != kept and None in fills.values():
        return {}
    telling = (name for name in names if not name.endswith(".bias") or name not in mixed)
    parts = (takes_part(name, lambda: build(fills), output) for name in telling)
    return fills if all(parts) else {}


def kind_of(name: str) -> str:
    """The key of `KINDS` for a parameter, "" for none."""
    return next((kind for kind in KINDS if re.search(kind, name, re.IGNORECASE)), "")


def takes_part(
    name: str, build: Callable[[], nn.Module], output: Callable[[nn.Module], Tensor | None]
) -> bool:
    """Whether a module gives something else with general numbers in a parameter."""
    before, module = output(build()), build()
    with torch.no_grad():
        parameter = tensor_of(module, name)
        numbers = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        parameter.copy_(2.0 + numbers)
    after = output(module)
    return before is not None and after is not None and not trials.same(before, after)
