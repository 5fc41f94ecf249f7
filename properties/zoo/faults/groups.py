"""Faults of shared heads of keys and values: which head reads which, and what they learn.

Some are modules of the wide zoo. Legend: B batch, T tokens, H heads of queries, G of keys and values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.grouped import PlainGrouped

READS = "groups/each-head-reads-its-own-group"
REPEATED = "groups/equal-repeated-heads"
ONE = "groups/equal-heads-are-one"
LEARN = "groups/weights-get-the-gradients-of-all-their-heads"
HIDE = "groups/hide-as-ever"
REFUSED = "error/indivisible-key-value-heads"

BREAKS = {
    "grouped-tiled": (READS, REPEATED),
    "grouped-values-tiled": (READS, REPEATED),
    "grouped-repeated-along-time": (REPEATED, HIDE),
    "grouped-first-group-for-all": (READS,),
    "grouped-queries-summed": (REPEATED,),
    "grouped-head-over-the-number-of-groups": (READS, REPEATED),
    "grouped-scale-by-the-width-of-a-group": (REPEATED, ONE),
    "grouped-last-head-of-a-group-learns": (LEARN,),
    "grouped-gradient-averaged": (LEARN,),
}
for _name, _breaks in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_breaks, symptom=_held.symptom, source=_held.source)(_held.target)


@fault(
    "one-group-takes-keys-for-values",
    ONE,
    symptom="multi-query models alone are off: their branch takes keys for values",
)
class OneGroupTakesKeysForValues(PlainGrouped):
    kept: Tensor

    def keys(self, keys: Tensor) -> Tensor:
        self.kept = super().keys(keys)
        return self.kept

    def values(self, values: Tensor) -> Tensor:
        return self.kept if self.times == self.n_heads > 1 else super().values(values)


@fault(
    "one-group-scaled-by-all-heads",
    ONE,
    symptom="multi-query models alone are too even: the root of d_model instead of head_dim",
)
class OneGroupScaledByAllHeads(PlainGrouped):
    def factor(self) -> float:
        heads = self.n_heads if self.n_kv_heads == 1 else 1
        return float((self.head_dim * heads) ** -0.5)


class OtherKeysForTheLast(PlainGrouped):
    """The last head of each group scores other keys than those of its group."""

    def other(self, keys: Tensor) -> Tensor:
        """(B, G, T, D) -> (B, 1, T, D) or alike."""
        raise NotImplementedError

    def keys(self, keys: Tensor) -> Tensor:
        last = torch.arange(self.n_heads) % self.times == self.times - 1
        repeated = super().keys(keys)
        if self.times == 1:
            return repeated
        return torch.where(last[:, None, None], self.other(keys), repeated)


@fault(
    "last-head-of-a-group-reads-the-mean-of-all-groups",
    READS,
    symptom="one head of each group scores keys that are mixed from all groups",
)
class LastHeadReadsTheMean(OtherKeysForTheLast):
    def other(self, keys: Tensor) -> Tensor:
        return keys.mean(dim=1, keepdim=True)


@fault(
    "last-head-of-a-group-reads-no-keys",
    READS,
    symptom="the buffer that keys are repeated into is filled up to the last head of each group",
)
class LastHeadReadsNoKeys(OtherKeysForTheLast):
    def other(self, keys: Tensor) -> Tensor:
        return torch.zeros_like(keys[:, :1])


@fault(
    "shared-heads-see-the-future",
    HIDE,
    symptom="causal with as many heads of keys as of queries; the path for fewer sees the future",
)
class SharedHeadsSeeTheFuture(PlainGrouped):
    def forward(self, x: Tensor) -> Tensor:
        if self.times > 1:
            self.future = torch.zeros_like(self.future)
        return super().forward(x)


class NotDivided(PlainGrouped):
    """Any two numbers of heads are taken."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        context_length: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(d_model, n_heads, n_heads, context_length, dropout)
        self.n_kv_heads = n_kv_heads
        self.k_proj = torch.nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.v_proj = torch.nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.times = n_heads // n_kv_heads


@fault(
    "heads-left-over-read-the-last-group",
    REFUSED,
    symptom="five heads over two are taken without a word: the fifth reads with the third and fourth",
)
class HeadsLeftOverReadTheLastGroup(NotDivided):
    def repeat(self, heads: Tensor) -> Tensor:
        reader = torch.arange(self.n_heads, device=heads.device) // self.times
        return heads[:, reader.clamp(max=self.n_kv_heads - 1)]


@fault(
    "heads-repeated-and-cut",
    REFUSED,
    symptom="five heads over two are taken without a word: three read the first, two the second",
)
class HeadsRepeatedAndCut(NotDivided):
    def repeat(self, heads: Tensor) -> Tensor:
        times = -(-self.n_heads // self.n_kv_heads)
        return heads.repeat_interleave(times, dim=1)[:, : self.n_heads]
