"""What goes wrong in training: which weights were dropped, and what became of the others.

One-hot values show every weight twice (`clauses/dropout_draws.py`), so what is drawn can be read: a weight
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
import torch
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array, Format
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.case import Case
from properties.findings.names.arithmetic import over, total
from properties.findings.names.examples import (
    Example,
    coinciding,
    made,
    parting,
    predicted,
)
from properties.findings.names.explanation import Explanation
from properties.findings.names.formula import Formula
from properties.findings.names.habits import HABITS, SPARED
from properties.spec.clauses.dropout_draws import calls, read, shown_twice
from properties.subjects.instance import seed_generators
from properties.subjects.subject import Subject
from properties.truth.bounds import Near, gamma
from properties.truth.parameters import Sizes

Bits = NDArray[np.bool_]
P = 0.25  # neither p, 1 - p nor their reciprocals and squares are the same number
CALLS = 8
READINGS = 2
CLEAR = 32.0  # times its error is a weight that is told by: factors are 0.25 apart and at most 4
SOME = 40  # draws, of which none is dropped with a probability of 1e-5
ENOUGH = 100  # draws that are compared before they are said to be the same
SIZES = (
    Sizes(batch=3, tokens=5, d_in=11, heads=2, head_dim=4, context_length=9),
    Sizes(batch=2, tokens=6, d_in=5, heads=4, head_dim=3, context_length=6),
)
VARIED: tuple[dict[str, int | str], ...] = (
    {},
    {"context_length": "tokens"},
    {"batch": "tokens"},
    {"heads": "tokens"},
    {"batch": 1},
    {"heads": 1},
    {"tokens": 1},
)
SURVIVES = 1.0 / (1.0 - P)
FACTORS = {
    "survivors not scaled": 1.0,
    "survivors multiplied by 1 - p": 1.0 - P,
    "survivors divided by p": 1.0 / P,
    "dropout applied twice": SURVIVES**2,
}


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
    stays: tuple[Array, Array]  # of one instance in training after eval, in eval after training
    undropped: Array  # (B, H, T, R, T), in training at p = 0
    at_one: Array  # the same at p = 1; NaN where that is refused
    set_back: dict[bool, bool]  # by mode: whether a call forgets the state of torch's generator

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
        """Whether the weights read in eval mode are those of the formula, each at its own place, and
        enough of them are known well.
        """
        right = np.broadcast_to(self.probe.trace.weights[..., None, :], self.before.shape)
        told = CALLS * self.seen[..., 0, :].sum() >= SOME
        return bool(told and (np.abs(self.before - right) <= self.allowed).all())

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

    def rests(self, part: float) -> bool:
        """Whether every weight has grown by 1 / (1 - p) or is a small part of itself, but not zero."""
        kept = self.times(SURVIVES, self.drawn) & self.seen
        rest = (np.abs(self.drawn) <= part * self.before) & (self.drawn != 0) & self.seen
        return bool(kept.any() and rest.any() and (kept | rest | ~self.seen).all())

    @property
    def whole(self) -> Array:
        """The weights in eval mode, or one where they are too small to tell."""
        return np.where(self.seen, self.before, 1.0)

    def zero_or(self, factor: float, drawn: Array) -> bool:
        """Whether every weight is zero or `factor` times itself, and both occur."""
        kept, lost = self.times(factor, drawn) & self.seen, (drawn == 0) & self.seen
        return bool(kept.any() and lost.any() and (kept | lost | ~self.seen).all())

    @cached_property
    def survived(self) -> Bits:
        """Which weights are not zero, (C, B, H, T, R, T)."""
        return np.asarray(self.drawn != 0)


def habits(case: Case) -> tuple[Explanation, ...]:
    """What the subject of a failing case does wrong with dropout, always or where it says."""
    subject = case.subject
    if not (subject.has("dropout") and subject.has("projections")):
        return ()
    return known(subject)


@lru_cache(maxsize=1)
def known(subject: Subject) -> tuple[Explanation, ...]:
    """What every sample of the subject shows, else what those show that meet a condition."""
    always = [names_of(made(subject, s, False, number)) for number, s in enumerate(SIZES)]
    if None in always:
        return ()
    names = [name for name in always[0] or () if all(name in (names or ()) for names in always)]
    return tuple(Explanation(HABITS[name]) for name in names) or sometimes(subject)


def sometimes(subject: Subject) -> tuple[Explanation, ...]:
    """What some samples show and others do not, where a condition parts them."""
    shown = {Example(shown_twice(case), training=True): names_of(case) for case in varied(subject)}
    found = []
    for name in dict.fromkeys(name for names in shown.values() for name in names or ()):
        wrong = [example for example, names in shown.items() if names and name in names]
        right = [example for example, names in shown.items() if names == []]
        when = parting(wrong, right) if len(wrong) > 1 and right else None
        if when:
            found.append(Explanation(HABITS[name], when))
    return tuple(found)


def varied(subject: Subject) -> Iterator[Case]:
    """Probes of which two each meet a condition."""
    for number, s in enumerate(SIZES):
        for changes in VARIED:
            yield made(subject, coinciding(s, changes), False, number)
        for dtype in subject.dtypes[1:]:
            yield made(subject, s, False, number, dtype=dtype)


def names_of(case: Case) -> list[str] | None:
    """The names of one sample; None where the subject raises, or its weights cannot be read."""
    try:
        taken = sample(case)
    except SubjectError:
        return None
    return list(dict.fromkeys(named(taken))) if taken.readable else None


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
        shown(budgets.difference(probe)),
        training(1),
        training(1),
        training(2),
        np.stack(still),
        after_another_mode(probe, shown),
        shown(probe.run(dropout=0.0, training=True)),
        at_one(probe, shown),
        {training: sets_back(probe, training) for training in (True, False)},
    )


def after_another_mode(probe: Case, shown: Callable[[Array], Array]) -> tuple[Array, Array]:
    """What one instance gives in training once it has run in eval, and the other way round."""
    found = []
    for training in (True, False):
        instance = probe.build(dropout=P)
        instance.run(probe.x, training=not training)
        runs = [instance.run(probe.x, training=training, seed=seed) for seed in range(CALLS)]
        found.append(np.stack([shown(output) for output in runs]))
    return found[0], found[1]


def at_one(probe: Case, shown: Callable[[Array], Array]) -> Array:
    """What is left in training at p = 1; zeros where that is refused."""
    try:
        output = probe.run(dropout=1.0, training=True)
    except SubjectError:
        return np.zeros_like(shown(probe.trace.output))
    return shown(output)


def sets_back(probe: Case, training: bool) -> bool:
    """Whether the generator is in the same state after a call, however much was drawn before."""
    instance, states = probe.build(dropout=P), []
    for drawn in (0, 1000):
        seed_generators(1)
        torch.rand(drawn)
        instance.call(instance.tensor(probe.x), training=training)
        states.append(torch.get_rng_state())
    return torch.equal(*states)


def named(s: Sample) -> Iterator[str]:
    """The names of one sample: of eval if that is not inert, else of training."""
    if not s.times(1.0, s.still).all():
        yield from in_eval(s)
    elif s.times(1.0, s.drawn).all():
        yield "dropout never applied in training"
    elif s.times(1.0, s.drawn[1:]).all() and s.zero_or(SURVIVES, s.drawn[:1]):
        yield "dropout in the first call alone"
    elif apart(s):
        yield from off_the_weights(s)
    else:
        yield from edges(s)
        yield from factor(s)
        yield from shared_out(s)
        yield from on_scores(s)
        yield from who_is_spared(s)
        if any(s.zero_or(f, s.drawn) for f in (SURVIVES, *FACTORS.values())):
            yield from patterns(s)


def in_eval(s: Sample) -> Iterator[str]:
    """Eval mode is not inert."""
    if s.times(1.0 - P, s.still).all():
        yield "weights multiplied by 1 - p in eval"
    if s.zero_or(SURVIVES, s.still):
        alone = bool(s.times(1.0, s.drawn).all())
        yield "dropout in eval and not in training" if alone else "dropout alive in eval"
    elif s.times(SURVIVES, s.still).all():
        yield "weights divided by 1 - p in eval"


def edges(s: Sample) -> Iterator[str]:
    """What one mode leaves behind for the other, and what becomes of p = 0 and p = 1."""
    in_training, in_eval = s.stays
    off, on = bool(s.times(1.0, in_training).all()), s.zero_or(SURVIVES, in_eval)
    if off:
        yield "the mode of the first call stays" if on else "dropout is off for good after eval"
    if s.set_back[False]:
        yield "the generator is seeded in eval"
    if ((s.undropped == 0) & s.seen).any():
        yield "p = 0 is taken for another probability"
    if np.isnan(s.at_one).any() and not np.isnan(s.before).any():
        yield "NaN at p = 1"


def apart(s: Sample) -> bool:
    """Whether a weight is lost from one of its columns and kept in another."""
    return bool(((s.survived[..., :1, :] != s.survived) & s.seen).any())


def off_the_weights(s: Sample) -> Iterator[str]:
    """Dropout on single columns: of the values if the same for all queries, else of what they give.

    Where weights are dropped as well, survivors are scaled twice, and a weight is lost from both its
    columns more often than these are by themselves.
    """
    if s.zero_or(SURVIVES, s.drawn):
        on_values = alike(s.survived, s.seen, axis=-3)
        yield f"dropout on the {'values' if on_values else 'context or output'}, not on the weights"
    elif s.zero_or(SURVIVES**2, s.drawn):
        there = np.broadcast_to(s.seen, s.drawn.shape).all(axis=-2)
        kept = np.asarray(s.survived.any(axis=-2))
        both = 1.0 - float(kept[there].mean())
        if both > ((2.0 - P) ** 2 * P**2 + P + (1.0 - P) * P**2) / 2.0:
            yield "dropout on the context or output besides the weights"


def factor(s: Sample) -> Iterator[str]:
    """What multiplies a weight that survives."""
    there = np.broadcast_to(s.seen, s.drawn.shape)
    mostly = float(s.survived[there].mean()) < 0.5
    for name, number in FACTORS.items():
        if s.zero_or(number, s.drawn):
            if number == SURVIVES**2 and float(s.survived[there].mean()) > (1.0 - P) * (
                1.0 - P / 2
            ):
                yield "survivors divided by 1 - p twice"
            else:
                yield "1 - p taken for p" if number == 1.0 / P and mostly else name
    if s.rests(0.01):
        yield "dropped weights keep a small part of themselves"
    if share(s):
        yield "survivors divided by the share that survived, not by 1 - p"


def share(s: Sample) -> bool:
    """Whether in each call survivors grow by N / n, where n of the N weights of the tensor survive."""
    sizes, growth = s.probe.sizes, []
    number = sizes.batch * sizes.heads * sizes.tokens**2
    for drawn in s.drawn:
        kept = s.seen & (drawn != 0)
        largest = np.unravel_index(np.argmax(np.where(kept, s.before, 0.0)), kept.shape)
        growth.append(float(drawn[largest] / s.before[largest]))
    survivors = [round(number / g) if g > 0 else 0 for g in growth]
    exact = all(
        n > 0 and s.zero_or(number / n, drawn[None])
        for n, drawn in zip(survivors, s.drawn, strict=True)
    )
    return exact and len(set(survivors)) > 1


def noise(s: Sample) -> Iterator[str]:
    """No weight is lost, and each is multiplied by a number of its own, the same in both readings."""
    there = np.broadcast_to(s.seen, s.drawn.shape)
    room = 2.0 * (s.allowed + s.rounding * s.before) * np.maximum(1.0, np.abs(s.drawn / s.whole))
    same = np.abs(s.drawn - s.drawn[..., :1, :]) <= room + room[..., :1, :]
    factors = (s.drawn / s.whole)[..., 0, :][there[..., 0, :]]
    if s.survived[there].all() and same[there].all() and len(set(factors.round(3))) > ENOUGH:
        yield "weights multiplied by noise, none is dropped"


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
        yield "survivors of a row sum to one again"


class SomeScores(Formula):
    """Attention whose scores are multiplied by `kept`, one number for each key."""

    kept: tuple[float, ...] = ()

    def scale(self, scores: Near) -> Near:
        """Scaled, and some of them dropped."""
        scaled, kept = super().scale(scores), np.array(self.kept)
        return Near(scaled.value * kept, scaled.error * kept)


def on_scores(s: Sample) -> Iterator[str]:
    """Each row is the softmax of scores of which some became zero and the others grew; some of its
    weights may then be dropped besides.

    All ways to drop the scores of a row are tried, 2**T of them.
    """
    drawn = s.drawn[..., 0, :]
    alone, as_well = (np.zeros(drawn.shape[:-1], dtype=bool) for _ in range(2))
    for kept in product((0.0, SURVIVES), repeat=s.probe.sizes.tokens):
        formula = type("SomeScoresKept", (SomeScores,), {"kept": kept})
        value, allowed = (
            read(s.probe, part, READINGS)[..., 0, :] for part in predicted(formula, s.probe)
        )
        alone |= (np.abs(drawn - value) <= allowed).all(axis=-1)
        room = SURVIVES * (allowed + s.rounding * (value + allowed))
        as_well |= ((np.abs(drawn - SURVIVES * value) <= room) | (drawn == 0)).all(axis=-1)
    if alone.all():
        yield "dropout on the scores, before the softmax"
    elif as_well.all() and not s.zero_or(SURVIVES, s.drawn):
        yield "dropout on the scores besides the weights"
    else:
        yield from noise(s)


def patterns(s: Sample) -> Iterator[str]:
    """Draws that should have nothing to do with each other, and have."""
    kept, seen = s.survived[..., 0, :], s.seen[..., 0, :]
    heads = alike(kept, seen, axis=-3)
    queries, keys = alike(kept, seen, axis=-2), alike(kept, seen, axis=-1)
    if alike(kept, seen, axis=-4):
        yield "one pattern of dropout for the whole batch"
    if heads:
        yield "one pattern of dropout for all heads"
    if queries and keys:
        yield "whole heads dropped"
    elif queries:
        yield "whole keys dropped, for all queries alike"
    elif keys:
        yield "whole queries dropped, from all keys"
    if in_pairs(kept, seen, axis=-3) and not (heads and s.probe.sizes.heads > 2):
        yield "two neighbouring heads lose the same weights"
    if in_pairs(kept, seen, axis=-2) and not queries:
        yield "two neighbouring queries lose the same weights"
    if a_fixed_number(kept, seen):
        yield "as many keys are dropped in every row as p says"
    yield from generators(s)


def in_pairs(kept: Bits, seen: Bits, axis: int) -> bool:
    """Whether draws are the same for numbers 0 and 1, 2 and 3 and so on along an axis."""
    there = np.broadcast_to(seen, kept.shape)
    even = kept.shape[axis] // 2 * 2
    if not even:
        return False

    def split(part: Bits) -> Bits:
        moved = np.moveaxis(part, axis, 0)[:even]
        return moved.reshape(even // 2, 2, *moved.shape[1:])

    first, second = np.moveaxis(split(kept), 1, 0)
    both = split(there).all(axis=1)
    return bool(both.sum() >= ENOUGH and (first == second)[both].all())


def a_fixed_number(kept: Bits, seen: Bits) -> bool:
    """Whether of the keys that a query sees the same number is always dropped, but for rounding."""
    there = np.broadcast_to(seen, kept.shape)
    lost, number = (~kept & there).sum(axis=-1), there.sum(axis=-1)
    told = (number > 1) & (np.abs(lost - P * number) < 1.0)
    rows = number > 1
    return bool(rows.sum() >= ENOUGH and told[rows].all())


def generators(s: Sample) -> Iterator[str]:
    """Where the draws come from."""
    one, again, other = (np.asarray(part != 0) for part in (s.drawn, s.again, s.other))
    seen = s.seen[..., 0, :]
    if alike(one[..., 0, :], seen, axis=0):
        if (one == other).all():
            yield "same pattern in every call and for every seed"
        elif s.set_back[True]:
            yield "same pattern in every call: the generator is set back"
        else:
            yield "same pattern in every call"
    elif in_pairs(one[..., 0, :], seen, axis=0):
        yield "a pattern serves two calls"
    elif (one == other).all():
        yield "torch.manual_seed does not decide what is dropped: the same for every seed"
    elif (one != again).any():
        yield "torch.manual_seed does not decide what is dropped"


def who_is_spared(s: Sample) -> Iterator[str]:
    """Places that are never dropped, whether they grow like survivors or stay as they are."""
    seen = s.seen[..., 0, :]
    for name, places in SPARED.items():
        there = np.broadcast_to(places(seen.shape) > 0, seen.shape)
        for factor, what in ((SURVIVES, "never dropped"), (1.0, "neither dropped nor scaled")):
            if spared(s.times(factor, s.drawn)[..., 0, :], seen, there) and s.zero_or(
                SURVIVES, np.where(there[..., None, :], SURVIVES * s.before, s.drawn)
            ):
                yield f"{name} {what}"


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
    """Whether all draws at places (B, H, T, T) survive, and some elsewhere do not."""
    there = np.broadcast_to(seen, kept.shape)
    here = kept[there & places]
    return bool(here.size >= ENOUGH and here.all() and not kept[there & ~places].all())
