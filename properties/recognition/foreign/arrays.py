"""What the suite needs of another library's arrays: there and back, and perhaps derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

Function = Callable[..., Sequence[Any]]  # of arrays alone, to some arrays


class Arrays(ABC):
    """One kind of array. name: as its users write it; roots: the packages whose arrays, annotations and
    functions are of this kind; compiled: whether a call is compiled anew for each shape; widens:
    whether a number among arrays may widen them; derives: whether there are derivatives; draws: whether
    dropout is drawn from a seed that torch's generator gives.
    """

    name: str
    roots: frozenset[str]
    compiled: bool = False
    widens: bool = False
    derives: bool = True
    draws: bool = False

    @abstractmethod
    def array(self, tensor: Tensor) -> Any:
        """An array with the numbers of a tensor; TypeError where there is no such format."""

    def tensor(self, array: Any) -> Tensor:
        """A tensor with the numbers of an array."""
        return to_torch(np.asarray(array))

    def within(self) -> AbstractContextManager[Any]:
        """What a call is made in."""
        return nullcontext()

    def prepared(self, function: Function) -> Function:
        """The function as it is called many times over."""
        return function

    def pulled(self, function: Function, inputs: int) -> Function | None:
        """The function (*inputs, *upstream) -> the derivatives of sum(upstream * function(*inputs)) by
        each input of floating-point numbers; None where the library has none.
        """
        return None

    def inexact(self) -> Mapping[str, str]:
        """The formats in which the library's own functions have fewer digits, each with a reason."""
        return {}

    def is_array(self, value: Any) -> bool:
        """Whether a value is one of its arrays: a single number is, too."""
        return (
            hasattr(value, "shape") and hasattr(value, "dtype") and root(type(value)) in self.roots
        )


def root(owner: Any) -> str:
    """The package in which a class or function is defined; "" for none."""
    return (getattr(owner, "__module__", None) or "").partition(".")[0]


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory as an array; TypeError for bfloat16, which NumPy lacks."""
    if tensor.dtype == torch.bfloat16:
        raise TypeError("NumPy has no bfloat16")
    return tensor.detach().numpy()


def to_torch(array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor, in its own memory where torch can lie there."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def of_floating(
    function: Function, inputs: Sequence[Any], is_floating: Callable[[Any], bool]
) -> tuple[list[Any], Function]:
    """Those of the inputs that are floating-point numbers, and the function of them alone, whose outputs
    are such numbers, too: the others have no derivatives.
    """
    places = [place for place, part in enumerate(inputs) if is_floating(part)]

    def alone(*floating: Any) -> Sequence[Any]:
        whole = list(inputs)
        for place, part in zip(places, floating, strict=True):
            whole[place] = part
        return tuple(part for part in function(*whole) if is_floating(part))

    return [inputs[place] for place in places], alone
