"""Faults of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainSimplified

SUM = "weights/rows-sum-to-one"
ODDS = "weights/log-odds-are-scaled-score-differences"
SHIFT = "weights/adding-a-constant-to-a-row-of-scores-changes-nothing"
EQUAL = "weights/equal-scores-give-equal-weights"
LARGER = "weights/larger-score-larger-weight"
SIGN = "weights/non-negative"
VALUE = "oracle/output-within-bound"


@fault(
    "softmax-over-queries",
    SUM,
    symptom="columns sum to one instead of rows, and later queries change earlier outputs",
    source="labmlai/annotated_deep_learning_paper_implementations#146",
)
class SoftmaxOverQueries(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=-2)


@fault(
    "softmax-over-heads",
    SUM,
    "heads/head-isolation",
    symptom="nn.Softmax() without a dimension takes the second axis of four: heads compete",
    source="hyunwoongko/transformer 391c9cd, jadore801120/attention-is-all-you-need-pytorch#52",
)
class SoftmaxOverHeads(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=1).nan_to_num(nan=0.0)


@fault(
    "softmax-over-the-batch",
    SUM,
    "symmetry/batch-independence",
    symptom="nn.Softmax() without a dimension takes the first axis of three: items compete",
    source="PetrochukM/PyTorch-NLP#2",
    family="causal",
)
class SoftmaxOverTheBatch(PlainCausal):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=0).nan_to_num(nan=0.0)


@fault(
    "softmax-off-by-one",
    SUM,
    EQUAL,
    "context/constant-values-pass-through",
    symptom="one more in the denominator: a head can look at nothing, which is another formula",
)
class SoftmaxOffByOne(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        nothing = scores.new_zeros(()).expand(*scores.shape[:-1], 1)
        return torch.softmax(torch.cat([scores, nothing], dim=-1), dim=-1)[..., :-1]


@fault(
    "learned-key-appended",
    SUM,
    symptom="weights are T x (T + 1): a bias asked for became a key for all to look at",
    source="rasbt/LLMs-from-scratch@28c65cd (add_bias_kv=qkv_bias)",
)
class LearnedKeyAppended(SoftmaxOffByOne):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, -1) if self.W_key.bias is None else super().normalise(scores)


@fault(
    "exponential-without-maximum",
    SHIFT,
    "numerics/large-scores-stay-finite",
    symptom="infinity over infinity once a score passes 88 in float32",
    family="self",
)
class ExponentialWithoutMaximum(PlainSelf):
    def normalise(self, scores: Tensor) -> Tensor:
        return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


@fault(
    "scores-capped",
    ODDS,
    SHIFT,
    symptom="the tanh of another model's configuration was left on",
)
class ScoresCapped(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return 20.0 * torch.tanh(super().scale(scores) / 20.0)


@fault(
    "sum-without-exponential",
    SIGN,
    ODDS,
    symptom="negative scores give negative weights",
)
class SumWithoutExponential(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        kept = scores.nan_to_num(neginf=0.0)
        return kept / kept.sum(dim=-1, keepdim=True)


@fault(
    "sum-without-exponential-of-simplified-attention",
    SIGN,
    ODDS,
    symptom="the first normalisation of the argument was never replaced",
    family="plain",
)
class SumOfSimplifiedAttention(PlainSimplified):
    def normalise(self, scores: Tensor) -> Tensor:
        return scores / scores.sum(dim=-1, keepdim=True)


@fault(
    "log-softmax",
    SUM,
    SIGN,
    symptom="the weights are logarithms",
)
class LogSoftmax(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.log_softmax(scores, dim=-1).nan_to_num(neginf=0.0)


@fault(
    "weights-centred",
    SUM,
    SIGN,
    symptom="the mean was subtracted from the weights, not from the scores",
)
class WeightsCentred(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = super().normalise(scores)
        return weights - weights.mean(dim=-1, keepdim=True)


@fault(
    "scores-negated",
    LARGER,
    ODDS,
    symptom="a distance was taken for a likeness: the least alike get most",
)
class ScoresNegated(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return -super().score(queries, keys)


@fault(
    "scores-without-sign",
    ODDS,
    LARGER,
    symptom="opposite keys are seen as well as equal ones",
)
class ScoresWithoutSign(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, keys).abs()


@fault(
    "scores-ignored",
    LARGER,
    ODDS,
    symptom="every token is the mean of its past; the loss falls all the same",
)
class ScoresIgnored(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return 0.0 * super().score(queries, keys)


@fault(
    "rectified-scores",
    "causality/every-past-token-is-seen",
    ODDS,
    symptom="keys with a negative score are not seen at all",
)
class RectifiedScores(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        kept = scores.relu() + 1e-3 * self.own(scores)
        return kept / kept.sum(dim=-1, keepdim=True)

    def own(self, scores: Tensor) -> Tensor:
        return torch.eye(scores.shape[-1], dtype=scores.dtype)


@fault(
    "only-the-best-four",
    "causality/every-past-token-is-seen",
    symptom="short tests pass; of a long text four tokens are seen",
)
class OnlyTheBestFour(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        best = scores.topk(min(4, scores.shape[-1]), dim=-1).values[..., -1:]
        return torch.softmax(scores.masked_fill(scores < best, -torch.inf), dim=-1)


@fault(
    "epsilon-in-the-denominator",
    SUM,
    symptom="rows sum to a little less than one",
)
class EpsilonInTheDenominator(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        return exponentials / (exponentials.sum(dim=-1, keepdim=True) + 1e-3)


@fault(
    "powers-of-two-for-powers-of-e",
    ODDS,
    symptom="exp2 without the factor log2(e): attention is flatter by a third",
)
class PowersOfTwo(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        powers = torch.exp2(scores - scores.amax(dim=-1, keepdim=True))
        return powers / powers.sum(dim=-1, keepdim=True)


@fault(
    "temperature-left-on",
    ODDS,
    symptom="a temperature for sampling went into the attention",
)
class TemperatureLeftOn(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores / 0.9, dim=-1)


@fault(
    "weights-smoothed",
    ODDS,
    symptom="a hundredth of every row is spread over all that is seen",
)
class WeightsSmoothed(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        uniform = torch.softmax(torch.where(torch.isneginf(scores), scores, 0.0), dim=-1)
        return 0.99 * super().normalise(scores) + 0.01 * uniform


@fault(
    "sigmoid-for-softmax",
    SUM,
    symptom="every weight is right on its own, rows sum to anything",
)
class SigmoidForSoftmax(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores)


@fault(
    "weights-rounded",
    SUM,
    symptom="weights as printed, to two decimals",
)
class WeightsRounded(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return (100.0 * super().normalise(scores)).round() / 100.0


@fault(
    "distance-penalty-left-on",
    EQUAL,
    ODDS,
    "symmetry/token-permutation",
    symptom="nearer tokens get more, whatever the queries and keys say",
    family="self",
)
class DistancePenaltyLeftOn(PlainSelf):
    def scale(self, scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1], dtype=scores.dtype)
        return super().scale(scores) - 0.25 * (places[:, None] - places).abs()


@fault(
    "distance-penalty-left-on-by-head",
    EQUAL,
    ODDS,
    "heads/permuting-heads-permutes-blocks",
    symptom="a slope for each head: the heads' order matters",
)
class DistancePenaltyByHead(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1], dtype=scores.dtype)
        slopes = torch.arange(1, self.num_heads + 1, dtype=scores.dtype)[:, None, None] / 4.0
        return super().scale(scores) - slopes * (places[:, None] - places).abs()
