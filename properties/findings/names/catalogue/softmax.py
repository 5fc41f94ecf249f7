"""Wrong ways from scores to weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.findings.names.arithmetic import moved, over, plus, softmax, through, times, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula, Masked, Seen
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES, HEADED_FAMILIES, JOINED_FAMILIES
from properties.truth.bounds import Near, gamma

AXIS = "the dim of the softmax; it should be -1, the keys"
FUNCTION = "the function between scores and weights"


def along(axis: int, called: str, families: frozenset[str]) -> None:
    """Enter a softmax along an axis of (B, H, T, T): what is hidden everywhere gives NaN, or zero if
    that is mended, or an even share if it is the lowest number.
    """

    @wrong(called, AXIS, families)
    class Along(Formula):
        """NaN where all is hidden, as it is along the keys."""

        def normalise(self, masked: Masked) -> Near:
            return softmax(masked.scores, masked.seen, axis, self.fmt, masked.nothing)

    @wrong(called, AXIS, families)
    class AlongMended(Along):
        """Zero where all is hidden."""

        def hide(self, scores: Near) -> Masked:
            return replace(super().hide(scores), nothing=0.0)

    @wrong(called, AXIS, families)
    class AlongFinite(Along):
        """An even share where all is hidden."""

        def hide(self, scores: Near) -> Masked:
            return replace(super().hide(scores), nothing=None)


along(-2, "softmax over the queries", frozenset(FAMILIES))
along(1, "softmax over the heads", JOINED_FAMILIES)
along(0, "softmax over the batch", frozenset(FAMILIES))


def kept(weights: Near, seen: Seen) -> Near:
    """Zero where a key is hidden."""
    return moved(weights, lambda array: np.where(seen, array, 0.0))


def each_by_itself(
    called: str, function: Callable[[Formula, Near], Near], *, normalised: bool = False
) -> None:
    """Enter weights that are a function of their score alone, if wanted divided by their sum."""

    @wrong(called, FUNCTION, FAMILIES)
    class EachByItself(Formula):
        """Another function."""

        def normalise(self, masked: Masked) -> Near:
            weights = kept(function(self, masked.scores), masked.seen)
            return over(weights, total(weights, -1, self.fmt), self.fmt) if normalised else weights


def rectified(formula: Formula, scores: Near) -> Near:
    """max(scores, 0), which is exact."""
    error = np.where(scores.value < -scores.error, 0, scores.error)
    return Near(np.maximum(scores.value, 0.0), error)


def sigmoid(formula: Formula, scores: Near) -> Near:
    """1 / (1 + exp(-scores))."""
    return through(scores, lambda z: 1.0 / (1.0 + np.exp(-z)), 0.25, formula.fmt)


def exponential(formula: Formula, scores: Near) -> Near:
    """exp(scores)."""
    value = np.exp(scores.value)
    grown = np.exp(scores.error + 16 * formula.fmt.unit_roundoff * (scores.size + 1.0))
    return Near(value, value * (grown - 1.0))


each_by_itself("softmax missing: scores are used as weights", lambda f, scores: scores)
each_by_itself(
    "exponential missing: scores are divided by their sum",
    lambda f, scores: scores,
    normalised=True,
)
each_by_itself("relu for softmax", rectified)
each_by_itself("relu for the exponential of the softmax", rectified, normalised=True)
each_by_itself("sigmoid for softmax", sigmoid)
each_by_itself("exponentials not normalised", exponential)


@wrong("softmax missing: scores are used as weights", FUNCTION, CAUSAL_FAMILIES)
class ScoresWithInfinity(Formula):
    """Hidden scores are minus infinity, and stay so."""

    def normalise(self, masked: Masked) -> Near:
        seen = np.broadcast_to(masked.seen, masked.scores.value.shape)
        return Near(np.where(seen, masked.scores.value, -np.inf), masked.scores.error)


for epsilon in (1e-3, 1e-5, 1e-6, 1e-8, 1e-9, 1e-10, 1e-12):

    @wrong("a small number added to the sum of the exponentials", FUNCTION, FAMILIES, alone=True)
    class Epsilon(Formula):
        """Rows sum to a little less than one."""

        epsilon = epsilon

        def normalise(self, masked: Masked) -> Near:
            weights, scores = super().normalise(masked), masked.scores
            shown = np.where(masked.seen, scores.value, -np.inf)
            largest = shown.max(axis=-1, keepdims=True)
            sums = np.exp(shown - largest).sum(axis=-1, keepdims=True)
            worst = np.where(masked.seen, scores.error, 0.0).max(axis=-1, keepdims=True)
            off = np.expm1(2.0 * worst) + gamma(4 * self.sizes.tokens + 16, self.fmt)
            return over(weights, Near(1.0 + self.epsilon / sums, off * self.epsilon), self.fmt)


@wrong("logarithm of the softmax", FUNCTION, FAMILIES)
class LogSoftmax(Formula):
    """log_softmax written for softmax: z - log(sum(exp(z))), which is no steeper than its steepest z."""

    def normalise(self, masked: Masked) -> Near:
        scores, seen = masked.scores, masked.seen
        shown = np.where(seen, scores.value, -np.inf)
        largest = shown.max(axis=-1, keepdims=True)
        sums = np.exp(shown - largest).sum(axis=-1, keepdims=True)
        off = scores.error + 6 * self.fmt.unit_roundoff * (scores.size + 1.0)
        worst = np.where(seen, off, 0.0).max(axis=-1, keepdims=True)
        rounding = gamma(4 * self.sizes.tokens + 16, self.fmt)
        size = scores.size + np.abs(largest) + np.log(sums) + 1.0
        logarithms = scores.value - largest - np.log(sums)
        return kept(Near(logarithms, off + worst + rounding * size), seen)


@wrong("one more in the denominator of the softmax", FUNCTION, FAMILIES)
class OffByOne(Formula):
    """A key of score zero and value zero is seen besides."""

    def normalise(self, masked: Masked) -> Near:
        def one_more(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array, np.zeros_like(array[..., :1])], axis=-1)

        seen = np.broadcast_to(masked.seen, masked.scores.value.shape)
        also = np.concatenate([seen, np.ones_like(seen[..., :1])], axis=-1)
        weights = softmax(moved(masked.scores, one_more), also, -1, self.fmt)
        return moved(weights, lambda array: array[..., :-1])


@wrong("powers of 2 for powers of e", FUNCTION, FAMILIES)
class PowersOfTwo(Formula):
    """exp2 without the factor log2(e)."""

    def normalise(self, masked: Masked) -> Near:
        scores = times(masked.scores, np.log(2.0), self.fmt)
        return super().normalise(replace(masked, scores=scores))


@wrong("softmax twice", FUNCTION, FAMILIES)
class Twice(Formula):
    """Once by hand and once by the layer."""

    def normalise(self, masked: Masked) -> Near:
        return super().normalise(replace(masked, scores=super().normalise(masked)))


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

    def drop(self, weights: Near) -> Near:
        mean = times(total(weights, -1, self.fmt), -1.0 / self.sizes.tokens, self.fmt)
        return super().drop(plus(weights, mean, self.fmt))


@wrong("weights times the number of tokens", "a sum in place of a mean", FAMILIES)
class TimesTokens(Formula):
    """A sum over the tokens, not their mean."""

    def drop(self, weights: Near) -> Near:
        return super().drop(times(weights, float(self.sizes.tokens), self.fmt))


@wrong("exponential without subtracting the maximum", "exp(scores) of large scores", FAMILIES)
class WithoutMaximum(Formula):
    """Right until an exponential overflows: then infinity by infinity; or until all are below the least
    number: then zero by zero.
    """

    def normalise(self, masked: Masked) -> Near:
        weights, scores = super().normalise(masked), masked.scores
        limit, least = np.log(self.fmt.largest), np.log(self.fmt.spacing_at_zero) - 2.0
        seen = np.broadcast_to(masked.seen, scores.value.shape)
        with np.errstate(over="ignore"):
            exponentials = np.where(seen, np.exp(scores.value), 0.0)
        exponentials = np.where(exponentials > self.fmt.largest, np.inf, exponentials)
        lost = (~seen | (scores.value + scores.error < least)).all(axis=-1, keepdims=True)
        exponentials = np.where(lost, 0.0, exponentials)
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

    def drop(self, weights: Near) -> Near:
        mean = times(total(weights, 1, self.fmt), 1.0 / self.sizes.heads, self.fmt)
        return super().drop(moved(mean, lambda array: np.repeat(array, self.sizes.heads, axis=1)))
