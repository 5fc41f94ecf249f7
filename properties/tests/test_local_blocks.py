"""Attention in blocks that is called local is asked within one block, and not beyond it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import ODDS

LAWS = (ODDS, "weights/rows-sum-to-one", "oracle", "error/too-many-tokens")


class LocalAttention(nn.Module):
    """A token sees those before it in its own block, and all of the block before."""

    def __init__(self, dim: int, heads: int, block_size: int = 4) -> None:
        super().__init__()
        self.heads, self.size = heads, block_size
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        size, tokens = self.size, x.shape[1]
        filled = functional.pad(self.to_qkv(x), (0, 0, size, -tokens % size)).chunk(3, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in filled
        )
        query = query[:, :, size:].unfold(2, size, size).mT
        key, value = (part.unfold(2, 2 * size, size).mT for part in (key, value))
        places = torch.arange(-size, query.shape[2] * size).unfold(0, 2 * size, size)
        hidden = self.hidden(places[:, size:, None], places[:, None])
        scores = (query @ key.mT * query.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
        context = (scores.softmax(-1) @ value).flatten(2, 3)[:, :, :tokens]
        return self.to_out(context.transpose(1, 2).flatten(2))

    def hidden(self, query: Tensor, key: Tensor) -> Tensor:
        """Those of the future, and what stands before the first block."""
        return (key > query) | (key < 0)


class LocalAttentionOfChunks(LocalAttention):
    def __init__(self, dim: int, heads: int, chunk_size: int = 4) -> None:
        super().__init__(dim, heads, chunk_size)


class LocalAttentionSeesWhatIsFilledUp(LocalAttention):
    def hidden(self, query: Tensor, key: Tensor) -> Tensor:
        return key > query


class LocalAttentionOfAWindow(LocalAttention):
    """A window of any width is filled up to a square of it: a wide one would not fit into memory."""

    def __init__(self, dim: int, heads: int, window_size: int = 4) -> None:
        super().__init__(dim, heads, window_size)


class LocalAttentionOfBothSides(LocalAttentionOfAWindow):
    """Nothing hides the future within a block."""

    def forward(self, x: Tensor) -> Tensor:
        self.tokens = x.shape[1]
        return super().forward(x)

    def hidden(self, query: Tensor, key: Tensor) -> Tensor:
        return (key < 0) | (key >= self.tokens) | (query < key - self.size)


class LocalAttentionOfBothSidesUnscaled(LocalAttentionOfBothSides):
    def __init__(self, dim: int, heads: int, window_size: int = 4) -> None:
        super().__init__(dim, heads, window_size)
        self.to_qkv.register_forward_hook(self.without_scale)

    def without_scale(self, module: nn.Module, given: object, made: Tensor) -> Tensor:
        width = made.shape[-1] // 3
        root = (width // self.heads) ** 0.5
        return torch.cat([made[..., :width] * root, made[..., width:]], dim=-1)


class GlobalAttention(LocalAttention):
    """The same by another name: how many tokens there may be is what block_size says in lectures."""


def failed(kind: type[nn.Module]) -> set[str]:
    results = run(find_one(kind), profile="quick", only=LAWS).results
    return {r.clause for r in results if r.status == "fail"}


@pytest.mark.parametrize(
    "kind",
    [
        LocalAttention,
        LocalAttentionOfChunks,
        LocalAttentionOfAWindow,
        LocalAttentionOfBothSides,
    ],
)
def test_what_is_called_local_is_asked_within_a_block_and_told_so(kind: type[nn.Module]) -> None:
    assert not failed(kind)
    assert "is of blocks" in find_one(kind).lacking["context-length"]


def test_a_block_before_the_first_that_is_seen_is_told() -> None:
    assert "weights/rows-sum-to-one" in failed(LocalAttentionSeesWhatIsFilledUp)


def test_a_lost_scale_is_told_within_a_window() -> None:
    """Of which none is so wide that what a call makes would not fit into memory."""
    assert ODDS in failed(LocalAttentionOfBothSidesUnscaled)


def test_what_is_not_called_local_sees_all_of_its_context() -> None:
    assert failed(GlobalAttention) == {"error/too-many-tokens"}
