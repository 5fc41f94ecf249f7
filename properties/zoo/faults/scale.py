"""Faults of the scale."""

from __future__ import annotations

import math

from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainSimplified

ODDS = "weights/log-odds-are-scaled-score-differences"
SPLIT = "heads/split-equals-per-head-matmul"
VALUE = "oracle/output-within-bound"


@fault(
    "scale-by-d-out",
    SPLIT,
    ODDS,
    symptom="weights flatter than they should be, the more so the more heads",
    source="hyunwoongko/transformer ee92100, lucidrains/vit-pytorch#65",
)
class ScaleByDOut(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(self.d_out)


@fault(
    "scale-absent",
    ODDS,
    "numerics/scores-of-float16-fit-once-scaled",
    symptom="weights too peaked, gradients vanish",
)
class ScaleAbsent(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores


@fault(
    "scale-by-d-in",
    ODDS,
    symptom="right only where the input is as wide as a head",
    source="FareedKhan-dev/train-llm-from-scratch#3",
    family="causal",
)
class ScaleByDIn(PlainCausal):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(self.d_in)


@fault(
    "scale-by-heads",
    SPLIT,
    ODDS,
    symptom="the right answer is still ranked first, with the wrong confidence",
    source="tenstorrent/tt-metal#56789",
)
class ScaleByHeads(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(self.num_heads)


@fault(
    "scale-by-tokens",
    ODDS,
    "causality/prefix-gives-prefix",
    symptom="the same beginning is told differently in a longer text",
)
class ScaleByTokens(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(scores.shape[-1])


@fault(
    "scale-by-context-length",
    ODDS,
    symptom="attention is nearly uniform",
)
class ScaleByContextLength(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(self.context_length)


@fault(
    "scale-inverted",
    ODDS,
    symptom="scores are multiplied by the root: attention is one-hot",
    source="esceptico/perceiver-io#9",
)
class ScaleInverted(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores * math.sqrt(self.head_dim)


@fault("scale-twice", ODDS, symptom="by head_dim, not its root: attention is too flat")
class ScaleTwice(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / self.head_dim


@fault(
    "scale-by-half",
    ODDS,
    symptom="d ** 1 / 2 is d / 2",
)
class ScaleByHalf(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / (self.head_dim**1 / 2)


@fault(
    "scale-by-a-whole-root",
    ODDS,
    symptom="right for a head_dim of 16 or 64, wrong for 48 or 80",
)
class ScaleByAWholeRoot(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.isqrt(self.head_dim)


@fault(
    "scale-of-the-padded-head",
    ODDS,
    symptom="right where head_dim is a multiple of 8",
    source="pytorch test/test_transformers.py (the scale is that of the size before padding)",
)
class ScaleOfThePaddedHead(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / math.sqrt(-(-self.head_dim // 8) * 8)


@fault(
    "scale-of-sixty-four",
    ODDS,
    symptom="one over eight, hard-coded for heads of 64",
    source="pytorch/pytorch#174049",
)
class ScaleOfSixtyFour(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores / 8.0


@fault(
    "scale-only-in-training",
    ODDS,
    symptom="evaluation is sharper than training was",
)
class ScaleOnlyInTraining(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return super().scale(scores) if self.training else scores


@fault(
    "scale-of-the-weights",
    "weights/rows-sum-to-one",
    symptom="the division follows the softmax: rows sum to 1 / sqrt(D)",
)
class ScaleOfTheWeights(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores

    def drop(self, weights: Tensor) -> Tensor:
        return super().drop(super().scale(weights))


@fault(
    "scale-absent-for-odd-heads",
    ODDS,
    symptom="models with 12 or 16 heads are right",
)
class ScaleAbsentForOddHeads(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores if self.num_heads % 2 else super().scale(scores)


@fault(
    "scale-of-the-first-head-alone",
    ODDS,
    "heads/permuting-heads-permutes-blocks",
    symptom="all heads but the first are too sharp",
)
class ScaleOfTheFirstHeadAlone(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        first = scores.new_ones(self.num_heads, 1, 1)
        first[0] = math.sqrt(self.head_dim)
        return scores / first


@fault(
    "scale-absent-with-bias",
    VALUE,
    symptom="only with qkv_bias=True attention is too sharp",
)
class ScaleAbsentWithBias(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores if self.W_query.bias is not None else super().scale(scores)


@fault(
    "scale-absent-where-square",
    VALUE,
    symptom="only where d_in = d_out attention is too sharp",
)
class ScaleAbsentWhereSquare(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores if self.d_in == self.d_out else super().scale(scores)


@fault(
    "scale-absent-in-self-attention",
    ODDS,
    symptom="the step without weights was taken over, where nothing is scaled",
    family="self",
)
class ScaleAbsentInSelfAttention(PlainSelf):
    def scale(self, scores: Tensor) -> Tensor:
        return scores


@fault(
    "scale-in-simplified-attention",
    ODDS,
    symptom="the printed tables do not come out",
    family="plain",
)
class ScaleInSimplifiedAttention(PlainSimplified):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, keys) / math.sqrt(queries.shape[-1])
