"""The parameters of another library's module as those of a torch module, under the same names.

Layers that map the last axis are linear layers of torch's; all else is a parameter by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.recognition.adapters.spellings import parameter_role

MATRICES = {"kernel": False, "weight": True}
"""What a layer's matrix is called, and whether it is kept as (out, in)."""


@dataclass(frozen=True)
class Leaf:
    """One parameter. ours: where it lies in the torch module; turned: whether it is the transpose of that;
    shape: its own.
    """

    ours: str
    turned: bool
    shape: tuple[int, ...]

    def read(self, module: nn.Module) -> Tensor:
        """What the torch module holds, in the library's shape."""
        own = module.get_parameter(self.ours)
        return (own.T if self.turned else own).reshape(self.shape)


def lay(module: nn.Module, parameters: Mapping[str, Any]) -> list[Leaf]:
    """Put parameters into a torch module, in layers of these names; where each of them lies."""
    tensors = {p: torch.tensor(np.asarray(part, np.float32)) for p, part in parameters.items()}
    return [laid(module, path, tensors) for path in tensors]


def laid(module: nn.Module, path: str, tensors: Mapping[str, Tensor]) -> Leaf:
    """One of them."""
    layer, _, name = path.rpartition(".")
    matrix = next((m for m in MATRICES if is_matrix(tensors.get(f"{layer}.{m}"))), "")
    own = tensors[path]
    if name == matrix:
        flat, turned = flattened(own, layer, tensors), not MATRICES[matrix]
        weight = flat.T.contiguous() if turned else flat
        linear(module, layer, weight.shape).weight = nn.Parameter(weight)
        return Leaf(f"{layer}.weight", turned, own.shape)
    if name == "bias" and matrix:
        flat = flattened(tensors[f"{layer}.{matrix}"], layer, tensors)
        shape = flat.shape if MATRICES[matrix] else flat.T.shape
        linear(module, layer, shape).bias = nn.Parameter(own.flatten())
        return Leaf(path, False, own.shape)
    inside(module, layer).register_parameter(name, nn.Parameter(own))
    return Leaf(path, False, own.shape)


def is_matrix(tensor: Tensor | None) -> bool:
    """Whether it maps one axis to others."""
    return tensor is not None and tensor.ndim > 1


def linear(module: nn.Module, path: str, shape: torch.Size) -> nn.Linear:
    """The linear layer of this path, made if it is not there; shape: (out, in)."""
    parent, _, name = path.rpartition(".")
    holder = inside(module, parent)
    if name not in holder._modules:
        holder.add_module(name, nn.Linear(shape[1], shape[0], bias=False))
    found = holder.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def flattened(tensor: Tensor, path: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """A matrix; of one with heads, (d_in, H, D), or (H, D, d_out) behind them, as its name says; where that
    says nothing, as its bias does, or without one those of its shape that is square.
    """
    if tensor.ndim == 2:
        return tensor
    role, bias = parameter_role(path.rpartition(".")[2]), tensors.get(f"{path}.bias")
    front, back = tensor.flatten(1), tensor.flatten(0, -2)
    if role is not None:
        behind = role in ("out", "projection")
    elif bias is not None:
        behind = bias.ndim == 1
    else:
        behind = len(set(back.shape)) == 1 and len(set(front.shape)) > 1
    return back if behind else front


def inside(module: nn.Module, path: str) -> nn.Module:
    """The part of this path, made if it is not there; a list where its parts are numbered."""
    names = path.split(".") if path else []
    for name, below in zip(names, [*names, ""][1:], strict=True):
        if name not in module._modules:
            module.add_module(name, nn.ModuleList() if below.isdigit() else nn.Module())
        module = module.get_submodule(name)
    return module
