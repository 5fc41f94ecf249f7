"""That a mask beside a cache is not asked is told."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.recognition.targets import find_one
from properties.tests.test_needed import Heads

Past = tuple[Tensor, Tensor]


class PaddedCache(Heads):
    """Forgets the padding where there is a past, which no call here shows."""

    def forward(
        self, x: Tensor, attention_mask: Tensor | None = None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        layers = (self.W_query, self.W_key, self.W_value)
        shape = (-1, (self.num_heads, self.head_dim))
        query, key, value = (layer(x).unflatten(*shape).transpose(1, 2) for layer in layers)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        hidden = (
            torch.ones(query.shape[2], key.shape[2]).triu(1 + key.shape[2] - query.shape[2]) > 0
        )
        if attention_mask is not None and past is None:
            hidden = hidden | ~attention_mask[:, None, None].bool()
        weights = self.scores(query, key).masked_fill(hidden, -1e30).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), (key, value)


def test_a_mask_beside_a_cache_is_told_as_not_asked() -> None:
    subject = find_one(PaddedCache)
    assert subject.cache
    assert "not asked: attention_mask beside cached keys and values" in subject.notes
