"""Attention step by step, each step a method that a wrong formula overrides.

Every step carries a bound on its error (`arithmetic.py`), so a formula says not only what its output
is but how far from it a subject may be that computes this very formula. No tolerance is chosen.

Legend: B batch, T tokens, H heads, G heads of keys and values, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array, Format
from properties.cases.case import Case
from properties.findings.names.arithmetic import ALMOST, affine, mixture, moved, product, softmax
from properties.findings.names.drawing import Chance, Shape
from properties.subjects.positions import Positions
from properties.subjects.subject import FAMILIES
from properties.truth.attend import repeated
from properties.truth.bounds import Near, exactly, merge_heads
from properties.truth.bounds.positions import turned
from properties.truth.oracle import merge, split
from properties.truth.parameters import Weights

Seen = NDArray[np.bool_]
Entry = type["Formula"]
Desk = dict[tuple[str, tuple[Entry, ...]], Near]
STEPS = (
    "project",
    "split",
    "turn",
    "score",
    "scale",
    "hide",
    "normalise",
    "drop",
    "mix",
    "merge",
    "finish",
)
UNTIL = {step: frozenset(STEPS[: number + 1]) for number, step in enumerate(STEPS)}
PARTS = {
    "projected": "project",
    "share": "project",
    "for_all_heads": "project",
    "turned_queries": "turn",
    "turned_keys": "turn",
    "turned": "turn",
    "turned_at": "turn",
    "factor": "scale",
    "seen": "hide",
    "factors": "drop",
}  # methods that steps consist of


@lru_cache(maxsize=192)
def projection(case: Case, fmt: Format, name: str) -> Near:
    """The input through a projection as it should be, (B, T, W); most wrong formulas share it."""
    weights = case.weights
    matrix, bias = getattr(weights, name), getattr(weights, f"{name}_bias")
    return affine(exactly(case.x), matrix, bias, fmt)


@dataclass(frozen=True, eq=False)
class Masked:
    """Scores (B, H, T, T), which of them are seen, and what the weights are where none is.

    nothing: NaN where hidden scores are minus infinity, zero where that is mended, None for an even
    share, where they are the lowest number.
    """

    scores: Near
    seen: Seen  # of a shape that broadcasts to that of the scores
    nothing: float | None = np.nan


class Formula:
    """Attention as it should be.

    called: what a wrong formula does; look: where to look for it; families: where it is wrong;
    alone: whether it is not looked for with others: what they work on has not its usual shape, or it
    is one of many that differ in a number; reaches: the keys up to which it is right.
    A wrong form of one step overrides that step alone, so two of different steps make a pair.
    """

    called: ClassVar[str] = "attention as specified"
    look: ClassVar[str] = ""
    families: ClassVar[frozenset[str]] = frozenset(FAMILIES)
    alone: ClassVar[bool] = False
    reaches: ClassVar[int] = 0
    steps: ClassVar[frozenset[str]] = frozenset()  # that are exchanged
    forms: ClassVar[tuple[Entry, ...]] = ()  # the wrong forms that it is made of

    def __init_subclass__(cls) -> None:
        """Note which steps a wrong form exchanges."""
        own = {name for base in cls.__mro__ if base not in (Formula, object) for name in vars(base)}
        cls.steps = frozenset({PARTS.get(name, name) for name in own} & set(STEPS))
        cls.forms = (cls,)

    def __init__(
        self, case: Case, fmt: Format, desk: Desk | None = None, chance: Chance | None = None
    ) -> None:
        self.case, self.fmt, self.sizes = case, fmt, case.sizes
        self.x = exactly(case.x)  # (B, T, d_in)
        self.desk = {} if desk is None else desk  # what formulas of this case and format share
        self.chance = chance or Chance(0.0)

    @classmethod
    def fits(cls, case: Case) -> bool:
        """Whether the formula can be written down for these sizes and parameters."""
        return True

    @classmethod
    def until(cls, step: str) -> tuple[Entry, ...]:
        """The wrong forms that exchange a step up to this one."""
        return tuple(form for form in cls.forms if form.steps & UNTIL[step])

    @property
    def parameters(self) -> Weights:
        """The case's parameters, where the family has any."""
        if self.case.weights is None:
            raise ValueError(f"{self.called}: the case has no parameters")
        return self.case.weights

    def once(self, step: str, compute: Callable[[], Near]) -> Near:
        """What this step ends with, computed once for all formulas that are the same up to it."""
        key = step, self.until(step)
        if key not in self.desk:
            self.desk[key] = compute()
        return self.desk[key]

    def output(self) -> Near:
        """(B, T, W)."""
        return self.once("finish", lambda: self.finish(self.once("merge", self.context)))

    def context(self) -> Near:
        """(B, T, W)."""
        weights = self.once("drop", self.weights)
        return self.merge(self.mix(weights, self.parts[2]))

    def weights(self) -> Near:
        """(B, H, T, T)."""
        return self.drop(self.normalise(self.hide(self.once("scale", self.scores))))

    def scores(self) -> Near:
        """(B, H, T, T)."""
        return self.scale(self.score(*self.parts[:2]))

    @cached_property
    def parts(self) -> tuple[Near, Near, Near]:
        """Queries, keys and values, each (B, H, T, D)."""
        projected = zip(("query", "key", "value"), self.project(), strict=True)
        queries, keys, values = (self.split(self.for_all_heads(n, part)) for n, part in projected)
        if self.case.subject.positions is None:
            return queries, keys, values
        return self.turn(queries, keys, values)

    def turn(self, queries: Near, keys: Near, values: Near) -> tuple[Near, Near, Near]:
        """Queries, keys and values (B, H, T, D) after positions have turned them."""
        return self.turned_queries(queries), self.turned_keys(keys), values

    def turned_queries(self, queries: Near) -> Near:
        """Queries turned by where they stand, (B, H, T, D)."""
        return self.turned(queries)

    def turned_keys(self, keys: Near) -> Near:
        """Keys turned by where they stand, (B, H, T, D)."""
        return self.turned(keys)

    def turned(self, part: Near) -> Near:
        """Queries or keys turned by where they stand, (B, H, T, D)."""
        return self.turned_at(part, np.arange(float(part.value.shape[-2])))

    def turned_at(self, part: Near, places: Array) -> Near:
        """Queries or keys turned as if they stood at these places, (T,) or (B, T)."""
        positions = self.positions
        if part.value.shape[-1] % positions.multiple:
            return part  # a wrong form has made heads of a width that nobody can turn
        rotary = positions.at(places, places)
        angles = FORMATS[positions.angles(self.case.dtype)]
        return turned(part, rotary.queries, rotary, self.fmt, angles)

    @property
    def positions(self) -> Positions:
        """The convention of the subject, where it turns queries and keys."""
        found = self.case.subject.positions
        if found is None:
            raise ValueError(f"{self.called}: the subject turns nothing")
        return found

    def for_all_heads(self, name: str, part: Near) -> Near:
        """(B, T, W) of what has G heads, (B, T, G * D): one for each head of queries."""
        if part.value.shape[-1] != self.sizes.key_width:
            return part
        return moved(part, lambda a: merge(self.share(name, split(a, self.sizes.key_heads))))

    def share(self, name: str, heads: Array) -> Array:
        """(B, G, T, D) -> (B, H, T, D): head h reads number h // (H / G)."""
        return repeated(heads, self.sizes.heads)

    def project(self) -> tuple[Near, Near, Near]:
        """Queries, keys and values, each (B, T, W), or (B, T, G * D) of fewer heads."""
        if self.case.weights is None:
            return self.x, self.x, self.x
        return self.projected("query"), self.projected("key"), self.projected("value")

    def projected(self, name: str) -> Near:
        """The input through one projection, (B, T, W)."""
        return projection(self.case, self.fmt, name)

    def through_layer(self, matrix: Array, bias: Array | None) -> Near:
        """The input through a layer, (B, T, W)."""
        return affine(self.x, matrix, bias, self.fmt)

    def bias(self, name: str) -> Array | None:
        """The bias of one projection, (W,), where it has one."""
        bias: Array | None = getattr(self.parameters, f"{name}_bias")
        return bias

    def split(self, part: Near) -> Near:
        """(B, T, W) -> (B, H, T, D)."""
        heads = self.sizes.heads
        return Near(split(part.value, heads), split(part.error, heads))

    def score(self, queries: Near, keys: Near) -> Near:
        """(B, H, T, T)."""
        return product(queries, keys.turned, self.fmt, spare=ALMOST)

    def scale(self, scores: Near) -> Near:
        """The scores times `factor`, whose rounding `score` has left room for."""
        factor = np.abs(self.factor)
        return Near(scores.value * self.factor, scores.error * factor)

    @property
    def factor(self) -> Array | float:
        """What multiplies the scores."""
        return self.case.request.factor(self.sizes.head_dim)

    def seen(self) -> Seen:
        """What a query sees, of a shape that broadcasts to (B, H, T, T)."""
        return self.case.request.visible

    def hide(self, scores: Near) -> Masked:
        """The scores, and which of them are seen."""
        return Masked(scores, self.seen())

    def normalise(self, masked: Masked) -> Near:
        """Softmax over the keys that are seen, (B, H, T, T)."""
        return softmax(masked.scores, masked.seen, -1, self.fmt, masked.nothing)

    def drop(self, weights: Near) -> Near:
        """Dropout on the weights, in training."""
        return self.dropped(weights)

    def dropped(self, part: Near) -> Near:
        """Some of the numbers zero and the others larger, where there is dropout."""
        if not self.chance.modes:  # outside of any call nothing is drawn
            return part
        factors = self.factors(part.value.shape)
        return Near(part.value * factors, part.error * factors)

    def factors(self, shape: Shape) -> Array:
        """What dropout multiplies so many numbers by."""
        return self.chance.factors(shape)

    def mix(self, weights: Near, values: Near) -> Near:
        """(B, H, T, T), (B, H, T, D) -> (B, H, T, D)."""
        return mixture(weights, values, self.fmt)

    def merge(self, context: Near) -> Near:
        """(B, H, T, D) -> (B, T, W)."""
        return merge_heads(context)

    def finish(self, context: Near) -> Near:
        """The output projection where there is one."""
        weights = self.case.weights
        if weights is None or weights.out is None:
            return context
        return affine(context, weights.out, weights.out_bias, self.fmt)
