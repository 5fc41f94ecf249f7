"""Cosine attention is refused for what it is; who reads lengths is asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.basics.errors import QuestionError
from properties.recognition.targets import find, find_one
from properties.tests.test_needed import Heads


class Directions(Heads):
    """Swin's second version: a learned number for each head, and directions."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), 10.0).log())

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        cosines = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).mT
        return cosines * self.logit_scale.clamp(max=4.6).exp()


def norm(x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],))


class NormedInForward(Heads):
    """A norm of queries and keys that is no layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return super().scores(norm(query), norm(key))


class Lengths(Directions):
    """Speaks of the cosine, and scores as attention does."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        Heads.__init__(self, d_model, num_heads)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return Heads.scores(self, query, key)  # |q| |k| times their cosine


@pytest.mark.parametrize("kind", [Directions, NormedInForward])
def test_who_scores_by_directions_alone_is_refused_and_told_so(kind: type[nn.Module]) -> None:
    with pytest.raises(QuestionError, match="queries and keys by their directions alone"):
        find(kind)


def test_who_speaks_of_a_cosine_and_reads_lengths_is_asked() -> None:
    assert find_one(Lengths).has("projections")
