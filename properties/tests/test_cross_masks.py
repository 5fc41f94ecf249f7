"""Masks of a context that are ignored, or read of another item, are claimed and named.

Legend: B batch, T tokens of x, S tokens of the context.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_calls import broken_by, subject
from properties.zoo.faults.cross import PlainContextMask
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.cross import PlainCross


def names_of(target: type[nn.Module], law: str) -> set[str]:
    """The names of what breaks a law, without where to look."""
    asked = subject(target)
    with quiet_and_repeatable():
        case = next(c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail")
        return {name.partition(";")[0] for name in behaves_like(law, case)}


def test_a_mask_of_a_required_context_that_makes_no_difference_is_asked_about() -> None:
    """What has some other meaning is left, and told."""
    ignored = subject(held_ones()["cross-mask-of-a-required-context-ignored"].target)
    zeroing = subject(sound_ones()["cross-mask-that-zeroes-rows-of-x"].target)
    assert ignored.takes["context_padding"] == "attention_mask"
    assert not ignored.unasked
    assert "mask" not in zeroing.takes.values()
    assert set(zeroing.unasked) == {"mask"}


class OfXAlone(PlainCross):
    """The mask is of x, and beside a context there is nothing for it to hide."""

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        self.seen = mask if context is None else None
        return super().forward(x, context)

    def weigh(self, scores: Tensor) -> Tensor:
        if self.seen is not None:
            hidden = ~self.seen[:, None, None].bool()
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return super().weigh(scores)


def test_a_mask_of_x_alone_hides_no_token_of_a_context_and_is_right() -> None:
    asked = subject(OfXAlone)
    assert asked.takes["padding"] == "mask"
    assert "context_padding" not in asked.takes
    assert broken_by(asked, pinned_cases(asked)[:4]) == set()


def test_a_mask_of_keys_whose_first_row_is_read_is_no_mask_of_pairs() -> None:
    """Where (T, S) is taken for (B, S) and cut to one item, no call is made of pairs."""
    asked = subject(held_ones()["cross-padding-cut-to-the-first-item"].target)
    assert "context_mask" not in asked.takes
    assert asked.conventions.context_padding == "attend"


class PairsOfTheItemBehind(PlainContextMask):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask).roll(-1, 0)


class PairsOfTheFirstItem(PlainContextMask):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask)[:1]


class PairsTiledOverHeads(PlainContextMask):
    def widen(self, mask: Tensor) -> Tensor:
        wide = super().widen(mask)
        tiled = wide[:, 0].repeat(self.num_heads, 1, 1)
        return tiled.view(len(wide), self.num_heads, *wide.shape[2:])


class PaddingOfXOfTheItemBefore(OfXAlone):
    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        return super().forward(x, context, None if mask is None else mask.roll(1, 0))


NAMED = {
    PairsOfTheItemBehind: "mask of another item",
    PairsTiledOverHeads: "mask of another item",
    PairsOfTheFirstItem: "mask of the first item for all",
}


@pytest.mark.parametrize("target", NAMED, ids=lambda target: target.__name__)
def test_masks_and_biases_of_other_items_have_a_name(target: type[nn.Module]) -> None:
    """Each law about what is told of the context gives it."""
    for law in (
        "cross/mask-of-the-context-shows-what-it-shows",
        "cross/bias-of-the-context-is-added",
        "cross/padding-of-the-context-is-hidden",
    ):
        assert names_of(target, law) == {NAMED[target]}


def test_padding_of_another_item_has_its_name_without_a_context_as_well() -> None:
    law = "mask/padding-shows-what-is-real"
    assert names_of(PaddingOfXOfTheItemBefore, law) == {"padding of another item"}
