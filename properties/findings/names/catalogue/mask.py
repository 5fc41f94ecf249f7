"""Wrong masks: what a query sees, and what becomes of what it does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from properties.findings.names.arithmetic import moved, over, plus, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula, Masked, Seen
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES, HEADED_FAMILIES
from properties.truth.bounds import Near
from properties.truth.parameters import Sizes

MASK = "the triu or tril of the mask, its diagonal, and whether True means hidden"
APPLIED = "whether the result of masked_fill is used, and is_causal passed on"
FILL = "the constant that hidden scores are filled with; it should be minus infinity"
AFTER = "the order of mask and softmax"
BROADCAST = "the axes that the mask is broadcast along"
NOTHING = (np.nan, 0.0, None)  # what may stand in a row that sees nothing


def places(tokens: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The number of the query (T, 1) and of the key (1, T)."""
    numbers = np.arange(tokens)
    return numbers[:, None], numbers[None, :]


def mask(
    called: str,
    seen: Callable[[Sizes], Seen],
    look: str = MASK,
    families: Iterable[str] = CAUSAL_FAMILIES,
    *,
    alone: bool = False,
) -> None:
    """Enter a mask, for each thing that may stand in a row that sees nothing."""
    for nothing in NOTHING:
        enter(called, seen, look, families, nothing, alone)


def enter(
    called: str,
    seen: Callable[[Sizes], Seen],
    look: str,
    families: Iterable[str],
    nothing: float | None,
    alone: bool,
) -> None:
    """Enter a mask with `nothing` for the weights of a query that sees nothing."""

    @wrong(called, look, families, alone=alone)
    class Another(Formula):
        """Another mask."""

        def seen(self) -> Seen:
            return seen(self.sizes)

        def hide(self, scores: Near) -> Masked:
            return Masked(scores, self.seen(), nothing)


def triangle(ahead: int) -> Callable[[Sizes], Seen]:
    """Query i sees the keys up to i + ahead."""

    def seen(s: Sizes) -> Seen:
        query, key = places(s.tokens)
        return key <= query + ahead

    return seen


def past_alone_but_for_the_first(s: Sizes) -> Seen:
    """The first token sees itself, every other one its past alone."""
    seen = triangle(-1)(s)
    seen[0, 0] = True
    return seen


def others(s: Sizes) -> Seen:
    """All but itself."""
    return ~np.eye(s.tokens, dtype=bool)


def for_the_first(s: Sizes, axis: int) -> Seen:
    """The mask for the first batch item (axis 0) or the first head (axis 1) alone."""
    number = s.batch if axis == 0 else s.heads
    first = np.arange(number).reshape((-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1)) == 0
    return ~first | triangle(0)(s)


def for_all_heads_but_the_last(s: Sizes) -> Seen:
    """The last of several heads sees the future."""
    last = np.arange(s.heads) == s.heads - 1
    return (last & (s.heads > 1))[:, None, None] | triangle(0)(s)


mask("mask hides a token's own place: the diagonal is off by one", triangle(-1))
mask(
    "mask hides a token's own place, but not the first one's",
    past_alone_but_for_the_first,
)
mask("mask shows the next token: the diagonal is off by one", triangle(1))
mask("mask inverted: the future alone is seen", lambda s: ~triangle(0)(s))
mask("mask transposed: a token sees itself and the future", lambda s: triangle(0)(s).T)
mask(
    "mask inverted, its diagonal off by one: only what lies beyond the next token is seen",
    lambda s: ~triangle(1)(s),
)
mask("mask aligned to the bottom right", lambda s: triangle(s.context_length - s.tokens)(s))
mask("future not hidden", lambda s: np.ones((s.tokens, s.tokens), bool), APPLIED)
mask("mask hides a token's own place alone", others)
mask(
    "mask for the first head alone",
    lambda s: for_the_first(s, 1),
    BROADCAST,
    HEADED_FAMILIES,
    alone=True,
)
mask("mask for the first batch item alone", lambda s: for_the_first(s, 0), BROADCAST)
mask(
    "mask missing in the last head",
    for_all_heads_but_the_last,
    BROADCAST,
    HEADED_FAMILIES,
    alone=True,
)
mask(
    "future hidden where all should be seen",
    triangle(0),
    "a causal mask that does not belong there",
    set(FAMILIES) - CAUSAL_FAMILIES,
)


