"""A mask of keys beside a cache is asked about; that one of pairs is not is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.names.caches import padding
from properties.recognition.targets import find_one
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.subject import Subject
from properties.tests.test_needed import Heads
from properties.zoo.faults import faults
from properties.zoo.wide.cached_padded import CachedWithPadding, CachedWithPaddingOfItsOwn

Past = tuple[Tensor, Tensor]


class PaddedCache(Heads):
    """Forgets the padding where there is a past."""

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


class PairsBesideACache(PaddedCache):
    """The mask is of pairs."""

    def forward(
        self, x: Tensor, mask: Tensor | None = None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        if past is not None or mask is None:
            return super().forward(x, None, past)
        layers = (self.W_query, self.W_key, self.W_value)
        shape = (-1, (self.num_heads, self.head_dim))
        query, key, value = (layer(x).unflatten(*shape).transpose(1, 2) for layer in layers)
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) | ~mask[:, None]
        weights = self.scores(query, key).masked_fill(hidden, -1e30).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), (key, value)


LOST = "padding ignored beside a past"
WRONG = {
    "cached-padding-lost-beside-a-past": LOST,
    "cached-padding-of-the-new-tokens-alone": "padding of the new tokens alone beside a past",
}
RIGHT = (CachedWithPadding, CachedWithPaddingOfItsOwn)
LAW = clauses()[padding.CLAUSE]


def statuses(subject: Subject) -> set[str]:
    """What comes of the examples that are always drawn."""
    assert subject.has("padding beside a cache")
    with quiet_and_repeatable():
        return {judge(LAW, case).status for case in pinned_cases(subject)}


@pytest.mark.parametrize("target", RIGHT, ids=lambda target: target.__name__)
def test_a_step_may_be_told_of_all_tokens_so_far_which_are_padding_or_of_its_own(
    target: type[nn.Module],
) -> None:
    """Either way it is held to the formula, and no note says that it was not asked."""
    subject = find_one(target)
    assert "fail" not in statuses(subject)
    assert padding.fitting(subject) == ()
    assert not any("beside cached" in note for note in subject.notes)


@pytest.mark.parametrize("name", WRONG)
def test_padding_that_is_lost_beside_a_cache_is_told_by_name(name: str) -> None:
    subject = find_one(faults()[name].module)
    assert "fail" in statuses(subject)
    assert padding.fitting(subject) == (WRONG[name],)


def test_a_mask_that_is_called_so_is_asked_as_well() -> None:
    subject = find_one(PaddedCache)
    assert "fail" in statuses(subject)
    assert padding.fitting(subject) == (LOST,)


def test_a_mask_of_pairs_beside_a_cache_is_told_as_not_asked() -> None:
    subject = find_one(PairsBesideACache)
    assert subject.cache
    assert "mask" in subject.takes
    assert "not asked: mask beside cached keys and values" in subject.notes
