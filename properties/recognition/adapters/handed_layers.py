"""Constructors that are handed the layers for queries, keys, values and the output, as torchtune's is."""

from __future__ import annotations

import re
from inspect import Parameter

from torch import nn

from properties.recognition.adapters.spellings import fused_order, parameter_role
from properties.truth.parameters import Sizes

ROLES = {
    "query": "the layer for queries",
    "key": "the layer for keys",
    "value": "the layer for values",
    "out": "the output's layer",
}
FUSED = "the layer for queries, keys and values"
BIASED = (ROLES["query"], FUSED)  # those of which some may have a bias
ANNOTATION = re.compile(r"Module|Linear|Callable")
CALLED = re.compile(r"(proj(ection)?|linear|layer|dense|fc)$", re.IGNORECASE)


def layer_role(parameter: Parameter) -> str | None:
    """Which layer an argument without a default is: it is called so, or annotated as a module and named
    after queries, keys, values, all three in this order, or the output.
    """
    name, annotation = parameter.name, parameter.annotation
    typed = annotation is not Parameter.empty
    if not (ANNOTATION.search(str(annotation)) if typed else CALLED.search(name)):
        return None
    if fused_order(name) == "qkv":
        return FUSED
    role = parameter_role(name)
    return ROLES.get("out" if role == "projection" else role or "")


def made(role: str, sizes: Sizes, bias: bool) -> nn.Module:
    """A new linear layer for a role; bias: of queries, keys and values, that of the output has one."""
    if role == FUSED:
        return nn.Linear(sizes.d_in, sizes.width + 2 * sizes.key_width, bias=bias)
    of = next(of for of, named in ROLES.items() if named == role)
    return nn.Linear(sizes.d_in_of(of), sizes.width_of(of), bias=bias or of == "out")
