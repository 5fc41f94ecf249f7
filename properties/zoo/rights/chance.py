"""How weights are dropped in training.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, attend, future


class Dropping(SplitHeads):
    """Ordinary attention but for `drop`."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        weights = scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-1)
        return self.drop(weights, self.dropout.p) @ values

    def drop(self, weights: Tensor, p: float) -> Tensor:
        """(B, H, T, T) -> (B, H, T, T)."""
        raise NotImplementedError


@right("dropout-as-a-function")
class FunctionalDropoutAttention(Dropping):
    """`F.dropout` is told the mode."""

    def drop(self, weights: Tensor, p: float) -> Tensor:
        return F.dropout(weights, p=p, training=self.training)


@right("dropout-by-bernoulli")
class BernoulliAttention(Dropping):
    """Zeros and ones with probability 1 - p, and the survivors scaled."""

    def drop(self, weights: Tensor, p: float) -> Tensor:
        if not self.training or p == 0.0:
            return weights
        if p == 1.0:
            return torch.zeros_like(weights)
        survives = torch.bernoulli(torch.full_like(weights, 1.0 - p))
        return weights * survives / (1.0 - p)


@right("dropout-by-uniform-numbers")
class UniformDropoutAttention(Dropping):
    """A uniform number for each weight, in float32, decides whether it is filled with zero."""

    def drop(self, weights: Tensor, p: float) -> Tensor:
        if not self.training:
            return weights
        dropped = torch.rand(weights.shape) < p
        return weights.masked_fill(dropped, 0.0) / (1.0 - p if p < 1.0 else 1.0)


@right("dropout-by-uniform-numbers-of-the-format")
class OwnFormatDropoutAttention(Dropping):
    """The uniform numbers have the weights' format, of 256 values in bfloat16."""

    def drop(self, weights: Tensor, p: float) -> Tensor:
        if not self.training or p == 0.0:
            return weights
        survives = torch.rand_like(weights) >= p
        return torch.where(survives, weights / max(1.0 - p, 0.5**24), 0.0)


@right("dropout-before-the-quotient")
class EarlyDropoutAttention(SplitHeads):
    """Exponentials are dropped; the sum that they are divided by has all of them."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        exponentials = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
        weights = self.dropout(exponentials) / exponentials.sum(-1, keepdim=True)
        return weights @ values


@right("dropout-twice-in-sequence-as-one")
class TwoStageDropoutAttention(Dropping):
    """Two stages that drop a part each: together a weight survives with probability 1 - p."""

    def drop(self, weights: Tensor, p: float) -> Tensor:
        stage = 1.0 - (1.0 - p) ** 0.5
        return F.dropout(F.dropout(weights, stage, self.training), stage, self.training)


@right("dropout-by-adding-minus-infinity")
class LogDropoutAttention(SplitHeads):
    """Logarithms of weights: a dropped one is minus infinity, a survivor gets -log(1 - p)."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        logs = F.log_softmax(scores.masked_fill(future(scores.shape[-1]), -torch.inf), dim=-1)
        p = self.dropout.p
        if self.training and p > 0.0:
            noise = torch.full(logs.shape, -torch.inf, dtype=logs.dtype)
            if p < 1.0:
                survives = torch.rand(logs.shape, dtype=torch.float64) >= p
                noise = noise.masked_fill(survives, -math.log1p(-p))
            logs = logs + noise
        return logs.exp() @ values


@right("recomputed-on-the-way-back")
class CheckpointedAttention(SplitHeads):
    """In training nothing is kept for the gradient; the same weights are dropped again."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            context: Tensor = checkpoint(self.core, queries, keys, values, use_reentrant=False)
            return context
        return self.core(queries, keys, values)

    def core(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Three times (B, H, T, D) -> (B, H, T, D)."""
        return attend(queries, keys, values, self.dropout)
