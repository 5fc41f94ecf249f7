"""A mask that is taken as ones and zeros alone is asked, as booleans are; one cut to the tokens, too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import Heads

ADDED = "mask/bias-is-added-to-the-scores"
SHOWS = "mask/padding-shows-what-is-real"


class OneMinus(Heads):
    """What is left of one, which booleans are not taken from, is times the least number."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            if attention_mask is None:
                return scores
            hidden = self.broadcast(1.0 - attention_mask)
            return scores + hidden * torch.finfo(scores.dtype).min

        return self.attend([x, x, x], hide)

    def broadcast(self, keys: Tensor) -> Tensor:
        return keys[:, None, None, :]


class OnQueries(OneMinus):
    """The mask falls on the wrong axis."""

    def broadcast(self, keys: Tensor) -> Tensor:
        return keys[:, None, :, None]


class CutToTheTokens(Heads):
    """Whisper's: the mask (T, T) is cut, which would cut the items of one that has any."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend([x, x, x], lambda scores: self.added(scores, mask))

    def added(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        tokens = scores.shape[-1]
        return scores if mask is None else scores + mask[:tokens, :tokens]


class OfTheFirstItem(CutToTheTokens):
    """Takes a mask for each item, and reads that of the first."""

    def added(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        return scores if mask is None else scores + mask[:1]


@pytest.mark.parametrize(("kind", "status"), [(CutToTheTokens, "pass"), (OfTheFirstItem, "fail")])
def test_a_mask_that_is_cut_to_the_tokens_is_one_of_pairs(
    kind: type[nn.Module], status: str
) -> None:
    report = run(find_one(kind), profile="quick", only=[ADDED])
    assert [r.status for r in report.results if r.clause == ADDED] == [status]


@pytest.mark.parametrize(("kind", "status"), [(OneMinus, "pass"), (OnQueries, "fail")])
def test_a_mask_of_ones_and_zeros_is_asked(kind: type[nn.Module], status: str) -> None:
    """One that is right holds, and one on the axis of queries does not."""
    subject = find_one(kind)
    assert dict(subject.takes) == {"padding": "attention_mask"}
    report = run(subject, profile="quick", only=[SHOWS])
    assert [r.status for r in report.results if r.clause == SHOWS] == [status]
