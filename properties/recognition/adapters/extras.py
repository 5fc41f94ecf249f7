"""Parameters that attention as defined has not, and the field has: sinks, gates, relative positions. They
are filled so that nothing of them is left, and told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

EXTRA = re.compile(
    r"sink|gate|gating|rel(ative)?_?(pos|emb|k|v|att|bias|\b)|temperature|"
    r"(^|[._])(scale|gamma|lambda|alpha|beta|slopes?)\w*($|[._])",
    re.IGNORECASE,
)
FILLS: Mapping[str, float | None] = {
    "it is as initialised": None,
    "it is zero": 0.0,
    "it is one": 1.0,
    "it is minus infinity": -math.inf,
}
"""What such a parameter is filled with, in words."""
Fills = Mapping[str, float | None]


def fill(module: nn.Module, fills: Fills) -> None:
    """Fill the parameters of these names; None leaves one as it is."""
    with torch.no_grad():
        for name, number in fills.items():
            if number is not None:
                module.get_parameter(name).fill_(number)


def without_effect(
    names: list[str], build: Callable[[Fills], nn.Module], right: Callable[[nn.Module], bool]
) -> tuple[Fills, str]:
    """What to fill the parameters of these names with, so that a module is right, and in words; nothing
    where one of them is of no known kind, takes no part, or does harm however it is filled.
    """
    if not names or not all(map(EXTRA.search, names)):
        return {}, ""
    for words, number in FILLS.items():
        fills = dict.fromkeys(names, number)
        if right(build(fills)):
            return (
                (fills, words)
                if all(takes_part(name, build(fills), right) for name in names)
                else ({}, "")
            )
    return {}, ""


def takes_part(name: str, module: nn.Module, right: Callable[[nn.Module], bool]) -> bool:
    """Whether a module is no longer right with general numbers in a parameter."""
    with torch.no_grad():
        parameter = module.get_parameter(name)
        parameter.copy_(general(parameter))
    return not right(module)


def general(like: Tensor) -> Tensor:
    """Numbers of this shape, none of them special."""
    numbers = torch.randn(like.shape, generator=torch.Generator().manual_seed(1))
    return 2.0 + numbers.to(like.dtype)
