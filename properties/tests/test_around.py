"""What stands inside attention besides is taken out; what padding itself gives is left open."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_another import COUNT, told, verdict
from properties.tests.test_needed import ODDS, Heads, Unscaled

PADDING = "mask/padding-shows-what-is-real"


class TalkingHeads(Heads):
    """Scores of one head are mixed with those of the others."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.mix_heads = nn.Parameter(torch.randn(num_heads, num_heads))

    def mixed(self, scores: Tensor) -> Tensor:
        return torch.einsum("bhts,hg->bgts", scores, self.mix_heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], self.mixed)


class TalkingHeadsUnscaled(Unscaled, TalkingHeads):
    pass


class MixedByALayer(Heads):
    """As CaiT does, by a layer whose name says nothing."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.proj_l = nn.Linear(num_heads, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda s: self.proj_l(s.movedim(1, -1)).movedim(-1, 1))


class MixedByAPixel(MixedByALayer):
    """The same, by a convolution."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.proj_l = nn.Conv2d(num_heads, num_heads, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], self.proj_l)


class MixedByALayerUnscaled(Unscaled, MixedByALayer):
    pass


class SilentHeads(TalkingHeads):
    def mixed(self, scores: Tensor) -> Tensor:
        return scores


class NormOfTheWeights(Heads):
    """Torch's own norm, whose name says nothing, over the heads."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.after = nn.Sequential(nn.LayerNorm(num_heads))

    def forward(self, x: Tensor) -> Tensor:
        def normed(scores: Tensor) -> Tensor:
            return self.after(scores.transpose(1, -1)).transpose(1, -1)

        return self.attend([x, x, x], normed)


class RootInTheNorm(Heads):
    """Queries and keys are brought to length one, times the root of their width: no scale is needed."""

    factor = 1.0

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.q_norm, self.k_norm = nn.RMSNorm(self.head_dim), nn.RMSNorm(self.head_dim)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return self.factor * self.q_norm(query) @ self.k_norm(key).mT

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)


class ScaledTwice(RootInTheNorm):
    factor = 2.0


class PaddingAsAPair(Heads):
    """A pair is hidden where either token is padding."""

    shown = True

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            if mask is None:
                return scores
            hidden = (mask[:, None, :, None] & mask[:, None, None, :]) != self.shown
            return scores.masked_fill(hidden, -torch.finfo(scores.dtype).max)

        return self.attend([x, x, x], hide)


class PaddingOfTheFirstItem(Heads):
    """What is padding in the first item is so in all."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            return scores if mask is None else scores.masked_fill(~mask[:1, None, None], -1e9)

        return self.attend([x, x, x], hide)


def test_a_mixing_of_heads_is_the_identity() -> None:
    found = find_one(TalkingHeads)
    assert run(found, profile="quick", only=[COUNT, ODDS]).right
    assert "it is the identity" in found.unasked["mix_heads"]
    assert told(TalkingHeadsUnscaled, ODDS)


@pytest.mark.parametrize("kind", [MixedByALayer, MixedByAPixel])
def test_a_layer_from_heads_to_heads_is_the_identity(kind: type[nn.Module]) -> None:
    found = find_one(kind)
    assert run(found, profile="quick", only=[COUNT, ODDS]).right
    assert "it is the identity" in found.unasked["proj_l.weight"]
    assert "it is zero" in found.unasked["proj_l.bias"]


def test_a_wrong_scale_beside_a_layer_of_heads_is_told() -> None:
    assert told(MixedByALayerUnscaled, ODDS)


def test_a_mixing_that_takes_no_part_is_counted() -> None:
    assert told(SilentHeads, COUNT)


def test_a_norm_of_torch_needs_no_name() -> None:
    assert verdict(NormOfTheWeights, COUNT, ODDS) == []


def test_a_norm_of_queries_and_keys_may_hold_the_scale() -> None:
    assert verdict(RootInTheNorm, ODDS) == []
    assert told(ScaledTwice, ODDS)


def test_a_query_that_is_padding_may_see_nothing() -> None:
    """What it gives is left open; a padding mask that is wrong otherwise is told."""
    assert verdict(PaddingAsAPair, ODDS, PADDING) == []
    assert any("what it gives is not asked" in note for note in find_one(PaddingAsAPair).notes)
    assert told(PaddingOfTheFirstItem, PADDING)
