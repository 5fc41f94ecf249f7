"""Attention whose convolutions want channels before tokens is asked as it is.

Legend: B batch, T tokens, C channels.
"""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.targets import find, find_one
from properties.runs.runner import run
from properties.tests.test_needed import ODDS

ROWS = "weights/rows-sum-to-one"
LAWS = (ODDS, ROWS, "mask/shows-what-it-shows")


class AttentionOfSound(nn.Module):
    """(B, C, T) -> (B, C, T), as in models of speech."""

    def __init__(self, channels: int, n_heads: int, p_dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.conv_q, self.conv_k, self.conv_v, self.conv_o = (
            nn.Conv1d(channels, channels, 1) for _ in range(4)
        )
        self.drop = nn.Dropout(p_dropout)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """attn_mask: (B, 1, T, T), zero where a key is hidden."""
        layers = (self.conv_q, self.conv_k, self.conv_v)
        query, key, value = (layer(x).unflatten(1, (self.n_heads, -1)).mT for layer in layers)
        scores = query @ key.mT * query.shape[-1] ** -0.5
        if attn_mask is not None:
            scores = scores.masked_fill(attn_mask == 0, -1e4)
        return self.conv_o(self.joined(self.drop(scores.softmax(-1)) @ value))

    def joined(self, context: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, C, T)."""
        return context.mT.flatten(1, 2)


class AttentionOfSoundJoinedWrong(AttentionOfSound):
    def joined(self, context: Tensor) -> Tensor:
        return context.flatten(2).unflatten(2, context.mT.shape[2:]).flatten(1, 2)


class AttentionOfNeighbours(AttentionOfSound):
    """Values are made of three tokens at once, which attention as defined does not."""

    def __init__(self, channels: int, n_heads: int) -> None:
        super().__init__(channels, n_heads)
        self.conv_v = nn.Conv1d(channels, channels, 3, padding=1)


def failed(kind: type[nn.Module]) -> set[str]:
    results = run(find_one(kind), profile="quick", only=LAWS).results
    return {r.clause for r in results if r.status == "fail"}


def test_channels_stand_before_tokens_where_convolutions_want_them() -> None:
    subject = find_one(AttentionOfSound)
    assert {"projections", "out-projection"} <= subject.capabilities
    assert "x is handed over as (B C T)" in subject.notes
    assert not subject.unasked
    assert not failed(AttentionOfSound)


def test_heads_that_are_joined_without_a_transpose_are_told() -> None:
    assert ROWS in failed(AttentionOfSoundJoinedWrong)


def test_what_mixes_neighbours_is_refused() -> None:
    with pytest.raises(QuestionError, match="mix neighbours"):
        find(AttentionOfNeighbours)
