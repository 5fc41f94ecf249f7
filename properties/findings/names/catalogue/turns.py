"""Queries and keys that are turned otherwise than by their positions, as the convention has it.

Legend: B batch, T tokens, H heads, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.findings.names.arithmetic import moved
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Entry, Formula, Seen
from properties.subjects.positions import Positions
from properties.subjects.subject import PROJECTED_FAMILIES
from properties.truth.bounds import Near, gamma
from properties.truth.bounds.positions import turn_error, turned
from properties.truth.positions import pairs

BOTH, QUERIES, KEYS = (True, True), (True, False), (False, True)
PLACES = "how positions are counted, and where an offset is added"
AXIS = (
    "the axis along which angles are laid: heads and items are no positions; whether what was turned "
    "is used"
)
WHICH = "which of queries, keys and values go through the turn"
PAIRS = "which columns make a pair, and how cosines and sines are repeated"
COLUMNS = "the slice of the columns that are turned"
SPEEDS = "the base, and the exponents 2 i / R"
SIGNS = "the signs of the four products, and which factor is the cosine"
Change = Callable[[Formula, Near], Near]
Numbers = NDArray[np.int_]


class Turned(Formula):
    """A formula for subjects that turn queries and keys."""

    @classmethod
    def fits(cls, case: Case) -> bool:
        """Whether positions turn anything."""
        return super().fits(case) and case.subject.positions is not None


def enter(called: str, look: str) -> Callable[[Entry], Entry]:
    """Enter a wrong turn."""
    return wrong(called, look, PROJECTED_FAMILIES, alone=True)


def changing(called: str, look: str, change: Change, which: tuple[bool, bool] = BOTH) -> None:
    """Enter a turn of queries, keys or both that is made otherwise."""

    @enter(called, look)
    class Otherwise(Turned):
        """What is not named is turned as it should be."""

        def turned_queries(self, queries: Near) -> Near:
            return change(self, queries) if which[0] else self.turned(queries)

        def turned_keys(self, keys: Near) -> Near:
            return change(self, keys) if which[1] else self.turned(keys)


def by(change: Callable[[Positions], Positions]) -> Change:
    """The turn by another convention than the subject's."""

    def turn(formula: Formula, part: Near) -> Near:
        other, places = change(formula.positions), np.arange(float(formula.sizes.tokens))
        rotary = other.at(places, places)
        own = FORMATS[formula.positions.angles(formula.case.dtype)]
        return turned(part, rotary.queries, rotary, formula.fmt, own)

    return turn


def at(places: Callable[[Formula], Array]) -> Change:
    """The turn as if tokens stood elsewhere."""
    return lambda formula, part: formula.turned_at(part, places(formula))


def counted(formula: Formula) -> Array:
    """0 to T - 1."""
    return np.arange(float(formula.sizes.tokens))


def not_at_all(formula: Formula, part: Near) -> Near:
    """As it was projected."""
    return part


def first(numbers: Numbers) -> Seen:
    """The first one alone."""
    return numbers == 0


def all_but_the_last(numbers: Numbers) -> Seen:
    """A loop that ends early."""
    return numbers < len(numbers) - 1


def some_alone(axis: int, chosen: Callable[[Numbers], Seen]) -> Change:
    """The turn of some items (axis 0) or heads (axis 1) by their numbers, the others as projected."""

    def turn(formula: Formula, part: Near) -> Near:
        whole = formula.turned(part)
        shape = [1] * whole.value.ndim
        shape[axis] = whole.value.shape[axis]
        there = chosen(np.arange(shape[axis])).reshape(shape)
        return Near(
            np.where(there, whole.value, part.value), np.where(there, whole.error, part.error)
        )

    return turn


def mixing(signs: tuple[float, float], spread: Callable[[Array], tuple[Array, Array]]) -> Change:
    """Pairs (a, b) become (a c - s b, b c' + s' a), with signs of their own for both sines.

    spread: the angles of the pairs, (T, R / 2), as those of first and second columns.
    """

    def turn(formula: Formula, part: Near) -> Near:
        convention, fmt = formula.positions, formula.fmt
        first, second = pairs(part.value.shape[-1], convention.pairing, convention.portion)
        rotary = convention.at(counted(formula), counted(formula))
        angle = rotary.angles(rotary.queries, len(first))
        own = FORMATS[convention.angles(formula.case.dtype)]
        off = turn_error(rotary.queries, len(first), rotary, fmt, own).max(axis=-1, keepdims=True)
        value, error = part.value.copy(), part.error.copy()
        sides = zip((first, second), (second, first), spread(angle), signs, strict=True)
        for one, other, its, sign in sides:
            cosine, sine = rotary.gain * np.cos(its), rotary.gain * sign * np.sin(its)
            rounded = (
                rotary.gain
                * (off + gamma(4, fmt))
                * (part.grown[..., one] + part.grown[..., other])
            )
            value[..., one] = part.value[..., one] * cosine + part.value[..., other] * sine
            error[..., one] = (
                np.abs(cosine) * part.error[..., one]
                + np.abs(sine) * part.error[..., other]
                + rounded
                + 4 * fmt.spacing_at_zero
            )
        return Near(value, error)

    return turn


