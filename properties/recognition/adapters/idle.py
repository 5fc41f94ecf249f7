"""Parameters of which nothing is left where forward is given x alone, and which matter where it is given
one input more: what mixes the values of an earlier layer in, for one. They are left as they are, and told.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from properties.recognition.adapters import calls, extras, trials
from properties.recognition.signatures import parameters_of
from properties.truth.parameters import Sizes

WORDS = "a parameter that matters only where forward is given {}, which is not asked about"


def waiting_for(
    names: Iterable[str], build: Callable[[], nn.Module], x: Tensor, sizes: Sizes
) -> dict[str, str]:
    """The parameters of these names that matter only beside x, each with the argument of forward."""
    optional = left_out(build())
    found: dict[str, str] = {}
    for name in names if optional else ():
        if matters(name, build(), x, {}):
            continue
        given = ((key, value) for key in optional for value in inputs(x, sizes))
        beside = (key for key, value in given if matters(name, build(), x, {key: value}))
        if argument := next(beside, ""):
            found[name] = argument
    return found


def left_out(module: nn.Module) -> list[str]:
    """The arguments of a forward that are None where nothing is given, by name."""
    call = calls.of_forward(module)
    if call is None:
        return []
    none = {p.name for p in parameters_of(module.forward) if p.default is None}
    return [name for name in call.optional if name in none]


def inputs(x: Tensor, sizes: Sizes) -> Iterator[Tensor]:
    """What an earlier layer may hand over: tokens, or their heads, in either order of axes."""
    yield trials.random_input(*x.shape, seed=1)
    for heads in dict.fromkeys((sizes.heads, sizes.key_heads)):
        values = trials.random_input(sizes.batch, sizes.tokens, heads, sizes.head_dim, seed=1)
        yield values
        yield values.transpose(1, 2)


def matters(name: str, module: nn.Module, x: Tensor, more: dict[str, Tensor]) -> bool:
    """Whether a module that gives the same twice gives something else with other numbers in a parameter."""

    def output() -> Tensor | None:
        return trials.call(lambda tokens: module.eval()(tokens, **more), x).output

    before, again = output(), output()
    with torch.no_grad():
        extras.tensor_of(module, name).add_(1.0)
    after = output()
    if before is None or again is None or after is None or not trials.same(before, again):
        return False
    return not trials.same(before, after)
