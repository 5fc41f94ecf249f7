"""Functions that take tensors on a device alone, as kernels of a GPU do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DEVICE = "cuda"


def there_is_one() -> bool:
    """Whether there is such a device."""
    return torch.cuda.is_available()


class OnDevice:
    """A function of tensors on a device, called with tensors on the CPU: they are copied, and so is what
    it returns and what it writes into them.
    """

    def __init__(self, function: Callable[..., Any], device: str) -> None:
        """Keep the function's name and documentation."""
        self.function, self.device = function, device
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What the function returns, on the CPU."""
        given = [part for part in (*parts, *options.values()) if isinstance(part, Tensor)]
        copies = {id(part): self.sent(part) for part in given}
        before = {name: copy.detach().clone() for name, copy in copies.items()}
        returned = self.function(
            *(copies.get(id(part), part) for part in parts),
            **{name: copies.get(id(part), part) for name, part in options.items()},
        )
        with torch.no_grad():
            for part in given:
                copy = copies[id(part)].detach()
                if not torch.equal(self.numbers(copy), self.numbers(before[id(part)])):
                    part.copy_(copy)
        return self.home(returned)

    def sent(self, part: Tensor) -> Tensor:
        """A tensor on the device that lies in memory as this one does; its gradients lead to this one."""
        if part.requires_grad or 0 in part.stride():
            return part.to(self.device)
        copy = torch.empty_strided(part.shape, part.stride(), dtype=part.dtype, device=self.device)
        return copy.copy_(part)

    def home(self, returned: Any) -> Any:
        """The same on the CPU, where it is a tensor or several."""
        if isinstance(returned, Tensor):
            return returned.cpu()
        if isinstance(returned, tuple | list):
            return tuple(map(self.home, returned))
        return (
            {n: self.home(p) for n, p in returned.items()}
            if isinstance(returned, dict)
            else returned
        )

    def numbers(self, part: Tensor) -> Tensor:
        """What is in memory, so that NaN equals NaN."""
        return part.contiguous().view(-1).view(torch.uint8)
