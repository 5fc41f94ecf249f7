"""A forward that returns weights or other things before its output: the output is put first.

Legend: B batch, T tokens, W width of the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from properties.recognition.adapters import trials
from properties.recognition.asking.on_itself import OnItself
from properties.subjects.instance import in_eval
from properties.truth.parameters import Sizes


@dataclass(frozen=True)
class OutputFirst:
    """A hook after forward: of several things that are returned the output comes first. Scripts contain it
    as it is.
    """

    place: int

    def __call__(self, module: nn.Module, inputs: Any, returned: Any) -> Any:
        """A tuple of what a tuple or list holds, of the values of a mapping, of the fields of an object."""
        if isinstance(returned, Tensor):
            return returned
        if not isinstance(returned, tuple | list):
            returned = returned.values() if hasattr(returned, "values") else vars(returned).values()
        parts = list(returned)
        return (parts.pop(self.place), *parts)


def output_first(module: nn.Module, place: int) -> nn.Module:
    """The module, of whose results the one at this place comes first."""
    module.register_forward_hook(OutputFirst(place))
    return module


def place_of_output(module: nn.Module, sizes: Sizes) -> int:
    """Where the output stands among what forward returns: the first tensor with a row for each token, as
    wide for more of them, which weights (B, T, T) are not; 0 where there is none.
    """
    tokens = trials.random_input(sizes.batch, sizes.tokens + 1, sizes.d_in)
    widths = [rows(module, x) for x in (tokens, tokens[:, :-1])]
    both = zip(*widths, strict=False)
    return next((n for n, pair in enumerate(both) if pair[0] == pair[1] > 0), 0)


def rows(module: nn.Module, x: Tensor) -> list[int]:
    """Of each thing that forward returns the width, if it is (B, T, W); else 0."""
    if isinstance(module, OnItself):  # which gives the first of what is returned alone
        in_eval(module)
        trial = trials.call(module.told, x)
    else:
        trial = trials.run(module, x)
    return [
        part.shape[-1] if isinstance(part, Tensor) and part.shape[:-1] == x.shape[:-1] else 0
        for part in trial.returned
    ]