class Filled(Formula):
    """Hidden scores become another number, and are seen."""

    def fill(self, hidden: Near) -> Near:
        """What hidden scores become."""
        return moved(hidden, np.zeros_like)

    def hide(self, scores: Near) -> Masked:
        filled, own = self.fill(scores), self.seen()
        both = Near(
            np.where(own, scores.value, filled.value), np.where(own, scores.error, filled.error)
        )
        return Masked(both, np.ones_like(own))


@wrong("hidden scores filled with zero before the softmax", FILL, CAUSAL_FAMILIES)
class FilledWithZero(Filled):
    """Multiplied by a mask, or filled with 0."""


class FilledWith(Filled):
    """A constant."""

    number = 0.0

    def fill(self, hidden: Near) -> Near:
        exact = self.fmt.round(np.asarray(self.number)) == self.number
        off = 0.0 if exact else abs(self.number) * self.fmt.unit_roundoff
        return Near(np.full_like(hidden.value, self.number), np.full_like(hidden.error, off))


for number in (-1e-7, -1e-9, -1e-10, -1e-12, 1e-10, 1e-12):  # as they have been found

    @wrong(
        "hidden scores filled with a tiny number before the softmax",
        FILL,
        CAUSAL_FAMILIES,
        alone=True,
    )
    class FilledWithATinyNumber(FilledWith):
        """The sign of the exponent is that of the number."""

    FilledWithATinyNumber.number = number


for size in (1e2, 1e3, 1e4, 5e4, 65504.0, 1e5, 1e6, 1e8, 1e9, 1e10, 1e12):

    @wrong(
        f"hidden scores filled with -{size:g}, not minus infinity",
        FILL,
        CAUSAL_FAMILIES,
        alone=True,
    )
    class FilledWithALargeNumber(FilledWith):
        """Right until the scores that are seen are as far below zero."""

        number = -size

    @wrong(
        f"{size:g} subtracted from hidden scores, not infinity",
        FILL,
        CAUSAL_FAMILIES,
        alone=True,
    )
    class LessByALargeNumber(Filled):
        """Right until a hidden score is as far above the others."""

        step = size

        def fill(self, hidden: Near) -> Near:
            step = np.full_like(hidden.value, -self.step)
            return plus(hidden, Near(step, np.zeros_like(step)), self.fmt)


@wrong("one subtracted from hidden scores: the mask is used as a bias", FILL, CAUSAL_FAMILIES)
class OneLess(Filled):
    """A mask of zeros and ones taken for one that is added."""

    step = -1.0

    def fill(self, hidden: Near) -> Near:
        step = np.full_like(hidden.value, self.step)
        return plus(hidden, Near(step, np.zeros_like(step)), self.fmt)


@wrong("one added to hidden scores: the mask is used as a bias", FILL, CAUSAL_FAMILIES)
class OneMore(OneLess):
    """The same with the other sign."""

    step = 1.0


@wrong("mask after the softmax, not renormalised", AFTER, CAUSAL_FAMILIES)
class MaskAfterSoftmax(Formula):
    """Rows sum to less than one."""

    def hide(self, scores: Near) -> Masked:
        return Masked(scores, np.ones_like(self.seen()))

    def drop(self, weights: Near) -> Near:
        return super().drop(self.kept(weights))

    def kept(self, weights: Near) -> Near:
        """Zero where a key is hidden."""
        return moved(weights, lambda array: np.where(self.seen(), array, 0.0))


for epsilon in (1e-5, 1e-6, 1e-8, 1e-9, 1e-10, 1e-12):

    @wrong(
        "mask after the softmax, renormalised with an epsilon",
        AFTER,
        CAUSAL_FAMILIES,
        alone=True,
    )
    class MaskAfterSoftmaxGuarded(MaskAfterSoftmax):
        """Nearly nothing where the future takes all."""

        epsilon = epsilon

        def kept(self, weights: Near) -> Near:
            kept = super().kept(weights)
            sums = total(kept, -1, self.fmt)
            return over(kept, Near(sums.value + self.epsilon, sums.error), self.fmt)


@wrong("mask after the softmax, renormalised", AFTER, CAUSAL_FAMILIES)
class MaskAfterSoftmaxRenormalised(MaskAfterSoftmax):
    """Zero by zero where the future takes all."""

    def kept(self, weights: Near) -> Near:
        kept = super().kept(weights)
        shares = over(kept, total(kept, -1, self.fmt), self.fmt)
        at_most = kept.value + np.maximum(kept.error - self.fmt.smallest_normal, 0.0)
        lost = (at_most < self.fmt.spacing_at_zero / 4.0).all(axis=-1, keepdims=True)
        return Near(np.where(lost, np.nan, shares.value), np.where(lost, 0.0, shares.error))
