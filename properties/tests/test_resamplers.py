"""Latents that attend to themselves beside a context, where a name says that they are meant to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run

MIXES_ALL = "cross/as-many-keys-as-there-are"


class PerceiverAttention(nn.Module):
    """Keys and values are those of the context, then those of the latents. A step is a method."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_out = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        parts = (self.to_q(x), *self.to_kv(self.read(x, context)).chunk(2, dim=-1))
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        output = nn.functional.scaled_dot_product_attention(*heads)
        return self.to_out(output.transpose(1, 2).flatten(2))

    def read(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, T, dim), (B, S, dim) -> (B, S + T, dim)."""
        return torch.cat((context, x), dim=1)


class LatentsAttention(PerceiverAttention):
    """The argument says it."""

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        return super().forward(latents, context)


class CrossAttention(PerceiverAttention):
    """Nothing says it."""


class PerceiverThatReadsNothing(PerceiverAttention):
    def read(self, x: Tensor, context: Tensor) -> Tensor:
        return x


def failed(kind: type[nn.Module]) -> list[str]:
    """The laws about a context that do not hold."""
    return list(run(find_one(kind), profile="quick", only=[MIXES_ALL]).failed)


def test_latents_that_see_themselves_are_told_and_not_asked() -> None:
    for kind in (PerceiverAttention, LatentsAttention):
        subject = find_one(kind)
        assert "context" not in subject.takes
        assert "is meant here" in subject.unasked["context"]


def test_without_a_word_of_it_they_are_wrong() -> None:
    assert failed(CrossAttention) == [MIXES_ALL]


def test_a_word_does_not_excuse_a_context_that_is_ignored() -> None:
    assert failed(PerceiverThatReadsNothing) == [MIXES_ALL]
