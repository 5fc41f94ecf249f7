"""Faults of the scale."""

from __future__ import annotations

from torch import Tensor

from properties.faults import fault
from properties.faults.plain import PlainMultiHead

VALUE = "oracle/output-within-bound"


@fault(
    "scale-by-d-out",
    "heads/split-equals-per-head-matmul",
    VALUE,
    symptom="weights flatter than they should be, the more so the more heads",
    source="hyunwoongko/transformer ee92100, lucidrains/vit-pytorch#65",
)
class ScaleByDOut(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / self.d_out**0.5


@fault("scale-absent", VALUE, symptom="weights too peaked, gradients vanish")
class ScaleAbsent(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores
