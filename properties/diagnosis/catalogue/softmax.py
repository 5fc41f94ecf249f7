"""Wrong ways from scores to weights."""

from __future__ import annotations

import numpy as np

from properties.bounds import Near, gamma
from properties.diagnosis.arithmetic import moved, over, plus, softmax, through, times, total
from properties.diagnosis.catalogue import wrong
from properties.diagnosis.formula import Formula
from properties.subject import FAMILIES, HEADED_FAMILIES

AXIS = "the dim of the softmax; it should be -1, the keys"
FUNCTION = "the function between scores and weights"


class AlongAxis(Formula):
    """Softmax along another axis of (B, H, T, T)."""

    axis = -1
    nothing = np.nan

    def normalise(self, scores: Near) -> Near:
        return softmax(scores, self.seen(), self.axis, self.fmt, self.nothing)


def along(axis: int, called: str, families: frozenset[str]) -> None:
    """Enter a softmax along an axis: what is hidden everywhere gives NaN, or zero if that is mended,
    or an even share if it is the lowest number.
    """

    @wrong(called, AXIS, families)
    class Along(AlongAxis):
        """NaN where all is hidden."""

    @wrong(called, AXIS, families)
    class AlongMended(AlongAxis):
        """Zero where all is hidden."""

        nothing = 0.0

    @wrong(called, AXIS, families)
    class AlongFinite(AlongAxis):
        """An even share where all is hidden."""

        def normalise(self, scores: Near) -> Near:
            even = 1.0 / scores.value.shape[self.axis]
            return softmax(scores, self.seen(), self.axis, self.fmt, even)

    for formula in (Along, AlongMended, AlongFinite):
        formula.axis = axis


along(-2, "softmax over the queries", frozenset(FAMILIES))
along(1, "softmax over the heads", frozenset({"multihead"}))
along(0, "softmax over the batch", frozenset(FAMILIES))


class Hidden(Formula):
    """Weights of which only those of visible keys are kept."""

    def kept(self, weights: Near) -> Near:
        """Zero where a key is hidden."""
        return moved(weights, lambda array: np.where(self.seen(), array, 0.0))

    def sum_to_one(self, weights: Near) -> Near:
        """Each row divided by its sum."""
        return over(weights, total(weights, -1, self.fmt), self.fmt)


@wrong("softmax missing: scores are used as weights", FUNCTION, FAMILIES)
class ScoresAsWeights(Hidden):
    """Not normalised at all."""

    def normalise(self, scores: Near) -> Near:
        return self.kept(scores)


@wrong("exponential missing: scores are divided by their sum", FUNCTION, FAMILIES)
class ScoresByTheirSum(Hidden):
    """Negative scores give negative weights."""

    def normalise(self, scores: Near) -> Near:
        return self.sum_to_one(self.kept(scores))


@wrong("relu for softmax", FUNCTION, FAMILIES)
class Rectified(Hidden):
    """Negative scores are not seen."""

    def normalise(self, scores: Near) -> Near:
        return self.kept(moved_up(scores))


@wrong("relu for the exponential of the softmax", FUNCTION, FAMILIES)
class RectifiedByTheirSum(Hidden):
    """Negative scores are not seen; a row without positive ones is 0/0."""

    def normalise(self, scores: Near) -> Near:
        return self.sum_to_one(self.kept(moved_up(scores)))


def moved_up(scores: Near) -> Near:
    """max(scores, 0), which is exact."""
    return Near(
        np.maximum(scores.value, 0.0), np.where(scores.value < -scores.error, 0, scores.error)
    )


@wrong("sigmoid for softmax", FUNCTION, FAMILIES)
class Sigmoid(Hidden):
    """Every weight by itself."""

    def normalise(self, scores: Near) -> Near:
        return self.kept(through(scores, lambda z: 1.0 / (1.0 + np.exp(-z)), 0.25, self.fmt))


@wrong("exponentials not normalised", FUNCTION, FAMILIES)
class Exponentials(Hidden):
    """The division by the sum is missing."""

    def normalise(self, scores: Near) -> Near:
        value = np.exp(scores.value)
        grown = np.exp(scores.error + 16 * self.fmt.unit_roundoff * (scores.size + 1.0))
        return self.kept(Near(value, value * (grown - 1.0)))


@wrong("logarithm of the softmax", FUNCTION, FAMILIES)
class LogSoftmax(Hidden):
    """log_softmax written for softmax: z - log(sum(exp(z))), which is no steeper than its steepest z."""

    def normalise(self, scores: Near) -> Near:
        shown = np.where(self.seen(), scores.value, -np.inf)
        largest = shown.max(axis=-1, keepdims=True)
        sums = np.exp(shown - largest).sum(axis=-1, keepdims=True)
        off = scores.error + 6 * self.fmt.unit_roundoff * (scores.size + 1.0)
        worst = np.where(self.seen(), off, 0.0).max(axis=-1, keepdims=True)
        rounding = gamma(4 * self.sizes.tokens + 16, self.fmt)
        size = scores.size + np.abs(largest) + np.log(sums) + 1.0
        return self.kept(Near(scores.value - largest - np.log(sums), off + worst + rounding * size))


@wrong("one more in the denominator of the softmax", FUNCTION, FAMILIES)
class OffByOne(Formula):
    """A key of score zero and value zero is seen besides."""

    def normalise(self, scores: Near) -> Near:
        def one_more(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array, np.zeros_like(array[..., :1])], axis=-1)

        seen = np.broadcast_to(self.seen(), scores.value.shape)
        also = np.concatenate([seen, np.ones_like(seen[..., :1])], axis=-1)
        weights = softmax(moved(scores, one_more), also, -1, self.fmt)
        return moved(weights, lambda array: array[..., :-1])


@wrong("powers of 2 for powers of e", FUNCTION, FAMILIES)
class PowersOfTwo(Formula):
    """exp2 without the factor log2(e)."""

    def normalise(self, scores: Near) -> Near:
        return super().normalise(times(scores, np.log(2.0), self.fmt))


@wrong("softmax twice", FUNCTION, FAMILIES)
class Twice(Formula):
    """Once by hand and once by the layer."""

    def normalise(self, scores: Near) -> Near:
        return super().normalise(super().normalise(scores))


@wrong("scores ignored: all that is seen weighs the same", "queries and keys", FAMILIES)
class Even(Formula):
    """The mean of what is seen."""

    @property
    def factor(self) -> float:
        return 0.0


@wrong("sign of the scores lost", FUNCTION, FAMILIES)
class WithoutSign(Formula):
    """Opposite keys are seen like equal ones."""

    def scale(self, scores: Near) -> Near:
        scaled = super().scale(scores)
        return Near(scaled.size, scaled.error)


@wrong("mean subtracted from the weights", FUNCTION, FAMILIES)
class Centred(Formula):
    """Weights of each row sum to zero."""

    def normalise(self, scores: Near) -> Near:
        weights = super().normalise(scores)
        mean = times(total(weights, -1, self.fmt), -1.0 / self.sizes.tokens, self.fmt)
        return plus(weights, mean, self.fmt)


@wrong("weights times the number of tokens", "a sum in place of a mean", FAMILIES)
class TimesTokens(Formula):
    """A sum over the tokens, not their mean."""

    def normalise(self, scores: Near) -> Near:
        return times(super().normalise(scores), float(self.sizes.tokens), self.fmt)


@wrong("exponential without subtracting the maximum", "exp(scores) of large scores", FAMILIES)
class WithoutMaximum(Formula):
    """Right until an exponential overflows: then infinity by infinity."""

    def normalise(self, scores: Near) -> Near:
        weights = super().normalise(scores)
        limit = np.log(self.fmt.largest)
        seen = np.broadcast_to(self.seen(), scores.value.shape)
        with np.errstate(over="ignore"):
            exponentials = np.where(seen, np.exp(scores.value), 0.0)
        exponentials = np.where(exponentials > self.fmt.largest, np.inf, exponentials)
        sums = exponentials.sum(axis=-1, keepdims=True)
        near_the_limit = seen & (np.abs(scores.value - limit) <= scores.error + 1.0)
        unsure = near_the_limit.any(axis=-1, keepdims=True) | (sums < self.fmt.smallest_normal)
        overflows = np.isinf(sums) | (sums == 0)
        value = np.where(overflows, exponentials / sums, weights.value)
        error = np.where(unsure & (sums > 0), np.inf, weights.error)
        return Near(value, np.where(overflows, 0.0, error))


@wrong("every head gets the mean of all heads' weights", "the axes of a mean", HEADED_FAMILIES)
class MeanOfHeads(Formula):
    """The weights as they are returned for display were used."""

    def normalise(self, scores: Near) -> Near:
        weights = super().normalise(scores)
        mean = times(total(weights, 1, self.fmt), 1.0 / self.sizes.heads, self.fmt)
        return moved(mean, lambda array: np.repeat(array, self.sizes.heads, axis=1))
