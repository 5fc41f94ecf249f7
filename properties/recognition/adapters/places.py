"""Tables of learned places or distances, whatever they are called: the more tokens a call has, the more of
their numbers are read.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from properties.recognition.adapters import extras, trials
from properties.subjects.instance import in_eval

FEW = 2  # tokens: with one, a softmax hides every number that is added to its only score


def tables(names: Iterable[str], build: Callable[[], nn.Module], x: Tensor) -> list[str]:
    """The parameters of these names of which a call on x, (B, T, d_in), reads more numbers than a call on
    its first tokens. build: a new module of ordinary weights.
    """
    return [n for n in names if 0 < read(n, build(), x[:, :FEW]) < read(n, build(), x)]


def read(name: str, module: nn.Module, x: Tensor) -> int:
    """How many numbers of a parameter have a part in the output; 0 where there is no output or gradient."""
    parameter = extras.tensor_of(module, name)
    output = trials.call(in_eval(module), x, gradients=True).tensor
    if output is None or not (output.requires_grad and parameter.requires_grad):
        return 0
    (slopes,) = torch.autograd.grad(output.square().sum(), [parameter], allow_unused=True)
    return 0 if slopes is None else int((slopes != 0).sum())
