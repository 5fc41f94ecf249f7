"""Faults of the causal mask."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.faults import fault
from properties.faults.plain import PlainMultiHead

LEAK = "causality/future-does-not-change-past"
VALUE = "oracle/output-within-bound"


@fault(
    "mask-hides-the-diagonal",
    VALUE,
    symptom="a token cannot see itself, and the first one sees nothing: NaN in the first row",
    source="pytorch/tutorials#2250, RVC-Boss/GPT-SoVITS#965 (both disputed)",
)
class MaskHidesTheDiagonal(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=0)


@fault(
    "mask-shows-the-next-token",
    LEAK,
    VALUE,
    symptom="the training loss is too good, generation is poor",
    source="flashinfer-ai/flashinfer#348",
)
class MaskShowsTheNextToken(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=2)


@fault(
    "mask-result-discarded",
    LEAK,
    VALUE,
    symptom="masked_fill without an underscore: nothing is hidden",
    source="lucidrains/flamingo-pytorch#10",
)
class MaskResultDiscarded(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        scores.masked_fill(self.hidden(scores.shape[-1]), -torch.inf)
        return scores