def alike(angle: Array) -> tuple[Array, Array]:
    """One angle for both columns of a pair."""
    return angle, angle


def laid_otherwise(pairing: str) -> Change:
    """The angle of each column as the other pairing lays them."""

    def spread(angle: Array) -> tuple[Array, Array]:
        if pairing == "halves":  # repeated in turn
            first, second = np.split(np.repeat(angle, 2, axis=-1), 2, axis=-1)
            return first, second
        twice = np.concatenate([angle, angle], axis=-1)
        return twice[:, 0::2], twice[:, 1::2]

    def turn(formula: Formula, part: Near) -> Near:
        if formula.positions.pairing != pairing:
            return formula.turned(part)
        return mixing((-1.0, 1.0), spread)(formula, part)

    return turn


def other_pairing(convention: Positions) -> Positions:
    """Halves for neighbours, and neighbours for halves."""
    pairing = convention.pairing
    return replace(convention, pairing="neighbours" if pairing == "halves" else "halves")


def other_way(convention: Positions) -> Positions:
    """By minus the angle."""
    backwards = convention.direction == "backwards"
    return replace(convention, direction="forwards" if backwards else "backwards")


def rest_as_well(turn_rest: Change) -> Change:
    """The columns that should be left, too, where they are as many as those that are turned."""

    def turn(formula: Formula, part: Near) -> Near:
        columns = part.value.shape[-1]
        number = round(columns * formula.positions.portion)
        whole = formula.turned(part)
        if 2 * number != columns:
            return whole
        exchanged = moved(part, lambda a: np.roll(a, number, axis=-1))
        rest = moved(turn_rest(formula, exchanged), lambda a: np.roll(a, number, axis=-1))
        left = np.arange(columns) >= number
        return Near(
            np.where(left, rest.value, whole.value), np.where(left, rest.error, whole.error)
        )

    return turn


def start_again(formula: Formula) -> Array:
    """Positions modulo half the context."""
    return counted(formula) % max(1, formula.sizes.context_length // 2)


def exchanged(formula: Formula, part: Near) -> Near:
    """Cosine for sine and sine for cosine: pi / 2 minus the angle."""
    return mixing((-1.0, 1.0), lambda angle: (np.pi / 2 - angle, np.pi / 2 - angle))(formula, part)


changing("positions ignored", AXIS, not_at_all)
changing("first item alone rotated", AXIS, some_alone(0, first))
changing("first head alone rotated", AXIS, some_alone(1, first))
changing("last item not rotated", AXIS, some_alone(0, all_but_the_last))
changing("last head not rotated", AXIS, some_alone(1, all_but_the_last))
changing("columns that should be left are rotated, too", COLUMNS, rest_as_well(Formula.turned))
changing(
    "columns that should be left are rotated the other way", COLUMNS, rest_as_well(by(other_way))
)
changing("positions start again", "a table that is read modulo its length", at(start_again))
changing("angles doubled", PLACES, at(lambda formula: 2.0 * counted(formula)))
changing("angles halved", PLACES, at(lambda formula: counted(formula) / 2.0))
changing("a reflection for a rotation", SIGNS, mixing((-1.0, -1.0), alike))
changing("a reflection for a rotation", SIGNS, mixing((1.0, 1.0), alike))
changing("angles of neighbours on halves", PAIRS, laid_otherwise("halves"))
changing("angles of halves on neighbours", PAIRS, laid_otherwise("neighbours"))
changing("pairs of queries and keys differ", PAIRS, by(other_pairing), KEYS)
changing("pairs of queries and keys differ", PAIRS, by(other_pairing), QUERIES)
for name, which in {"queries": QUERIES, "keys": KEYS}.items():
    changing(f"{name} not rotated", WHICH, not_at_all, which)
    changing(f"positions of {name} from one", PLACES, at(lambda f: counted(f) + 1.0), which)
    changing(f"{name} rotated the other way", SIGNS, by(other_way), which)
    changing(f"cosine and sine exchanged in {name}", SIGNS, exchanged, which)
    for factor in (10.0, 0.1, 50.0, 100.0, 0.01):
        changing(
            f"base of {name} differs",
            SPEEDS,
            by(lambda c, factor=factor: replace(c, base=c.base * factor)),  # type: ignore[misc]
            which,
        )
for base in (100.0, 1000.0, 10000.0, 100000.0, 500000.0, 1000000.0):
    changing(f"base {base:g}", SPEEDS, by(lambda c, base=base: replace(c, base=base)))  # type: ignore[misc]


def of_values(called: str, change: Change) -> None:
    """Enter values that are turned."""

    @enter(called, WHICH)
    class ValuesRotated(Turned):
        """Besides queries and keys."""

        def turn(self, queries: Near, keys: Near, values: Near) -> tuple[Near, Near, Near]:
            return self.turned(queries), self.turned(keys), change(self, values)


of_values("values rotated", Formula.turned)
of_values("values rotated the other way", by(other_way))
