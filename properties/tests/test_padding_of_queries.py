"""A mask of keys that is spread over queries is told by name: whatever True is meant to say, and where
there is a context.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties import check
from properties.tests.test_needed import Heads

ON_QUERIES = (slice(None), None, slice(None), None)  # (B, T) -> (B, 1, T, 1)


class TrueIsPadding(Heads):
    """As torch means it."""

    places = ON_QUERIES

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            if key_padding_mask is None:
                return scores
            return scores.masked_fill(key_padding_mask[self.places], -torch.inf)

        return self.attend([x, x, x], hide)


class TrueIsRealBesideAContext(Heads):
    """As in attention of diffusion models: the mask meets a context as well as x itself."""

    places = ON_QUERIES

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            low = -torch.finfo(scores.dtype).max
            return scores if mask is None else scores.masked_fill(~mask[self.places], low)

        context = x if context is None else context
        return self.attend([x, context, context], hide)


class OnKeys(TrueIsPadding):
    places = (slice(None), None, None, slice(None))


class OnKeysBesideAContext(TrueIsRealBesideAContext):
    places = OnKeys.places


def findings(kind: type[nn.Module]) -> list[str]:
    report = check(kind, profile="quick", only=["mask"], database=False)
    return [found.name for found in report.findings]


@pytest.mark.parametrize("kind", [TrueIsPadding, TrueIsRealBesideAContext])
def test_padding_on_queries_has_its_name(kind: type[nn.Module]) -> None:
    assert findings(kind) == ["padding acts on queries"]


@pytest.mark.parametrize("kind", [OnKeys, OnKeysBesideAContext])
def test_padding_on_keys_is_right(kind: type[nn.Module]) -> None:
    assert findings(kind) == []
