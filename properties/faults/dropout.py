"""Faults of dropout."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from properties.faults import fault
from properties.faults.plain import PlainMultiHead


@fault(
    "dropout-in-eval",
    "dropout/inert-in-eval",
    symptom="two evaluations of the same input differ",
    source="karpathy/nanoGPT 7399dfe (#240)",
)
class DropoutInEval(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, self.dropout.p, training=True)


@fault(
    "dropout-unscaled",
    "dropout/survivors-are-exactly-scaled",
    symptom="outputs shrink in training and grow back in eval",
    source="NVIDIA/apex#816 (in the backward pass)",
)
class DropoutUnscaled(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        if not self.training:
            return weights
        return weights * (torch.rand_like(weights) >= self.dropout.p)


@fault(
    "dropout-leaves-a-residue",
    "dropout/dropped-are-exactly-zero",
    symptom="dropped keys still leak a little",
)
class DropoutLeavesAResidue(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        dropped = super().drop(weights)
        return torch.where(dropped == 0, 1e-4 * weights, dropped)
