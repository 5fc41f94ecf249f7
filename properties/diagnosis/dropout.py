"""What goes wrong in training: which weights were dropped, and what became of the others.

One-hot values show every weight twice (`clauses/dropout.py`), so what is drawn can be read: a weight
is zero, or a known multiple of itself, or shares out what others lost. Everything is compared with the
subject's own weights in eval mode, within the budget of two right runs. Draws are many enough that no
pattern repeats by chance: a name rests on a hundred equal draws at least, of which two agree with a
probability of 0.625 where p is 0.25.

Legend: B batch, T tokens, H heads, C calls, R readings of each weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from properties import bounds
from properties.bounds import Near, gamma
from properties.case import Case
from properties.clauses.dropout import calls, read, shown_twice
from properties.diagnosis.arithmetic import over, total
from properties.diagnosis.examples import made, predicted
from properties.diagnosis.formula import Formula
from properties.dtypes import FORMATS, Array, Format
from properties.errors import SubjectError
from properties.subject import Sizes, Subject

Bits = NDArray[np.bool_]
P = 0.25  # neither p, 1 - p nor their reciprocals and squares are the same number
CALLS = 8
READINGS = 2
CLEAR = 32.0  # times its error is a weight that is told by: factors are 0.25 apart and at most 4
ENOUGH = 100  # draws that are compared before they are said to be the same
SIZES = (
    Sizes(batch=3, tokens=5, d_in=11, heads=2, head_dim=4, context_length=9),
    Sizes(batch=2, tokens=6, d_in=5, heads=4, head_dim=3, context_length=6),
)
FACTORS = {
    "survivors not scaled; look for the factor 1 / (1 - p)": 1.0,
    "survivors multiplied by 1 - p; look for the factor 1 / (1 - p)": 1.0 - P,
    "survivors divided by p; look for the factor 1 / (1 - p)": 1.0 / P,
    "dropout applied twice; look for a second dropout on the weights": (1.0 - P) ** -2,
}
SURVIVES = 1.0 / (1.0 - P)


@dataclass(frozen=True, eq=False)
class Sample:
    """Weights in eval mode without dropout, (B, H, T, R, T), and what dropout makes of them."""

    probe: Case
    before: Array
    allowed: Array  # how far two right runs may be apart
    drawn: Array  # (C, B, H, T, R, T), in training
    again: Array  # the same in a new instance with the same seed
    other: Array  # the same in a new instance with another seed
    still: Array  # (2, B, H, T, R, T), in eval with dropout asked for, by two seeds

    @property
    def fmt(self) -> Format:
        """The format of the sample."""
        return FORMATS[self.probe.dtype]

    @cached_property
    def seen(self) -> Bits:
        """The weights that are well above their error, (B, H, T, R, T)."""
        told: Bits = self.before > CLEAR * self.allowed
        return told

    @cached_property
    def readable(self) -> bool:
        """Whether the weights read in eval mode are those of the formula, each at its own place."""
        right = np.broadcast_to(self.probe.trace.weights[..., None, :], self.before.shape)
        return bool((np.abs(self.before - right) <= self.allowed).all())

    @property
    def rounding(self) -> float:
        """The relative error of scaling a weight and reading it: two products with ones and zeros."""
        sizes = self.probe.sizes
        return gamma(sizes.tokens + sizes.width + 16, self.fmt)

    def times(self, factor: float, drawn: Array) -> Bits:
        """Which weights are `factor` times what they were."""
        room = factor * (self.allowed + self.rounding * (self.before + self.allowed))
        equal: Bits = np.abs(drawn - factor * self.before) <= room
        return equal

    def zero_or(self, factor: float, drawn: Array) -> bool:
        """Whether every weight is zero or `factor` times itself, and both occur."""
        kept, lost = self.times(factor, drawn) & self.seen, (drawn == 0) & self.seen
        return bool(kept.any() and lost.any() and (kept | lost | ~self.seen).all())

    @cached_property
    def survived(self) -> Bits:
        """Which weights are not zero, (C, B, H, T, R, T)."""
        return np.asarray(self.drawn != 0)


Habit = Callable[[Sample], Iterator[str]]


def habits(case: Case) -> list[str]:
    """What the subject of a failing case always does wrong with dropout."""
    subject = case.subject
    if not (subject.has("dropout") and subject.has("projections")):
        return []
    return list(known(subject))


@lru_cache(maxsize=1)
def known(subject: Subject) -> tuple[str, ...]:
    """The names that every sample of the subject gets; none where it raises."""
    found: list[list[str]] = []
    for number, s in enumerate(SIZES):
        try:
            found.append(list(dict.fromkeys(named(sample(made(subject, s, False, number))))))
        except SubjectError:
            return ()
    return tuple(name for name in found[0] if all(name in names for names in found))


def sample(case: Case) -> Sample:
    """Calls in both modes on a probe that shows its weights twice."""
    probe = shown_twice(case)

    def training(seed: int) -> Array:
        outputs = calls(probe.build(dropout=P), probe.x, CALLS, seed)
        return np.stack([shown(output) for output in outputs])

    def shown(output: Array) -> Array:
        if output.shape != probe.trace.output.shape:
            raise SubjectError(f"an output of shape {output.shape}")
        return read(probe, output, READINGS)

    still = [shown(probe.run(dropout=P, seed=seed)) for seed in (1, 2)]
    return Sample(
        probe,
        shown(probe.run()),
        shown(bounds.difference(probe)),
        training(1),
        training(1),
        training(2),
        np.stack(still),
    )


def named(s: Sample) -> Iterator[str]:
    """The names of one sample: of eval if that is not inert, else of training."""
    if not s.readable:
        return
    if not s.times(1.0, s.still).all():
        yield from in_eval(s)
    elif s.times(1.0, s.drawn).all():
        yield "dropout never applied in training; look for whether the dropped weights are used"
    elif apart(s):
        yield from off_the_weights(s)
    else:
        yield from factor(s)
        yield from shared_out(s)
        yield from on_scores(s)
        if any(s.zero_or(f, s.drawn) for f in (SURVIVES, *FACTORS.values())):
            yield from patterns(s)


def in_eval(s: Sample) -> Iterator[str]:
    """Eval mode is not inert."""
    if s.times(1.0 - P, s.still).all():
        yield "weights multiplied by 1 - p in eval; look for a factor that is applied in eval"
    if s.zero_or(SURVIVES, s.still):
        alone = bool(s.times(1.0, s.drawn).all())
        what = "dropout in eval and not in training" if alone else "dropout alive in eval"
        yield f"{what}; look for training=self.training in the call of dropout"


def apart(s: Sample) -> bool:
    """Whether a weight is lost from one of its columns and kept in another."""
    return bool(
        (s.survived[..., :1, :] != s.survived)[np.broadcast_to(s.seen, s.drawn.shape)].any()
    )


def off_the_weights(s: Sample) -> Iterator[str]:
    """Dropout on single columns: of the values if the same for all queries, else of what they give."""
    if not s.zero_or(SURVIVES, s.drawn):
        return
    if alike(s.survived, s.seen, axis=-3):
        yield "dropout on the values, not on the weights; look for what is passed to dropout"
    else:
        yield "dropout on the context or output, not on the weights; look for what is passed to dropout"


def factor(s: Sample) -> Iterator[str]:
    """What multiplies a weight that survives."""
    mostly = float(s.survived[np.broadcast_to(s.seen, s.drawn.shape)].mean()) < 0.5
    for name, number in FACTORS.items():
        if s.zero_or(number, s.drawn):
            swapped = number == 1.0 / P and mostly
            yield "1 - p taken for p; look for a probability of being kept" if swapped else name


def shared_out(s: Sample) -> Iterator[str]:
    """Survivors of a row sum to one: each is divided by what is left."""
    left = Near(np.where(s.survived, s.before, 0.0), np.where(s.survived, s.allowed, 0.0))
    with np.errstate(all="ignore"):
        expected = over(left, total(left, -1, s.fmt), s.fmt)
        room = expected.error + s.rounding * expected.grown
        equal = np.abs(s.drawn - expected.value) <= room
    nothing_left = ~s.survived.any(axis=-1, keepdims=True) | np.isnan(s.drawn)
    partly = (~s.survived & s.seen).any(axis=-1) & s.survived.any(axis=-1)
    if partly.any() and (equal | nothing_left | ~s.seen).all():
        yield (
            "survivors of a row sum to one again; look for dropout before the softmax, or a division "
            "after it"
        )


class SomeScores(Formula):
    """Attention whose scores are multiplied by `kept`, one number for each key."""

    kept: tuple[float, ...] = ()

    def scale(self, scores: Near) -> Near:
        """Scaled, and some of them dropped."""
        scaled, kept = super().scale(scores), np.array(self.kept)
        return Near(scaled.value * kept, scaled.error * kept)


def on_scores(s: Sample) -> Iterator[str]:
    """Each row is the softmax of scores of which some became zero and the others grew.

    All ways to drop the scores of a row are tried, 2**T of them.
    """
    drawn = s.drawn[..., 0, :]
    explained = np.zeros(drawn.shape[:-1], dtype=bool)
    for kept in product((0.0, SURVIVES), repeat=s.probe.sizes.tokens):
        formula = type("SomeScoresKept", (SomeScores,), {"kept": kept})
        value, allowed = (
            read(s.probe, part, READINGS)[..., 0, :] for part in predicted(formula, s.probe)
        )
        explained |= (np.abs(drawn - value) <= allowed).all(axis=-1)
    if explained.all():
        yield "dropout on the scores, before the softmax; look for what is passed to dropout"


def patterns(s: Sample) -> Iterator[str]:
    """Draws that should have nothing to do with each other, and have."""
    kept, seen = s.survived[..., 0, :], s.seen[..., 0, :]
    heads = alike(kept, seen, axis=-3)
    queries, keys = alike(kept, seen, axis=-2), alike(kept, seen, axis=-1)
    if alike(kept, seen, axis=-4):
        yield "one pattern of dropout for the whole batch; look for a mask broadcast over B"
    if heads:
        yield "one pattern of dropout for all heads; look for a mask broadcast over H"
    if queries and keys:
        yield "whole heads dropped; look for a mask broadcast over queries and keys"
    elif queries:
        yield "whole keys dropped, for all queries alike; look for a mask broadcast over queries"
    elif keys:
        yield "whole queries dropped, from all keys; look for a mask broadcast over keys"
    yield from generators(s)
    own = np.eye(s.probe.sizes.tokens, dtype=bool)
    first = np.arange(s.probe.sizes.tokens) == 0
    if spared(kept, seen, own):
        yield "a token's own weight is never dropped; look for an exempted diagonal"
    if spared(kept, seen, np.broadcast_to(first, own.shape)):
        yield "weights of the first token are never dropped; look for an exempted key"


def generators(s: Sample) -> Iterator[str]:
    """Where the draws come from."""
    one, again, other = (np.asarray(part != 0) for part in (s.drawn, s.again, s.other))
    if alike(one[..., 0, :], s.seen[..., 0, :], axis=0):
        if (one == other).all():
            yield "same pattern in every call and for every seed; look for a seed set in forward"
        else:
            yield "same pattern in every call; look for a mask that is kept, or a generator set back"
    elif (one == other).all() or (one != again).any():
        yield "torch.manual_seed does not decide what is dropped; look for another generator"


def alike(kept: Bits, seen: Bits, axis: int) -> bool:
    """Whether draws along an axis are the same wherever the first to be seen and a later one are."""
    there = np.broadcast_to(seen, kept.shape)
    kept, there = np.moveaxis(kept, axis, -1), np.moveaxis(there, axis, -1)
    first = np.take_along_axis(kept, there.argmax(axis=-1)[..., None], axis=-1)
    compared = there.copy()
    np.put_along_axis(compared, there.argmax(axis=-1)[..., None], False, axis=-1)
    equal = (kept == first)[compared]
    return bool(equal.size >= ENOUGH and equal.all())


def spared(kept: Bits, seen: Bits, places: Bits) -> bool:
    """Whether all draws at places (T, T) survive, and some elsewhere do not."""
    there = np.broadcast_to(seen, kept.shape)
    here = kept[there & places]
    return bool(here.size >= ENOUGH and here.all() and not kept[there & ~places].all())
