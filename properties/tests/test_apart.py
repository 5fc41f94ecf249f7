"""Masks beside a cache: one of keys and one of pairs are asked about, and what is lost there has a name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.names.caches.told import PADDING, PAIRS, fitting
from properties.recognition.targets import find_one
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import Clause, clauses
from properties.subjects.subject import Subject
from properties.tests.test_needed import Heads
from properties.zoo.faults import faults
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.cached_masked import CachedUnderAMask
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
LAW = clauses()[PADDING]


def statuses(subject: Subject, law: Clause = LAW) -> set[str]:
    """What comes of the examples that are always drawn."""
    assert law.concerns(subject)
    assert not law.missing(subject)
    with quiet_and_repeatable():
        return {judge(law, case).status for case in pinned_cases(subject)}


@pytest.mark.parametrize("target", RIGHT, ids=lambda target: target.__name__)
def test_a_step_may_be_told_of_all_tokens_so_far_which_are_padding_or_of_its_own(
    target: type[nn.Module],
) -> None:
    """Either way it is held to the formula, and no note says that it was not asked."""
    subject = find_one(target)
    assert "fail" not in statuses(subject)
    assert fitting(PADDING, subject) == ()
    assert not any("beside cached" in note for note in subject.notes)


@pytest.mark.parametrize("name", WRONG)
def test_padding_that_is_lost_beside_a_cache_is_told_by_name(name: str) -> None:
    subject = find_one(faults()[name].module)
    assert "fail" in statuses(subject)
    assert fitting(PADDING, subject) == (WRONG[name],)


def test_a_mask_that_is_called_so_is_asked_as_well() -> None:
    subject = find_one(PaddedCache)
    assert "fail" in statuses(subject)
    assert fitting(PADDING, subject) == (LOST,)


def test_a_mask_of_pairs_that_is_looked_at_without_a_past_alone_is_told_as_wrong() -> None:
    subject = find_one(PairsBesideACache)
    assert "fail" in statuses(subject, clauses()[PAIRS])
    assert fitting(PAIRS, subject) == ("mask ignored beside a past",)


class RefusedBesideACache(CachedUnderAMask):
    """A mask is for a call on the whole."""

    def beside(self, mask: Tensor, length: int) -> Tensor:
        raise NotImplementedError("no mask beside a past")


def test_a_mask_of_pairs_that_no_step_takes_is_told_as_not_asked() -> None:
    subject = find_one(RefusedBesideACache)
    assert subject.cache
    assert not clauses()[PAIRS].missing(find_one(CachedUnderAMask))
    assert clauses()[PAIRS].missing(subject)
    assert subject.takes["mask"] == "attn_mask"
    assert "not asked: attn_mask beside cached keys and values" in subject.notes


MASKED = {
    name: one
    for name, one in {**sound_ones(), **held_ones()}.items()
    if one.kind == "cached" and "mask" in one.says
}
ROLES = {"attends": ("mask",), "hides": ("mask",), "is added": ("bias",)}


@pytest.mark.parametrize("name", [n for n in MASKED if n in sound_ones()])
def test_rows_of_a_mask_of_pairs_beside_a_cache_give_the_rows_of_one_call(name: str) -> None:
    """Where True attends, where it hides, where numbers are added, and where nothing else is causal."""
    subject = find_one(MASKED[name].target)
    assert subject.masked_steps == ROLES[MASKED[name].says["mask"]]
    assert "fail" not in statuses(subject, clauses()[PAIRS])
    assert fitting(PAIRS, subject) == ()
    assert not any("not asked" in note for note in subject.notes)


@pytest.mark.parametrize("name", [n for n in MASKED if n in held_ones()])
def test_a_mask_of_pairs_that_is_lost_beside_a_cache_is_told_by_name(name: str) -> None:
    subject = find_one(MASKED[name].target)
    assert "fail" in statuses(subject, clauses()[PAIRS])
    assert fitting(PAIRS, subject) == (held_ones()[name].named,)


class OfAllPlaces(CachedUnderAMask):
    """The mask has a column for every place there is."""

    def beside(self, mask: Tensor, length: int) -> Tensor:
        if mask.shape[-1] != self.context_length:
            raise ValueError(f"{mask.shape[-1]} columns: expected {self.context_length}")
        return mask

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().masked(scores, mask[..., : scores.shape[-1]])


class OfAllRows(CachedUnderAMask):
    """The mask is square, of all tokens so far."""

    def beside(self, mask: Tensor, length: int) -> Tensor:
        return mask[..., length:, :]


class ForAllItems(CachedUnderAMask):
    """The mask has no axis of items."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.ndim != 2:
            raise ValueError("expected (T, S)")
        return super().masked(scores, mask[None])


@pytest.mark.parametrize(
    ("target", "laid"), [(OfAllPlaces, "T room"), (OfAllRows, "S S"), (ForAllItems, "T S")]
)
def test_other_layouts_of_a_mask_beside_a_cache_are_found(
    target: type[nn.Module], laid: str
) -> None:
    """Whether it is for the step's rows, all places or all tokens so far."""
    subject = find_one(target)
    assert (subject.masked_steps, vars(subject)["laid"]) == (("mask",), laid)
    assert subject.one_mask == (target is ForAllItems)
    assert "fail" not in statuses(subject, clauses()[PAIRS])
