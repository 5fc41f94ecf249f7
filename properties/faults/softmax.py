"""Faults of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.faults import fault
from properties.faults.plain import PlainMultiHead


@fault(
    "softmax-over-queries",
    "weights/rows-sum-to-one",
    "oracle/output-within-bound",
    symptom="columns sum to one instead of rows, and later queries change earlier outputs",
    source="labmlai/annotated_deep_learning_paper_implementations#146",
)
class SoftmaxOverQueries(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=-2)
