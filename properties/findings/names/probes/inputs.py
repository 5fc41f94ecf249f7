"""What is done to an input, or a probability, that does not fit.

Legend: T tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.examples import Example
from properties.findings.names.formula import Formula, Seen
from properties.findings.names.probes import alike, equal, probe

TOKENS = frozenset({"error/too-many-tokens"})
COLUMNS = frozenset({"error/wrong-d_in"})


def raw(case: Case, x: Array) -> Array:
    """The output for an input of any shape; SubjectError where it is refused."""
    instance = case.build()
    instance.module.eval()
    with torch.no_grad():
        output = instance.forward(instance.tensor(x))
    return output.to(torch.float64).numpy()


@probe("columns beyond d_in are cut off", "a slice of the input's columns", COLUMNS)
def columns_cut(case: Case) -> bool:
    """A wider input gives what its first d_in columns give."""
    return equal(raw(case, np.concatenate([case.x, case.other], axis=-1)), case.run())


@probe("missing columns are taken for zeros", "a padding of the input's columns", COLUMNS)
def columns_filled(case: Case) -> bool:
    """A narrower input gives what it gives with zeros added."""
    if case.sizes.d_in < 2:
        return False
    x = case.x.copy()
    x[..., -1] = 0.0
    return equal(raw(case, x[..., :-1]), case.run(x))


@probe("a single column is repeated", "an expand or a broadcast of the input", COLUMNS)
def column_repeated(case: Case) -> bool:
    """An input of one column gives what d_in copies of it give."""
    if case.sizes.d_in < 2:
        return False
    return equal(
        raw(case, case.x[..., :1]), case.run(np.repeat(case.x[..., :1], case.sizes.d_in, -1))
    )


@probe(
    "a sequence without a batch axis is read as items of one token each",
    "an axis that is added in the wrong place",
    frozenset({"error/wrong-rank"}),
)
def tokens_for_items(case: Case) -> bool:
    """(T, d_in) gives what (T, 1, d_in) gives, and one token sees no other."""
    if case.sizes.tokens < 2 or case.subject.has("unbatched"):
        return False
    tokens = case.x[0]
    alone = np.stack([case.run(token[None, None])[0] for token in tokens])
    found = raw(case, tokens)
    return found.size == alone.size and bool(
        (np.abs(found.reshape(alone.shape) - alone) <= 1e-3 * np.abs(alone).max()).all()
    )


def longer(case: Case) -> Case:
    """The case with one token more than the module is made for."""
    limit = max(2, case.sizes.tokens)
    x = np.concatenate([case.x, case.other], axis=1)[
        :, np.arange(limit + 1) % (2 * case.sizes.tokens)
    ]
    sizes = replace(case.sizes, tokens=limit + 1, context_length=limit)
    return replace(case, x=x, other=x, sizes=sizes)


@probe("the beginning of a longer input is cut off", "a slice of the input's tokens", TOKENS)
def beginning_cut(case: Case) -> bool:
    """As many rows come out as fit, those of the last tokens."""
    long = longer(case)
    return equal(long.run(), long.run(long.x[:, -long.sizes.context_length :]))


@probe(
    "rows beyond context_length are zero", "a slice of the input's tokens, and a padding", TOKENS
)
def rows_zero(case: Case) -> bool:
    """The first rows are right."""
    long = longer(case)
    output, limit = long.run(), long.sizes.context_length
    first = long.run(long.x[:, :limit])
    return (
        output.shape[1] == limit + 1
        and equal(output[:, :limit], first)
        and not output[:, limit:].any()
    )


class Unhidden(Formula):
    """Nothing is hidden beyond the mask."""

    def seen(self) -> Seen:
        """All rows and columns that the mask does not reach."""
        beyond = np.arange(self.sizes.tokens) >= self.sizes.context_length
        return super().seen() | beyond[:, None] | beyond


class StartingOver(Formula):
    """The mask is repeated."""

    def seen(self) -> Seen:
        """As for the number of a token modulo context_length."""
        again = np.arange(self.sizes.tokens) % self.sizes.context_length
        return again[None, :] <= again[:, None]


def is_formula(case: Case, formula: type[Formula]) -> bool:
    """Whether the output for a longer input is wrong, and the formula's."""
    example = Example(longer(case))
    if not case.known or example.output is None or example.right:
        return False
    return example.agrees(formula) and example.betrays(formula)


@probe("nothing is hidden beyond context_length", "a mask that is shorter than the input", TOKENS)
def unhidden(case: Case) -> bool:
    """What the mask does not reach is seen."""
    return is_formula(case, Unhidden)


@probe("the mask starts over beyond context_length", "an index modulo context_length", TOKENS)
def starting_over(case: Case) -> bool:
    """The mask is repeated."""
    return is_formula(case, StartingOver)


OUTSIDE = frozenset({"error/dropout-out-of-range", "error/dropout-out-of-range-at-construction"})


def at(case: Case, p: float) -> Array:
    """The output in training at a p that is none."""
    return case.run(training=True, dropout=p)


@probe("a dropout above 1 drops nothing", "what the constructor checks", OUTSIDE)
def drops_nothing(case: Case) -> bool:
    """Training at p = 1.5 is evaluation."""
    return case.subject.has("dropout") and alike(case, at(case, 1.5), case.run())


@probe("a dropout above 1 is taken for 1", "a clamp of the probability", OUTSIDE)
def drops_all(case: Case) -> bool:
    """Training at p = 1.5 is training at p = 1, where all is dropped."""
    return case.subject.has("dropout") and equal(at(case, 1.5), at(case, 1.0))


@probe("a dropout above 1 is taken for a percentage", "a division by 100", OUTSIDE)
def percentage(case: Case) -> bool:
    """Training at p = 50 is training at p = 0.5, and not evaluation."""
    if not case.subject.has("dropout"):
        return False
    half = at(case, 50.0)
    return equal(half, at(case, 0.5)) and not equal(half, case.run())
