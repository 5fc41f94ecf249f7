"""Attention of documents that are packed one after the other, asked with a batch: each item is a document.

Legend: B items, T tokens, C width, R the columns of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class AsDocuments:
    """Hooks by which a module of packed tokens (B * T, C) is called with a batch (B, T, C), and gives such.

    name: the argument for where documents start, (B + 1,); items: how many the call that goes on has, 0
    where it is one of tokens as they are. One call at a time. Scripts contain it as it is.
    """

    name: str
    items: int = 0

    def enter(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Packed tokens in place of the batch, and tables (T, R) once for each item."""
        self.items = 0
        if len(given) != 1 or not isinstance(given[0], Tensor) or given[0].ndim not in (2, 3):
            return given, named
        x = given[0]
        tokens = x.shape[-2]
        self.items = len(x) if x.ndim == 3 else 0
        count = len(x) if x.ndim == 3 else 1
        starts = torch.arange(count + 1, dtype=torch.int32, device=x.device) * tokens
        tables = {name: self.repeated(value, tokens, count) for name, value in named.items()}
        return (x.reshape(count * tokens, x.shape[-1]),), {self.name: starts, **tables}

    def repeated(self, value: Any, tokens: int, count: int) -> Any:
        """A table (T, R), or several of them, for so many items; anything else as it is."""
        if isinstance(value, tuple):
            return tuple(self.repeated(part, tokens, count) for part in value)
        is_table = isinstance(value, Tensor) and value.ndim == 2 and len(value) == tokens
        return value.repeat(count, 1) if is_table else value

    def leave(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        """A batch in place of the packed tokens."""
        if not self.items or not isinstance(output, Tensor) or output.ndim != 2:
            return output
        return output.reshape(self.items, -1, output.shape[-1])


def as_documents(module: nn.Module, name: str) -> nn.Module:
    """The module, called with a batch. Scripts contain this as it is."""
    hooks = AsDocuments(name)
    module.register_forward_pre_hook(hooks.enter, with_kwargs=True)
    module.register_forward_hook(hooks.leave)
    return module


def documents_of(module: nn.Module) -> tuple[str, ...]:
    """The argument by which a module is told where documents start, if it is called with a batch."""
    hooks = (getattr(hook, "__self__", None) for hook in module._forward_hooks.values())
    return tuple(hook.name for hook in hooks if isinstance(hook, AsDocuments))
