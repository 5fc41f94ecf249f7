"""Faults of dropout.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainWrapper

INERT = "dropout/inert-in-eval"
SHAPE = "dropout/keeps-the-shape"
SCALED = "dropout/survivors-are-exactly-scaled"
EXEMPT = "dropout/no-weight-is-exempt"
RATE = "dropout/survival-rate"
UNBIASED = "dropout/unbiased"
ONLY = "dropout/acts-on-weights-only"
RENORMALISED = "dropout/not-renormalised"
OVER_BATCH = "dropout/independent-over-batch"
OVER_HEADS = "dropout/independent-over-heads"
OVER_ROWS = "dropout/independent-over-rows"
OVER_COLUMNS = "dropout/independent-over-columns"
OVER_CALLS = "dropout/independent-over-calls"
SEED = "dropout/reproducible-under-manual-seed"
GENERATOR = "dropout/does-not-reseed-the-global-generator"
GRADIENT = "dropout/gradient-follows-the-draw"


class Dropping(PlainMultiHead):
    """The plain module; what is changed is `lose`, dropout in training where 0 < p < 1."""

    @property
    def p(self) -> float:
        """The probability of being dropped."""
        return float(self.dropout.p)

    @property
    def active(self) -> bool:
        """Whether something is dropped and something survives."""
        return self.training and 0.0 < self.p < 1.0

    def drop(self, weights: Tensor) -> Tensor:
        """Dropout on the attention weights."""
        return self.lose(weights) if self.active else super().drop(weights)

    def lose(self, weights: Tensor) -> Tensor:
        """Dropout as it should be."""
        return functional.dropout(weights, self.p)

    def pattern(self, *shape: int, like: Tensor) -> Tensor:
        """1 / (1 - p) where a weight survives, else 0."""
        return functional.dropout(torch.ones(shape, dtype=like.dtype), self.p)

    def survives(self, weights: Tensor, p: float) -> Tensor:
        """One where a weight survives, else zero."""
        return (torch.rand_like(weights, dtype=torch.float64) >= p).to(weights.dtype)


# When


@fault(
    "dropout-in-eval",
    INERT,
    symptom="two evaluations of the same input differ",
    source="karpathy/nanoGPT 7399dfe (#240), torchtune#1791, suno-ai/bark#662",
)
class DropoutInEval(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, self.dropout.p, training=True)


@fault(
    "dropout-only-in-eval",
    INERT,
    symptom="training is deterministic and evaluation is not: the flag is the wrong way round",
)
class DropoutOnlyInEval(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, self.dropout.p, training=not self.training)


@fault(
    "dropout-scales-in-eval",
    INERT,
    symptom="weights shrink in eval: the older convention, without its counterpart in training",
)
class DropoutScalesInEval(Dropping):
    def drop(self, weights: Tensor) -> Tensor:
        return super().drop(weights) * (1.0 - self.p)


@fault(
    "dropout-ignored",
    "argument/dropout-has-effect",
    SCALED,
    EXEMPT,
    RATE,
    symptom="the argument has no effect",
    source="facebookresearch/xformers#123 861493c, zhouhaoyi/Informer2020#97",
)
class DropoutIgnored(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return weights


@fault(
    "dropout-ignored-for-one-token",
    EXEMPT,
    symptom="a sequence of one token is never dropped",
)
class DropoutIgnoredForOneToken(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return weights if weights.shape[-1] == 1 else super().drop(weights)


@fault(
    "dropout-only-at-full-length",
    EXEMPT,
    symptom="sequences shorter than context_length are trained without dropout",
)
class DropoutOnlyAtFullLength(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return super().drop(weights) if weights.shape[-1] == self.context_length else weights


@fault(
    "dropout-ignored-in-bfloat16",
    EXEMPT,
    symptom="training in bfloat16 overfits",
)
class DropoutIgnoredInBfloat16(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return weights if weights.dtype == torch.bfloat16 else super().drop(weights)


@fault(
    "dropout-in-the-first-call-only",
    EXEMPT,
    symptom="the first step of training is noisy, the others are not",
)
class DropoutInTheFirstCallOnly(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        if not self.training:
            return weights
        dropped = super().drop(weights)
        self.dropout.p = 0.0
        return dropped


@fault(
    "dropout-zero-taken-for-unset",
    "dropout/zero-p-is-inert-in-training",
    symptom="dropout=0.0 trains with the default of 0.1",
)
class DropoutZeroTakenForUnset(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, self.dropout.p or 0.1, self.training)


@fault(
    "dropout-of-one-is-nan",
    "dropout/p-one-gives-zeros",
    symptom="dropout=1.0 gives NaN: zero times infinity",
)
class DropoutOfOneIsNan(Dropping):
    def drop(self, weights: Tensor) -> Tensor:
        if not self.training:
            return weights
        factor = 1.0 / (1.0 - self.p) if self.p < 1.0 else torch.inf
        return weights * self.survives(weights, self.p) * factor


@fault(
    "dropout-raises",
    SHAPE,
    symptom="training with dropout raises: no test had ever run it",
    source="keras-team/keras#18766 ccc0aaa",
)
class DropoutRaises(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        generator: Any = self.seed_generator
        dropped: Tensor = weights * torch.rand(weights.shape, generator=generator)
        return dropped


@fault(
    "training-returns-the-last-token",
    SHAPE,
    symptom="training with dropout gives one row where evaluation gives all of them",
)
class TrainingReturnsTheLastToken(Dropping):
    def finish(self, context: Tensor) -> Tensor:
        output = super().finish(context)
        return output[:, -1:] if self.active else output


# How much


@fault(
    "dropout-unscaled",
    SCALED,
    UNBIASED,
    symptom="outputs shrink in training and grow back in eval",
    source="NVIDIA/apex#816 (in the backward pass)",
)
class DropoutUnscaled(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.survives(weights, self.p)


@fault(
    "dropout-unscaled-for-one-item",
    SCALED,
    symptom="a batch of one shrinks in training",
)
class DropoutUnscaledForOneItem(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        factor = 1.0 - self.p if len(weights) == 1 else 1.0
        return super().lose(weights) * factor


@fault(
    "dropout-scales-by-survival",
    SCALED,
    UNBIASED,
    symptom="multiplied by 1 - p instead of divided: outputs shrink twice over",
)
class DropoutScalesBySurvival(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.survives(weights, self.p) * (1.0 - self.p)


@fault(
    "dropout-scales-by-p",
    SCALED,
    UNBIASED,
    symptom="divided by p instead of 1 - p: the same at p = 0.5 alone",
)
class DropoutScalesByP(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.survives(weights, self.p) / self.p


@fault(
    "dropout-leaves-a-residue",
    "dropout/dropped-are-exactly-zero",
    symptom="dropped keys still leak a little",
)
class DropoutLeavesAResidue(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        dropped = super().drop(weights)
        return torch.where(dropped == 0, 1e-4 * weights, dropped)


@fault(
    "dropout-takes-survival-for-p",
    EXEMPT,
    RATE,
    symptom="dropout=0.1 drops nine of ten weights",
)
class DropoutTakesSurvivalForP(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, 1.0 - self.p)


@fault(
    "dropout-rate-off-by-two-percent",
    RATE,
    symptom="a few weights more are dropped than asked for; the factor is right",
)
class DropoutRateOffByTwoPercent(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.survives(weights, self.p + 0.02) / (1.0 - self.p)


@fault(
    "dropout-in-tenths",
    RATE,
    symptom="p is rounded to tenths: small probabilities never drop",
)
class DropoutInTenths(Dropping):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, round(self.p, 1), self.training)


@fault(
    "dropout-twice",
    SCALED,
    EXEMPT,
    RATE,
    symptom="twice as much is dropped; the mean is right",
    source="facebookresearch/xformers#301 72f969f",
)
class DropoutTwice(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return super().lose(super().lose(weights))


@fault(
    "dropout-is-gaussian-noise",
    SCALED,
    RATE,
    symptom="weights are multiplied by noise of the same variance: none vanishes",
)
class DropoutIsGaussianNoise(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        deviation = (self.p / (1.0 - self.p)) ** 0.5
        noise: Tensor = 1.0 + deviation * torch.randn_like(weights)
        return weights * noise


# What


@fault(
    "dropout-renormalised",
    SCALED,
    RENORMALISED,
    symptom="the survivors of a row sum to one again: a token that sees one key is never dropped",
)
class DropoutRenormalised(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        dropped = super().lose(weights)
        sums = dropped.sum(dim=-1, keepdim=True)
        return torch.where(sums > 0, dropped / sums, dropped)


@fault(
    "dropout-renormalises-nothing",
    SCALED,
    RENORMALISED,
    UNBIASED,
    symptom="a row that loses all its keys is NaN: zero divided by zero",
)
class DropoutRenormalisesNothing(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        dropped = super().lose(weights)
        return dropped / dropped.sum(dim=-1, keepdim=True)


@fault(
    "dropout-by-hiding-scores",
    SCALED,
    RENORMALISED,
    symptom="dropped scores are minus infinity, so the softmax shares out what they had",
)
class DropoutByHidingScores(Dropping):
    def normalise(self, scores: Tensor) -> Tensor:
        if not self.active:
            return super().normalise(scores)
        lost = self.survives(scores, self.p) == 0
        return super().normalise(scores.masked_fill(lost, -torch.inf)).nan_to_num()

    def lose(self, weights: Tensor) -> Tensor:
        return weights


@fault(
    "dropout-divides-by-what-survived",
    SCALED,
    RENORMALISED,
    symptom="the factor is the share that happened to survive, another in each call",
)
class DropoutDividesByWhatSurvived(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        survives = self.survives(weights, self.p)
        return weights * survives / survives.mean().clamp(min=1.0 / survives.numel())


@fault(
    "dropout-on-scores",
    ONLY,
    SCALED,
    symptom="scores become zero, which is a score like any other",
)
class DropoutOnScores(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().scale(scores))
        return dropped

    def drop(self, weights: Tensor) -> Tensor:
        return weights


@fault(
    "dropout-on-scores-as-well",
    ONLY,
    SCALED,
    symptom="weights are dropped as they should be, and noisy besides",
)
class DropoutOnScoresAsWell(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().scale(scores))
        return dropped


@fault(
    "dropout-on-queries-as-well",
    ONLY,
    SCALED,
    symptom="weights are dropped as they should be, and noisy besides",
)
class DropoutOnQueriesAsWell(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        return self.dropout(queries), keys, values


@fault(
    "dropout-on-output",
    ONLY,
    symptom="single columns of the output vanish instead of weights",
    source="allenai/OLMo 6c4b8e1",
)
class DropoutOnOutput(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return weights

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().mix(weights, values))
        return dropped


@fault(
    "dropout-on-output-as-well",
    ONLY,
    symptom="single columns of the output vanish besides the weights",
)
class DropoutOnOutputAsWell(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().finish(context))
        return dropped


@fault(
    "dropout-on-values",
    ONLY,
    OVER_ROWS,
    symptom="numbers vanish from the values, for all queries alike",
)
class DropoutOnValues(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        return weights

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, self.dropout(values))


# Independence


@fault(
    "dropout-shared-by-the-batch",
    OVER_BATCH,
    symptom="all items of a batch lose the same weights: the gradient is noisier",
    source="google/flax linen/attention.py (broadcast_dropout=True, by design)",
)
class DropoutSharedByTheBatch(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.pattern(1, *weights.shape[1:], like=weights)


@fault(
    "dropout-shared-by-a-batch-of-t",
    OVER_BATCH,
    symptom="with B = T, all items of a batch lose the same weights",
)
class DropoutSharedByABatchOfT(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        if len(weights) != weights.shape[-1]:
            return super().lose(weights)
        return weights * self.pattern(1, *weights.shape[1:], like=weights)


@fault(
    "dropout-shared-by-heads",
    OVER_HEADS,
    symptom="all heads lose the same keys",
    source="google/flax linen/attention.py (broadcast_dropout=True, by design)",
)
class DropoutSharedByHeads(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        batch, _, *square = weights.shape
        return weights * self.pattern(batch, 1, *square, like=weights)


@fault(
    "dropout-shared-by-pairs-of-heads",
    OVER_HEADS,
    symptom="neighbouring heads lose the same keys",
)
class DropoutSharedByPairsOfHeads(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        batch, heads, *square = weights.shape
        half = self.pattern(batch, (heads + 1) // 2, *square, like=weights)
        return weights * half.repeat_interleave(2, dim=1)[:, :heads]


@fault(
    "dropout-shared-by-wrapped-heads",
    OVER_HEADS,
    symptom="each head of the wrapper sets the generator back, and loses the same keys",
    family="wrapper",
)
class DropoutSharedByWrappedHeads(PlainWrapper):
    def forward(self, x: Tensor) -> Tensor:
        """Every head from the same state of the generator."""
        state = torch.get_rng_state()
        parts = []
        for head in self.heads:
            torch.set_rng_state(state)
            parts.append(head(x))
        return self.join(parts)


@fault(
    "dropout-of-whole-keys",
    OVER_ROWS,
    symptom="a token vanishes for all queries at once",
)
class DropoutOfWholeKeys(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        batch, heads, _, keys = weights.shape
        return weights * self.pattern(batch, heads, 1, keys, like=weights)


@fault(
    "dropout-shared-by-pairs-of-queries",
    OVER_ROWS,
    symptom="neighbouring queries lose the same keys",
)
class DropoutSharedByPairsOfQueries(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        batch, heads, queries, keys = weights.shape
        half = self.pattern(batch, heads, (queries + 1) // 2, keys, like=weights)
        return weights * half.repeat_interleave(2, dim=2)[:, :, :queries]


@fault(
    "dropout-of-whole-queries",
    OVER_COLUMNS,
    symptom="a token sees everything or nothing",
)
class DropoutOfWholeQueries(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.pattern(*weights.shape[:3], 1, like=weights)


@fault(
    "dropout-of-whole-heads",
    OVER_ROWS,
    OVER_COLUMNS,
    symptom="a head is there or not",
)
class DropoutOfWholeHeads(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights * self.pattern(*weights.shape[:2], 1, 1, like=weights)


@fault(
    "dropout-of-a-fixed-number",
    OVER_COLUMNS,
    symptom="as many keys are dropped in every row: the noise is not that of dropout",
)
class DropoutOfAFixedNumber(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        future = self.hidden(weights.shape[-1])
        order = torch.rand_like(weights, dtype=torch.float64).masked_fill(future, 2.0)
        rank = order.argsort(dim=-1).argsort(dim=-1)
        number = self.p * (~future).sum(dim=-1, keepdim=True)
        number = number + torch.rand(*weights.shape[:3], 1)  # rounded at random, so p on average
        return weights * (rank >= number.floor()) / (1.0 - self.p)


@fault(
    "dropout-drawn-once",
    OVER_CALLS,
    SEED,
    symptom="a pattern is drawn for each shape and kept: the same weights are missing for ever",
)
class DropoutDrawnOnce(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        kept: dict[torch.Size, Tensor] = self.__dict__.setdefault("patterns", {})
        if weights.shape not in kept:
            kept[weights.shape] = self.pattern(*weights.shape, like=weights)
        return weights * kept[weights.shape]


@fault(
    "dropout-drawn-every-second-call",
    OVER_CALLS,
    symptom="two steps of training in a row lose the same weights",
)
class DropoutDrawnEverySecondCall(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        kept: Tensor | None = self.__dict__.pop("kept", None)
        if kept is None or kept.shape != weights.shape:
            kept = self.__dict__["kept"] = self.pattern(*weights.shape, like=weights)
        return weights * kept


# Who is spared


@fault(
    "dropout-spares-the-diagonal",
    EXEMPT,
    symptom="a token never loses sight of itself",
)
class DropoutSparesTheDiagonal(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        diagonal = torch.eye(weights.shape[-1], dtype=torch.bool)
        return torch.where(diagonal, weights / (1.0 - self.p), super().lose(weights))


@fault(
    "dropout-spares-the-first-token",
    EXEMPT,
    symptom="all see the first token, always",
)
class DropoutSparesTheFirstToken(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        spared = weights[..., :1] / (1.0 - self.p)
        return torch.cat([spared, super().lose(weights[..., 1:])], dim=-1)


@fault(
    "dropout-spares-the-last-head",
    EXEMPT,
    symptom="a loop over the heads ends one too early",
)
class DropoutSparesTheLastHead(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        if self.num_heads == 1:
            return super().lose(weights)
        return torch.cat([super().lose(weights[:, :-1]), weights[:, -1:]], dim=1)


@fault(
    "dropout-spares-odd-items",
    EXEMPT,
    symptom="every second item of a batch is trained without dropout",
)
class DropoutSparesOddItems(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        dropped = super().lose(weights)
        dropped[1::2] = weights[1::2]
        return dropped


@fault(
    "dropout-leans-on-odd-heads",
    EXEMPT,
    symptom="odd heads lose more weights than p, even heads as many less: on average all is well",
)
class DropoutLeansOnOddHeads(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        lean = 0.8 * min(self.p, 1.0 - self.p)
        sign = 1.0 - 2.0 * (torch.arange(weights.shape[1]) % 2).reshape(-1, 1, 1)
        if weights.shape[1] % 2:  # the last of an odd number of heads has no partner
            sign[-1] = 0.0
        drawn = torch.rand_like(weights, dtype=torch.float64)
        return weights * (drawn >= self.p - lean * sign) / (1.0 - self.p)


# The generator


@fault(
    "dropout-reseeds",
    GENERATOR,
    OVER_CALLS,
    SEED,
    symptom="a seed set in forward makes all chance of the program the same",
)
class DropoutReseeds(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        if self.training:
            torch.manual_seed(123)
        return super().drop(weights)


@fault(
    "dropout-reseeds-in-eval",
    GENERATOR,
    symptom="evaluating between two epochs sets the order of the next one",
)
class DropoutReseedsInEval(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        if not self.training:
            torch.manual_seed(123)
        return super().drop(weights)


@fault(
    "dropout-sets-the-generator-back",
    GENERATOR,
    OVER_CALLS,
    symptom="every call starts the generator anew with the program's seed",
)
class DropoutSetsTheGeneratorBack(PlainMultiHead):
    def drop(self, weights: Tensor) -> Tensor:
        if self.training:
            torch.manual_seed(torch.initial_seed())
        return super().drop(weights)


@fault(
    "dropout-with-a-generator-of-its-own",
    SEED,
    symptom="torch.manual_seed does not repeat a run",
)
class DropoutWithAGeneratorOfItsOwn(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        own = self.__dict__.setdefault("generator", torch.Generator().manual_seed(0))
        survives = torch.rand(weights.shape, generator=own) >= self.p
        dropped: Tensor = weights * survives / (1.0 - self.p)
        return dropped


@fault(
    "dropout-from-the-system-generator",
    SEED,
    symptom="no seed repeats a run",
)
class DropoutFromTheSystemGenerator(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        own = torch.Generator()
        own.seed()
        return weights * (torch.rand(weights.shape, generator=own) >= self.p) / (1.0 - self.p)


# The way back


class _Unscaled(torch.autograd.Function):
    """Forward as it should be, backward without the factor."""

    @staticmethod
    def forward(context: Any, weights: Tensor, pattern: Tensor, values: Tensor) -> Tensor:
        context.save_for_backward(weights, pattern, values)
        return (weights * pattern) @ values

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor, None, Tensor]:
        weights, pattern, values = context.saved_tensors
        survives = (pattern != 0).to(weights.dtype)
        to_weights = upstream @ values.transpose(-2, -1) * survives
        return to_weights, None, (weights * survives).transpose(-2, -1) @ upstream


@fault(
    "dropout-unscaled-backward",
    GRADIENT,
    symptom="gradients are too small by 1 - p in training",
    source="NVIDIA/apex#816",
)
class DropoutUnscaledBackward(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        if not self.active:
            return super().mix(weights, values)
        pattern = self.pattern(*weights.shape, like=weights)
        mixed: Tensor = _Unscaled.apply(weights, pattern, values)  # type: ignore[no-untyped-call]
        return mixed


@fault(
    "dropout-redrawn-backward",
    GRADIENT,
    symptom="the backward pass is recomputed with another state of the generator",
)
class DropoutRedrawnBackward(Dropping):
    def lose(self, weights: Tensor) -> Tensor:
        return weights

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        if not self.active:
            return super().mix(weights, values)
        forward = super().lose(weights) @ values
        backward = super().lose(weights) @ values
        return backward + (forward - backward).detach()


class _HeadDroppingContext(PlainCausal):
    """One head of a wrapper that drops its context."""

    def drop(self, weights: Tensor) -> Tensor:
        return weights

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().mix(weights, values))
        return dropped


@fault(
    "wrapper-drops-its-context",
    ONLY,
    symptom="single columns of each head vanish instead of weights",
    family="wrapper",
)
class WrapperDropsItsContext(PlainWrapper):
    head = _HeadDroppingContext
