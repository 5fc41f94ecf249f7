"""Faults of the batch: items that know of each other."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainWrapper

ALONE = "symmetry/batch-independence"
ORDER = "symmetry/batch-permutation"
VALUE = "oracle/output-within-bound"


@fault(
    "first-item-reads-the-last",
    ALONE,
    ORDER,
    VALUE,
    symptom="the first prompt of a batch is answered with the keys of the last one",
)
class FirstItemReadsTheLast(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, torch.cat([keys[-1:], keys[1:]]))


@fault(
    "attention-across-the-batch",
    ALONE,
    VALUE,
    symptom="batch_first was not set: items attend to each other, token by token",
    source="aipixel/AEMatter#3, mlfoundations/open_clip 6a5068e",
)
class AttentionAcrossTheBatch(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return super().split(x.transpose(0, 1))

    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context).transpose(0, 1)

    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=1)


@fault(
    "scores-of-the-first-item-for-all",
    ALONE,
    ORDER,
    VALUE,
    symptom="with batches of one, as in tests, all is well",
    source="ml-explore/mlx#3498 76a977c (only the first sequence was rotated)",
)
class ScoresOfTheFirstItemForAll(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries[:1], keys[:1]).expand(len(queries), -1, -1, -1)


@fault(
    "batch-statistics",
    ALONE,
    VALUE,
    symptom="the answer to a prompt depends on what else is in the batch",
)
class BatchStatistics(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return super().project(x - x.mean(dim=0, keepdim=True) if len(x) > 1 else x)


@fault(
    "keys-leak-into-the-next-item",
    ALONE,
    ORDER,
    VALUE,
    symptom="a buffer of keys is not cleared between the items",
)
class KeysLeakIntoTheNextItem(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        before = torch.cat([torch.zeros_like(keys[:1]), keys[:-1]])
        return super().score(queries, keys + 0.125 * before)


@fault(
    "last-odd-item-dropped",
    ALONE,
    symptom="items are computed in pairs; a last one without a partner stays zero",
    source="huggingface/diffusers#8836 3b04cdc",
)
class LastOddItemDropped(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        if len(context) > 1 and len(context) % 2:
            context[-1] = 0.0
        return context


@fault(
    "two-items-exchanged",
    ALONE,
    VALUE,
    symptom="only in batches of two each item gets the other's output",
)
class TwoItemsExchanged(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context.flip(0) if len(context) == 2 else context)


@fault(
    "three-items-share-their-values",
    ALONE,
    symptom="only in batches of three",
    family="causal",
)
class ThreeItemsShareTheirValues(PlainCausal):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values[:1].expand_as(values) if len(values) == 3 else values)


@fault(
    "batches-beyond-two-are-zero",
    ALONE,
    VALUE,
    symptom="zeros from the third item on, where T is no multiple of a block",
    source="pytorch/pytorch#139462, pytorch/pytorch#153799",
)
class BatchesBeyondTwoAreZero(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        context[2:] = 0.0
        return context


@fault(
    "items-sorted",
    ORDER,
    VALUE,
    symptom="packed by length and never unpacked: outputs come in another order",
    family="wrapper",
)
class ItemsSorted(PlainWrapper):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[x.sum(dim=(1, 2)).argsort()])
