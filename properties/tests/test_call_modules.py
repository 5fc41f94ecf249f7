"""Modules of tokens are asked about the masks that their forward takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.names.calls.match import AREAS, fitting
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_calls import failing, subject
from properties.zoo.wide import held_ones, sound_ones

KINDS = ("encoder", "masked")
RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind in KINDS}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind in KINDS}
UNSEEN = {
    "encoder-left-causal",  # a decoder as others are
    "encoder-padding-falls-on-queries-of-all",  # (T, T) as some take it
    "encoder-mask-of-items-falls-on-heads",  # three axes as broadcasting has them, four as ever
    "encoder-causal-beside-a-mask",  # refused: it hides the future only if it is given a mask
}
UNNAMED = {
    "masked-buffer-written-to",  # another mask in every call
    "masked-least-number-added-twice",  # NaN in float16 alone, which is an edge
}
SAME = {
    "masked-causal-replaces-the-mask": "mask ignored",
    "masked-padding-lost-in-eval": "mask ignored",
}
"""Wrong modules of which no call tells more."""
FOUND = {
    "encoder-with-any-mask": ({"mask": "mask", "padding": "mask"}, "attend", "attend", "uniform"),
    "encoder-without-a-mask": ({}, "", "", ""),
    "encoder-with-an-added-mask": ({"padding": "attention_mask"}, "", "attend", ""),
    "encoder-true-hides": ({"padding": "mask"}, "", "hide", ""),
    "encoder-flag-of-the-kernel": ({"causal": "is_causal"}, "", "", ""),
    "encoder-flag-on-by-default": ({"causal": "is_causal"}, "", "", ""),
    "encoder-flag-with-a-buffer": ({"causal": "use_causal_mask"}, "", "", ""),
    "encoder-flag-with-kept-masks": ({"causal": "is_causal"}, "", "", ""),
    "encoder-flag-beside-padding": (
        {"mask": "padding_mask", "padding": "padding_mask", "causal": "causal_mask"},
        "attend",
        "attend",
        "uniform",
    ),
    "masked-and-causal": ({"mask": "mask", "padding": "mask"}, "attend", "attend", "uniform"),
    "masked-keys-are-hidden": ({"padding": "key_padding_mask"}, "", "hide", ""),
    "masked-by-two-masks": (
        {"mask": "attn_mask", "bias": "attn_mask", "padding": "padding_mask"},
        "attend",
        "hide",
        "zeros",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_forward_takes_and_what_true_means_is_found(name: str) -> None:
    """And what is asked now is left in no list of what is not."""
    asked = subject(RIGHT[name])
    c = asked.conventions
    assert (dict(asked.takes), c.mask, c.padding, c.empty) == FOUND[name]
    assert not set(asked.takes.values()) & set(asked.unasked)


def test_what_cannot_be_tried_stays_in_the_list_of_what_is_not_asked() -> None:
    """Whose matrices are not found has no level weights to be tried with."""
    assert set(subject(UnnamedAttention).unasked) == {"mask"}


class UnnamedAttention(nn.Module):
    """Matrices whose names say nothing."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        matrices = torch.randn(3, embed_dim, embed_dim) / embed_dim**0.5
        self.one, self.two, self.three = map(nn.Parameter, matrices)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, embed_dim) to the same."""
        q, k, v = (
            (x @ matrix).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for matrix in (self.one, self.two, self.three)
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask, -torch.inf)
        context: Tensor = scores.softmax(-1) @ v
        return context.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law_about_calls(name: str) -> None:
    assert failing(subject(RIGHT[name])) == set()


@pytest.mark.parametrize("name", sorted(WRONG.keys() - UNSEEN - UNNAMED))
def test_a_wrong_mask_of_a_module_gets_its_name(name: str) -> None:
    asked = subject(WRONG[name])
    laws = [law for law in clauses().values() if law.area in AREAS and law.concerns(asked)]
    with quiet_and_repeatable():
        law, case = next(
            (law.id, case)
            for law in laws
            for case in pinned_cases(asked)
            if judge(law, case).status == "fail"
        )
        told = {each.partition("; look for ")[0] for each in behaves_like(law, case)}
    assert told == {SAME.get(name, held_ones()[name].named)}


@pytest.mark.parametrize("name", sorted(n for n in RIGHT if subject(RIGHT[n]).takes))
def test_no_wrong_mask_agrees_with_a_right_module(name: str) -> None:
    assert fitting(subject(RIGHT[name])) == ()
