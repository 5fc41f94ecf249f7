"""What may go wrong with dropout, by name: attention whose step `drop`, or another, draws wrongly.

A habit is a wrong form like any other, but what it draws cannot be foreseen; `dropout.py` tells it by
what draws have in common. Written as formulas, habits can be run (`standin.py`), so it is known which
laws each of them breaks.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.findings.names.arithmetic import over, total
from properties.findings.names.drawing import Chance, Shape
from properties.findings.names.formula import Formula, Masked
from properties.subjects.subject import FAMILIES, HEADED_FAMILIES
from properties.truth.bounds import Near

FACTOR = "the factor 1 / (1 - p)"
PASSED = "what is passed to dropout"
MODE = "training=self.training in the call of dropout"
HABITS: dict[str, type[Formula]] = {}


def habit(
    called: str, look: str, families: frozenset[str] = frozenset(FAMILIES)
) -> Callable[[type[Formula]], type[Formula]]:
    """Enter a habit: what it does, where to look for it, in which families."""

    def enter(formula: type[Formula]) -> type[Formula]:
        formula.called, formula.look, formula.families = called, look, families
        HABITS[called] = formula
        return formula

    return enter


Factors = Callable[[Chance, Shape], Array]


def drawing(
    called: str,
    look: str,
    factors: Factors,
    *,
    anyway: bool = False,
    families: frozenset[str] = frozenset(FAMILIES),
) -> None:
    """Enter a habit by the factors of the weights, in training alone or anyway."""

    @habit(called, look, families)
    class Drawing(Formula):
        """Other factors."""

        def factors(self, shape: Shape) -> Array:
            wanted = 0.0 < self.chance.p < 1.0 and (anyway or self.chance.training)
            return factors(self.chance, shape) if wanted else super().factors(shape)


# Whether

drawing("dropout alive in eval", MODE, Chance.draw, anyway=True)
drawing(
    "dropout in eval and not in training",
    MODE,
    lambda c, shape: np.ones(shape) if c.training else c.draw(shape),
    anyway=True,
)
drawing(
    "weights multiplied by 1 - p in eval",
    "a factor that is applied in eval",
    lambda c, shape: c.draw(shape) if c.training else np.full(shape, 1.0 - c.p),
    anyway=True,
)
drawing(
    "weights divided by 1 - p in eval",
    "a factor that is applied in eval",
    lambda c, shape: c.draw(shape) if c.training else np.full(shape, 1.0 / (1.0 - c.p)),
    anyway=True,
)
drawing(
    "dropout never applied in training",
    "whether the dropped weights are used",
    lambda c, shape: np.ones(shape),
)
drawing(
    "the mode of the first call stays",
    "self.training, which is to be read at each call",
    lambda c, shape: c.draw(shape) if c.modes[0] else np.ones(shape),
    anyway=True,
)
drawing(
    "dropout is off for good after eval",
    "what a call in eval, or eval() itself, changes",
    lambda c, shape: c.draw(shape) if all(c.modes) else np.ones(shape),
)
drawing(
    "dropout in the first call alone",
    "what a call in training changes",
    lambda c, shape: c.draw(shape) if sum(c.modes) == 1 else np.ones(shape),
)

# How much


def seeded_in_eval(c: Chance, shape: Shape) -> Array:
    """A seed that is set wherever nothing is drawn."""
    if c.training:
        return c.draw(shape)
    torch.manual_seed(123)
    return np.ones(shape)


drawing("the generator is seeded in eval", "a seed set in forward", seeded_in_eval, anyway=True)

drawing("survivors not scaled", FACTOR, lambda c, shape: c.draw(shape) * (1.0 - c.p))
drawing("survivors multiplied by 1 - p", FACTOR, lambda c, shape: c.draw(shape) * (1.0 - c.p) ** 2)
drawing("survivors divided by p", FACTOR, lambda c, shape: c.draw(shape) * (1.0 - c.p) / c.p)
drawing("survivors divided by 1 - p twice", FACTOR, lambda c, shape: c.draw(shape) / (1.0 - c.p))
drawing(
    "1 - p taken for p", "a probability of being kept", lambda c, shape: c.draw(shape, 1.0 - c.p)
)
drawing(
    "dropout applied twice",
    "a second dropout on the weights",
    lambda c, shape: c.draw(shape) * c.draw(shape),
)
drawing(
    "survivors divided by the share that survived, not by 1 - p",
    FACTOR,
    lambda c, shape: shared(c, shape),
)
drawing(
    "dropped weights keep a small part of themselves",
    "what dropped weights are set to",
    lambda c, shape: np.maximum(c.draw(shape), 1e-4),
)
drawing(
    "weights multiplied by noise, none is dropped",
    "another noise than that of dropout",
    lambda c, shape: 1.0 + np.sqrt(c.p / (1.0 - c.p)) * torch.randn(shape).double().numpy(),
)


def shared(c: Chance, shape: Shape) -> Array:
    """Which survive, divided by how many do."""
    survive = c.draw(shape) > 0
    return survive / max(float(survive.mean()), 1.0 / survive.size)


@habit("p = 0 is taken for another probability", "`or` where None is meant")
class ZeroTakenForUnset(Formula):
    """A default where p is false."""

    def factors(self, shape: Shape) -> Array:
        unset = self.chance.training and not self.chance.p
        return self.chance.draw(shape, 0.1) if unset else super().factors(shape)


@habit("NaN at p = 1", f"{FACTOR}, and divisions by zero")
class NanAtOne(Formula):
    """1 / (1 - p) is infinite there, and nothing is left to be shared out."""

    def factors(self, shape: Shape) -> Array:
        lost = self.chance.training and self.chance.p == 1.0
        return np.full(shape, np.nan) if lost else super().factors(shape)


@habit("survivors of a row sum to one again", "dropout before the softmax, or a division after it")
class Renormalised(Formula):
    """What is left is shared out."""

    def drop(self, weights: Near) -> Near:
        dropped = super().drop(weights)
        rescaled = over(dropped, total(dropped, -1, self.fmt), self.fmt)
        left = (dropped.value != 0).any(axis=-1, keepdims=True) & self.chance.training
        return Near(
            np.where(left, rescaled.value, dropped.value),
            np.where(left, rescaled.error, dropped.error),
        )


# On what


class OffTheWeights(Formula):
    """Nothing is dropped of the weights."""

    def drop(self, weights: Near) -> Near:
        return weights


@habit("dropout on the scores, before the softmax", PASSED)
class OnScores(OffTheWeights):
    """Scores become zero, which is a score like any other."""

    def hide(self, scores: Near) -> Masked:
        return super().hide(self.dropped(scores))


@habit("dropout on the scores besides the weights", PASSED)
class OnScoresAsWell(Formula):
    """Both."""

    def hide(self, scores: Near) -> Masked:
        return super().hide(self.dropped(scores))


@habit("dropout on the values, not on the weights", PASSED)
class OnValues(OffTheWeights):
    """Numbers vanish from the values, for all queries alike."""

    def mix(self, weights: Near, values: Near) -> Near:
        return super().mix(weights, self.dropped(values))


@habit("dropout on the context or output, not on the weights", PASSED)
class OnOutput(OffTheWeights):
    """Single numbers of the context vanish."""

    def merge(self, context: Near) -> Near:
        return self.dropped(super().merge(context))


@habit("dropout on the context or output besides the weights", "a second dropout, after the mixing")
class OnOutputAsWell(Formula):
    """Single numbers of the output vanish, and weights."""

    def merge(self, context: Near) -> Near:
        return self.dropped(super().merge(context))


# What is shared


def broadcast(
    called: str, look: str, *axes: int, families: frozenset[str] = frozenset(FAMILIES)
) -> None:
    """Enter a pattern that is the same along some axes of (B, H, T, T)."""

    def factors(c: Chance, shape: Shape) -> Array:
        smaller = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return np.broadcast_to(c.draw(smaller), shape)

    drawing(called, look, factors, families=families)


def in_pairs(called: str, look: str, axis: int, families: frozenset[str]) -> None:
    """Enter a pattern that two neighbours along an axis share."""

    def factors(c: Chance, shape: Shape) -> Array:
        half = c.draw((*shape[:axis], (shape[axis] + 1) // 2, *shape[axis + 1 :]))
        return np.repeat(half, 2, axis=axis).take(range(shape[axis]), axis=axis)

    drawing(called, look, factors, families=families)


broadcast("one pattern of dropout for the whole batch", "a mask broadcast over B", 0)
broadcast(
    "one pattern of dropout for all heads", "a mask broadcast over H", 1, families=HEADED_FAMILIES
)
broadcast("whole heads dropped", "a mask broadcast over queries and keys", 2, 3)
broadcast("whole keys dropped, for all queries alike", "a mask broadcast over queries", 2)
broadcast("whole queries dropped, from all keys", "a mask broadcast over keys", 3)
in_pairs(
    "two neighbouring heads lose the same weights", "a mask repeated over H", 1, HEADED_FAMILIES
)
in_pairs(
    "two neighbouring queries lose the same weights",
    "a mask repeated over queries",
    2,
    frozenset(FAMILIES),
)


@habit("as many keys are dropped in every row as p says", "a number that is drawn, not each weight")
class FixedNumber(Formula):
    """Of the keys that are seen, p times as many; rounded at random."""

    def factors(self, shape: Shape) -> Array:
        c = self.chance
        if not (c.training and 0.0 < c.p < 1.0):
            return super().factors(shape)
        hidden = ~np.broadcast_to(self.seen(), shape)
        order = torch.rand(shape, dtype=torch.float64).numpy()
        rank = (order + 2.0 * hidden).argsort(axis=-1).argsort(axis=-1)
        number = c.p * (~hidden).sum(axis=-1, keepdims=True)
        number = np.floor(number + torch.rand(*shape[:-1], 1).numpy())
        return (rank >= number) / (1.0 - c.p)


def numbered(shape: Shape, axis: int) -> Array:
    """The place along an axis, of a shape that broadcasts."""
    return np.arange(float(shape[axis])).reshape(-1, *[1] * (len(shape) - 1 - axis))


SPARED: dict[str, Callable[[Shape], Array]] = {  # ones among zeros that broadcast to (B, H, T, T)
    "a token's own weight is": lambda s: np.eye(s[-1]),
    "weights of the first token are": lambda s: numbered(s, 3) == 0,
    "weights of the last head are": lambda s: (numbered(s, 1) == s[1] - 1) & (s[1] > 1),
    "weights of every second batch item are": lambda s: numbered(s, 0) % 2 == 1,
}


def sparing(called: str, places: Callable[[Shape], Array]) -> None:
    """Enter places that are never dropped, whether they grow like survivors or stay as they are."""

    def dropped(c: Chance, shape: Shape, instead: float) -> Array:
        return np.where(places(shape) > 0, instead, c.draw(shape))

    look = "what is exempted from dropout"
    drawing(f"{called} never dropped", look, lambda c, shape: dropped(c, shape, 1.0 / (1.0 - c.p)))
    drawing(f"{called} neither dropped nor scaled", look, lambda c, shape: dropped(c, shape, 1.0))


for called, places in SPARED.items():
    sparing(called, places)


# From where


def once(c: Chance, shape: Shape) -> Array:
    """A pattern that is drawn once for a shape."""
    if shape not in c.kept:
        c.kept[shape] = c.draw(shape)
    kept: Array = c.kept[shape]
    return kept


def every_second(c: Chance, shape: Shape) -> Array:
    """A pattern that serves the next call, too."""
    if sum(c.modes) % 2:
        c.kept[shape] = c.draw(shape)
    kept: Array = c.kept.get(shape, np.ones(shape))
    return kept


def seeded(c: Chance, shape: Shape) -> Array:
    """A seed set in forward."""
    torch.manual_seed(123)
    return c.draw(shape)


def set_back(c: Chance, shape: Shape) -> Array:
    """The program's own seed, set again."""
    torch.manual_seed(torch.initial_seed())
    return c.draw(shape)


def from_its_own(c: Chance, shape: Shape) -> Array:
    """A generator with a seed of its own."""
    if "generator" not in c.kept:
        c.kept["generator"] = torch.Generator().manual_seed(0)
    return c.draw(shape, generator=c.kept["generator"])


def from_the_system(c: Chance, shape: Shape) -> Array:
    """A generator without a seed."""
    generator = torch.Generator()
    generator.seed()
    return c.draw(shape, generator=generator)


drawing("same pattern in every call", "a mask that is kept", once)
drawing("same pattern in every call: the generator is set back", "a seed set in forward", set_back)
drawing("same pattern in every call and for every seed", "a seed set in forward", seeded)
drawing("a pattern serves two calls", "a mask that is kept", every_second)
drawing(
    "torch.manual_seed does not decide what is dropped: the same for every seed",
    "another generator",
    from_its_own,
)
drawing("torch.manual_seed does not decide what is dropped", "another generator", from_the_system)
