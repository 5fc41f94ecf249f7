"""Another formula where softmax(scale q . k) v was meant.

Legend: B batch, H heads, T queries, S keys, D head_dim, E columns of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.attend import repeated
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong.bare import bare, giving, of_logits, of_weights, telling

LARGEST, SMALLEST = float(np.finfo(np.float32).max), 2.0**-150


def scaled(called: str, words: str, scale: Callable[[int], float]) -> None:
    """Enter another scale, from D."""

    def of_width(vector: Vector) -> Call:
        return telling(vector.call, scale(vector.call.queries.shape[-1]))

    of_width.__doc__ = words
    bare(called)(of_width)


scaled(
    "scale 2/D", "A root that is written D ** 1 / 2, which is half of D.", lambda width: 2.0 / width
)
scaled("scale of 64 columns", "One over eight, whatever the width.", lambda width: 0.125)
scaled(
    "scale by a whole root",
    "Right for 16 or 64 columns, wrong for 48 or 80.",
    lambda width: 1.0 / math.isqrt(width),
)
scaled("scores ignored", "Each query reads the mean of what it sees.", lambda width: 0.0)
scaled("scores negated", "The least alike get most.", lambda width: -(width**-0.5))
scaled(
    "powers of two for powers of e",
    "Exponentials of base two without the factor log2(e): weights are blunt.",
    lambda width: math.log(2.0) * width**-0.5,
)


@bare("scale in the first head alone")
def first_scaled(vector: Vector) -> Call:
    """All heads but one are too sharp."""
    call = vector.call
    queries = np.array(call.queries)
    queries[:, 1:] *= queries.shape[-1] ** 0.5
    return replace(call, queries=queries)


@bare("scale after the softmax")
def scale_of_weights(vector: Vector) -> Parts:
    """Weights are divided, and not scores: rows sum to 1 / sqrt(D)."""
    call = vector.call
    factor = call.request.factor(call.queries.shape[-1])
    return of_weights(call, telling(call, 1.0).attended.weights * factor)


@bare("scores without sign")
def without_sign(vector: Vector) -> Parts:
    """Opposite keys are seen as well as equal ones."""
    return of_logits(vector.call, np.abs(vector.call.attended.logits))


@bare("queries normalised")
def normalised(vector: Vector) -> Call:
    """A norm that the formula does not have."""
    call = vector.call
    mean = np.square(call.queries).mean(axis=-1, keepdims=True)
    return replace(call, queries=call.queries / np.sqrt(mean + 2.0**-23))


@bare("positions added to keys")
def positions_added(vector: Vector) -> Call:
    """The number of a key is added to its columns."""
    call = vector.call
    return replace(call, keys=call.keys + np.arange(call.shape[3])[:, None])


def turned(base: float) -> None:
    """Enter a turn of queries and keys by their positions, first half of columns with second."""

    @bare("rotary positions left on")
    def rotary_left_on(vector: Vector) -> Call:
        """Nobody asked for positions."""
        call = vector.call

        def of(part: Array) -> Array:
            half = part.shape[-1] // 2
            angle = np.arange(part.shape[2])[:, None] * base ** -(np.arange(half) / max(half, 1))
            a, b, rest = part[..., :half], part[..., half : 2 * half], part[..., 2 * half :]
            sine, cosine = np.sin(angle), np.cos(angle)
            return np.concatenate([a * cosine - b * sine, a * sine + b * cosine, rest], axis=-1)

        return replace(call, queries=of(call.queries), keys=of(call.keys))


turned(1.0)
turned(10000.0)


@bare("sigmoid for softmax")
def sigmoid(vector: Vector) -> Parts:
    """Each weight is right on its own, and rows sum to anything."""
    attended = vector.call.attended
    weights = np.where(attended.seen, 1.0 / (1.0 + np.exp(-attended.logits)), 0.0)
    return of_weights(vector.call, weights)


@bare("one more in the denominator")
def off_by_one(vector: Vector) -> Call:
    """A sink of zero that nobody asked for: rows sum to less than one."""
    call = vector.call
    return replace(call, request=replace(call.request, sink=np.zeros(call.shape[1])))


@bare("logarithms for weights")
def logarithms(vector: Vector) -> Parts:
    """The logarithm of the softmax for the softmax."""
    attended = vector.call.attended
    weights = np.where(attended.seen, attended.logits - attended.lse[..., None], 0.0)
    return of_weights(vector.call, weights)


@bare("scores divided by their sum")
def without_exponential(vector: Vector) -> Parts:
    """No exponential: negative scores give negative weights."""
    attended = vector.call.attended
    kept = np.where(attended.seen, attended.logits, 0.0)
    return of_weights(vector.call, kept / kept.sum(axis=-1, keepdims=True))


@bare("weights multiplied by the number of keys")
def summed(vector: Vector) -> Parts:
    """A sum where a mean was meant."""
    return of_weights(vector.call, vector.call.attended.weights * vector.shape[3])


@bare("one maximum for all rows")
def one_maximum(vector: Vector) -> Parts:
    """0 / 0 in rows whose scores lie far below another row's, in a format of eight bits of exponent."""
    attended = vector.call.attended
    logits = np.where(attended.seen, attended.logits, -np.inf)
    numbers = np.exp(logits - logits.max())
    numbers[numbers < SMALLEST] = 0.0
    return of_weights(vector.call, numbers / numbers.sum(axis=-1, keepdims=True))


@bare("softmax in bfloat16")
def in_bfloat16(vector: Vector) -> Parts:
    """Scores and weights keep two digits, in any format."""
    call, short = vector.call, FORMATS["bfloat16"]
    parts = of_logits(call, short.round(call.attended.logits))
    return of_weights(call, short.round(parts.weights))


@bare("mean of all values taken out")
def centred(vector: Vector) -> Parts:
    """Weights, or values, less their mean over all keys."""
    call = vector.call
    values = repeated(call.values, call.shape[1])
    return giving(call, call.parts.output - values.mean(axis=2, keepdims=True))


@bare("largest share for the sum")
def largest(vector: Vector) -> Parts:
    """The strongest contribution counts, and not the sum of all."""
    call = vector.call
    values = repeated(call.values, call.shape[1])
    shares = call.attended.weights[..., None] * values[:, :, None]
    return giving(call, shares.max(axis=3))


@bare("output divided by its length")
def unit(vector: Vector) -> Parts:
    """Every output has length one."""
    output = vector.call.parts.output
    return giving(vector.call, output / np.linalg.norm(output, axis=-1, keepdims=True))


@bare("values rectified")
def rectified(vector: Vector) -> Call:
    """No output is ever negative."""
    return replace(vector.call, values=np.maximum(vector.call.values, 0.0))
