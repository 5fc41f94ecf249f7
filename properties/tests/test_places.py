"""Tables of learned places and distances are known by what is read of them, whatever they are called."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.tests.test_beyond import COUNT, LAWS, verdict
from properties.tests.test_needed import ODDS, Heads

ROOM = 64


class SkewedAttention(Heads):
    """Causal; a vector for each distance, brought into place by skewing (Huang et al., 2018)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.Er = nn.Parameter(torch.randn(ROOM, self.head_dim))

    def forward(self, x: Tensor) -> Tensor:
        layers = (self.W_query, self.W_key, self.W_value)
        shape = (-1, (self.num_heads, self.head_dim))
        query, key, value = (layer(x).unflatten(*shape).transpose(1, 2) for layer in layers)
        scores = self.scores(query, key) + self.placed(query) / math.sqrt(self.head_dim)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2))

    def placed(self, query: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, H, T, T)."""
        tokens = query.shape[-2]
        padded = nn.functional.pad(query @ self.Er[ROOM - tokens :].mT, (1, 0))
        return padded.reshape(*padded.shape[:2], tokens + 1, tokens)[:, :, 1:]


class GatheredAttention(SkewedAttention):
    """An embedding of each distance up to a largest one (Shaw et al., 2018)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        del self.Er
        self.table = nn.Embedding(33, self.head_dim)

    def placed(self, query: Tensor) -> Tensor:
        places = torch.arange(query.shape[-2])
        distances = (places - places[:, None]).clamp(-16, 16) + 16
        return torch.einsum("bhid,ijd->bhij", query, self.table(distances))


class UnscaledAttention(SkewedAttention):
    """The scale is lost, beside the table."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class SameEverywhereAttention(SkewedAttention):
    """All of the parameter is added to all queries: it is no table of places."""

    def placed(self, query: Tensor) -> Tensor:
        return (query + self.Er.mean(dim=0)) @ query.mT - query @ query.mT


@pytest.mark.parametrize(
    ("kind", "name"), [(SkewedAttention, "Er"), (GatheredAttention, "table.weight")]
)
def test_a_table_of_which_more_tokens_read_more_is_zero_and_told(
    kind: type[nn.Module], name: str
) -> None:
    assert set(LAWS).isdisjoint(verdict(kind))
    subject = find_one(kind)
    assert subject.extras == {name: 0.0}
    assert name in subject.unasked


def test_what_is_wrong_beside_a_table_is_told() -> None:
    assert ODDS in verdict(UnscaledAttention)


def test_what_every_token_reads_whole_is_a_parameter_too_many() -> None:
    assert verdict(SameEverywhereAttention, [COUNT]) == [COUNT]
