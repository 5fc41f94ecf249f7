"""Scores of queries and keys that were changed first, or that something was done to.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.arithmetic import moved, normalised, plus, through, times, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula, Masked
from properties.subjects.subject import FAMILIES, HEADED_FAMILIES
from properties.truth.bounds import Near
from properties.truth.parameters import Sizes

BEFORE = "what is done to queries and keys before their product"
AFTER = "what is added to the scores, or done to them"
Change = Callable[[Formula, Near], Near]
BOTH = (True, True)


def changing(called: str, change: Change, which: tuple[bool, bool] = BOTH) -> None:
    """Enter scores of changed queries, keys or both."""

    @wrong(called, BEFORE, FAMILIES, alone=True)
    class Changed(Formula):
        """Others are multiplied."""

        def score(self, queries: Near, keys: Near) -> Near:
            parts = zip((queries, keys), which, strict=True)
            return super().score(*(change(self, p) if chosen else p for p, chosen in parts))


def turned(frequencies: Callable[[int], Array], *, neighbours: bool) -> Change:
    """Coordinates in pairs, turned by their token's number times a frequency for each pair; a pair is
    two neighbours, or one coordinate of each half.
    """

    def turn(formula: Formula, part: Near) -> Near:
        tokens, dims = part.value.shape[-2:]
        half = dims // 2
        first = 2 * np.arange(half) if neighbours else np.arange(half)
        second = first + 1 if neighbours else first + half
        angles = np.arange(tokens)[:, None] * frequencies(half)
        value, error = part.value.copy(), part.error.copy()
        a, b = (Near(part.value[..., i], part.error[..., i]) for i in (first, second))
        for places, sign, x, y in ((first, -1.0, a, b), (second, 1.0, b, a)):
            cosine = times(x, np.cos(angles), formula.fmt)
            turned = plus(cosine, times(y, sign * np.sin(angles), formula.fmt), formula.fmt)
            value[..., places], error[..., places] = turned.value, turned.error
        off = 8.0 * formula.fmt.unit_roundoff * (tokens + 1.0)  # of the angles themselves
        return Near(value, error + off * np.abs(part.value).max(axis=-1, keepdims=True))

    return turn


def usual(half: int) -> Array:
    """The frequencies of rotary positions."""
    return np.asarray(10000.0 ** (-np.arange(half) / max(1, half)))


def even(half: int) -> Array:
    """One for all pairs."""
    return np.ones(half)


for frequencies in (usual, even):
    for neighbours in (True, False):
        changing(
            "queries and keys turned by their position: rotary embeddings inside",
            turned(frequencies, neighbours=neighbours),
        )


def of_length_one(formula: Formula, part: Near) -> Near:
    """Over the root of the sum of squares."""
    rms = normalised(part, formula.fmt)
    return times(rms, part.value.shape[-1] ** -0.5, formula.fmt)


def root_mean_square(formula: Formula, part: Near) -> Near:
    """Over the root of the mean square, as rms_norm has it."""
    return normalised(part, formula.fmt, epsilon=2.0 * formula.fmt.unit_roundoff)


WHICH = {"queries": (True, False), "keys": (False, True), "queries and keys": BOTH}
for name, which in WHICH.items():
    changing(f"{name} normalised before their product", root_mean_square, which)
    changing(f"{name} normalised before their product", of_length_one, which)
    changing(f"{name} through tanh", lambda f, p: through(p, np.tanh, 1.0, f.fmt), which)
    for limit in (1.0, 2.0, 4.0, 6.0, 8.0):
        changing(
            f"{name} cut off at {limit:g}",
            lambda f, p, limit=limit: Near(p.value.clip(-limit, limit), p.error),  # type: ignore[misc]
            which,
        )


def numbered(formula: Formula, part: Near) -> Near:
    """The number of the token added to all coordinates."""
    places = np.arange(float(part.value.shape[-2]))[:, None]
    return plus(part, Near(places, np.zeros_like(places)), formula.fmt)


changing("number of the token added to its key", numbered, (False, True))


@wrong("first coordinate of queries and keys counts twice", BEFORE, FAMILIES)
class FirstCoordinateTwice(Formula):
    """Blocks of coordinates overlap."""

    def score(self, queries: Near, keys: Near) -> Near:
        first = (moved(part, lambda array: array[..., :1]) for part in (queries, keys))
        return plus(super().score(queries, keys), super().score(*first), self.fmt)


def adding(called: str, bias: Callable[[Sizes], Array], families: frozenset[str]) -> None:
    """Enter a bias of the scaled scores."""

    @wrong(called, AFTER, families, alone=True)
    class Biased(Formula):
        """Something is added."""

        def scale(self, scores: Near) -> Near:
            added = np.broadcast_to(bias(self.sizes), scores.value.shape)
            return plus(super().scale(scores), Near(added, np.zeros_like(added)), self.fmt)


def distance(s: Sizes) -> Array:
    """How far each key is from each query, (T, T)."""
    places = np.arange(float(s.tokens))
    return np.abs(places[:, None] - places)


def by_head(slopes: Callable[[int], Array]) -> Callable[[Sizes], Array]:
    """A penalty for distance with a slope for each head, (H, T, T)."""
    return lambda s: -slopes(s.heads)[:, None, None] * distance(s)


DISTANCE = "distance between query and key subtracted from the scores"
for slope in (1.0, 0.5, 0.25, 0.125):
    adding(DISTANCE, lambda s, slope=slope: -slope * distance(s), frozenset(FAMILIES))  # type: ignore[misc]
for slopes in (
    lambda heads: 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads),
    lambda heads: np.arange(1, heads + 1) / 4.0,
):
    adding(DISTANCE, by_head(slopes), HEADED_FAMILIES)
adding(
    "first token counts twice",
    lambda s: np.where(np.arange(s.tokens) == 0, 0.6931, 0.0),
    frozenset(FAMILIES),
)


@wrong("key bias added to the scores of the diagonal", "where the key bias is added")
class KeyBiasOnTheDiagonal(Formula):
    """It should not show at all."""

    def scale(self, scores: Near) -> Near:
        bias = self.bias("key")
        if bias is None:
            return super().scale(scores)
        queries = self.parts[0]
        own = bias.reshape(-1, 1, queries.value.shape[-1])
        added = total(times(queries, own, self.fmt), -1, self.fmt)
        spread = moved(added, lambda array: array * np.eye(self.sizes.tokens))
        return super().scale(plus(scores, spread, self.fmt))


for limit in (10.0, 20.0, 30.0, 50.0):

    @wrong(f"scores capped at {limit:g} by tanh", AFTER, FAMILIES, alone=True)
    class Capped(Formula):
        """A soft limit."""

        limit = limit

        def scale(self, scores: Near) -> Near:
            part = times(super().scale(scores), 1.0 / self.limit, self.fmt)
            return times(through(part, np.tanh, 1.0, self.fmt), self.limit, self.fmt)


for limit in (5.0, 10.0, 20.0, 50.0, 100.0):

    @wrong(f"scores cut off at {limit:g}", AFTER, FAMILIES, alone=True)
    class Cut(Formula):
        """A hard limit."""

        limit = limit

        def scale(self, scores: Near) -> Near:
            scaled = super().scale(scores)
            return Near(scaled.value.clip(-self.limit, self.limit), scaled.error)


def best(number: int) -> None:
    """Enter a softmax over the largest scores alone."""

    @wrong(f"{number} best scores alone are seen", "a topk of the scores", FAMILIES, alone=True)
    class Best(Formula):
        """So many of those that are seen, or all if they are fewer."""

        def hide(self, scores: Near) -> Masked:
            masked = super().hide(scores)
            shown = np.where(masked.seen, scores.value, -np.inf)
            least = np.sort(shown, axis=-1)[..., -min(number, shown.shape[-1])]
            return Masked(scores, masked.seen & (shown >= least[..., None]), masked.nothing)


for number in (1, 2, 3, 4, 5, 8):
    best(number)
