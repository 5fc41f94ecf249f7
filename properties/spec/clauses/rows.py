"""rows/: long rows are computed as short ones are.

What a tile, a lane or a mask of a fixed size does wrong begins where it ends, so rows of one key more
than a multiple of the usual tiles are asked, with a key that dominates at each place in turn. They
are the same in every run: `long_rows.py` makes them. Queries and keys that positions turn
are no sums of such digits: where they are turned, rows of general numbers are asked.
"""

from __future__ import annotations

from functools import lru_cache

from properties.basics.assertions import Violation, near
from properties.basics.errors import OutsideError, SubjectError
from properties.cases import lending, probing
from properties.cases.case import Case
from properties.cases.long_rows import LENGTHS, long_rows, turned_rows
from properties.spec.clause import Level, clause
from properties.subjects.subject import Subject
from properties.truth.parameters import Sizes

FORMATS = 4  # examples: the first pinned ones have one format each


def share(subject: Subject, tokens: int, items: int, dtype: str) -> float:
    """The share of the budget that long rows use."""
    found, sizes = asked_once(subject, tokens, items, dtype, lending.lends())
    probing.note(sizes, dtype)
    if isinstance(found, Violation):
        raise found.with_traceback(None)
    return found


@lru_cache(maxsize=64)
def asked_once(
    subject: Subject, tokens: int, items: int, dtype: str, lent: bool
) -> tuple[float | Violation, Sizes]:
    """The share, or what does not hold, and the sizes asked: a drawn case has no part in them, so that
    making it smaller asks nothing again. A module that is `lent` tells nothing of a new one.
    """
    if subject.positions is None:
        case, truth = long_rows(subject, tokens, items, dtype)
        name, right, allowed = "a context", truth.rows.output, truth.allowed(dtype)
    else:
        case = turned_rows(subject, tokens, dtype)
        name, right, allowed = "an output", case.trace.output, case.budget.output
    what = f"among {tokens} keys in {dtype} {name} of"
    try:
        return near(what, case.output, right, allowed, "batch token column"), case.sizes
    except Violation as violation:
        return violation, case.sizes


def largest_share(case: Case, profile: str) -> float:
    """Of the lengths taken. What has no context_length may refuse more tokens than it was made for."""
    shares, lengths = [], LENGTHS[profile]
    for tokens, items in lengths.items():
        one_item = case.subject.limits.one_item
        try:
            shares.append(share(case.subject, tokens, 1 if one_item else items, case.dtype))
        except SubjectError as error:
            if case.subject.has("context-length") and not isinstance(error, OutsideError):
                raise
    if not shares:
        raise OutsideError(f"rows of {', '.join(map(str, lengths))} keys")
    return max(shares)


@clause(
    "rows/up-to-130-keys",
    Level.MUST,
    "Rows of 33, 65 and 130 keys are the formula's, whichever key dominates them.",
    needs={"projections"},
    after=("oracle/output-within-bound",),
    examples=FORMATS,
)
def up_to_130_keys(case: Case) -> float:
    """One key more than a tile of 32 or 64, two more than one of 128. A quarter of the rows has the
    key at its own place far above all others, a quarter any other, with every score far below zero;
    a quarter is mild, and a quarter scores all keys alike. A sum that is raised by a factor with
    every tile, a running maximum that a hidden tile leaves at zero, a last tile that is left out and
    a mask that ends too soon are wrong in one of them. In short formats the sum of many like terms
    may be off by as much as itself; there the rows that one key dominates, and what is hidden,
    still tell.
    """
    return largest_share(case, "quick")


@clause(
    "rows/up-to-1025-keys",
    Level.MUST,
    "Rows of 257 and 1025 keys are the formula's, whichever key dominates them.",
    needs={"projections"},
    after=("rows/up-to-130-keys",),
    examples=FORMATS,
    since="ci",
)
def up_to_1025_keys(case: Case) -> float:
    """Masks of 256, 512 or 1024 keys, blocks of as many, and integers of eight bits end below."""
    return largest_share(case, "ci")


@clause(
    "rows/up-to-4097-keys",
    Level.MUST,
    "Rows of 4097 keys are the formula's, whichever key dominates them.",
    needs={"projections"},
    unless={"positions"},  # whose budgets take gigabytes then
    after=("rows/up-to-1025-keys",),
    examples=FORMATS,
    since="thorough",
)
def up_to_4097_keys(case: Case) -> float:
    """Masks of 2048 or 4096 keys end below, and a float16 that counts tokens."""
    return largest_share(case, "thorough")
