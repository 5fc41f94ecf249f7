"""Steps with a number of their own, from the softmax on: what is left out, spread or rounded.

Legend: B batch, H heads, T queries, S keys, E columns of a value.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.request import Seen
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong.bare import as_many_keys, bare, giving, of_weights


def shown(vector: Vector) -> Array:
    """Scores, minus infinity where a key is hidden, (B, H, T, S)."""
    attended = vector.call.attended
    return np.where(attended.seen, attended.logits, -np.inf)


def spread(seen: Seen) -> Array:
    """The same weight for all that is seen."""
    return seen / seen.sum(axis=-1, keepdims=True)


def best(scores: Array, number: int) -> Array:
    """Of each row the score of this rank, or the least, (B, H, T, 1)."""
    rank = min(number, scores.shape[-1])
    return np.sort(scores, axis=-1)[..., [-rank]]


@bare("a tenth of the weights of the head before")
def talking(vector: Vector) -> Parts:
    """A mixing of the heads' weights was left in."""
    weights = vector.call.attended.weights
    return of_weights(vector.call, 0.9 * weights + 0.1 * np.roll(weights, 1, axis=1))


@bare("a thousandth more in the denominator")
def guarded(vector: Vector) -> Parts:
    """1e-3 beside the sum of exponentials: rows sum to a little less than one."""
    scores = shown(vector)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return of_weights(vector.call, exponentials / (exponentials.sum(axis=-1, keepdims=True) + 1e-3))


@bare("only the best 4 keys seen")
def four(vector: Vector) -> Call:
    """Of a long text four tokens are seen."""
    scores = shown(vector)
    return vector.call.seeing(scores >= best(scores, 4))


@bare("threshold of the best 3 before the mask")
def threshold(vector: Vector) -> Call | None:
    """Of the past only what the best scores of the future leave is seen, and oneself."""
    if not vector.options.causal or not as_many_keys(vector):
        return None
    scores = vector.call.attended.logits
    own = np.diagonal(scores, axis1=-2, axis2=-1)[..., None]
    return vector.call.seeing(scores >= np.minimum(best(scores, 3), own))


@bare("scores rectified")
def rectified(vector: Vector) -> Parts | None:
    """No exponential: keys with a negative score are not seen, and oneself has 1e-3 more."""
    if not as_many_keys(vector):
        return None
    kept = np.maximum(shown(vector), 0.0) + 1e-3 * np.eye(vector.shape[3])
    return of_weights(vector.call, kept / kept.sum(axis=-1, keepdims=True))


@bare("a hundredth of the weights spread")
def smoothed(vector: Vector) -> Parts:
    """A share of every row goes to all that is seen."""
    attended = vector.call.attended
    return of_weights(vector.call, 0.99 * attended.weights + 0.01 * spread(attended.seen))


@bare("weights rounded to two decimals")
def rounded(vector: Vector) -> Parts:
    """Weights as they are printed: rows do not sum to one."""
    return of_weights(vector.call, np.round(100.0 * vector.call.attended.weights) / 100.0)


@bare("weights multiplied by lengths of values")
def looking(vector: Vector) -> Parts:
    """Long values are seen more than short ones: weights times one and the square of the length."""
    call = vector.call
    seen = call.attended.weights * (1.0 + np.square(call.values).sum(axis=-1))[..., None, :]
    return of_weights(call, seen / seen.sum(axis=-1, keepdims=True))


@bare("window of 8 left on")
def window(vector: Vector) -> Call | None:
    """Texts of more than eight tokens forget their beginning."""
    if not as_many_keys(vector):
        return None
    places = np.arange(vector.shape[3])
    return vector.call.seeing(places > places[:, None] - 8)


@bare("first key evicted after 10 tokens")
def evicted(vector: Vector) -> Call | None:
    """A buffer of ten is full: from the eleventh token on the first one is not seen any more."""
    if not as_many_keys(vector):
        return None
    places = np.arange(vector.shape[3])
    return vector.call.seeing((places > 0) | (places[:, None] < 10))


@bare("output times 0.99")
def shrunk(vector: Vector) -> Parts:
    """One part in a hundred too small."""
    return giving(vector.call, 0.99 * vector.call.parts.output)


@bare("twice the output less the mean of what is seen")
def extrapolated(vector: Vector) -> Parts:
    """Weights are sharpened, and some are negative."""
    attended = vector.call.attended
    return of_weights(vector.call, 2.0 * attended.weights - spread(attended.seen))
