"""mask/, window/, groups/: what hides, and what is shared, does so in long rows as in short ones.

Tiles are skipped that a mask or a window hides as a whole, and the last one of a row is cut. What is
wrong there begins where the first tile ends.
"""

from __future__ import annotations

from properties.cases.case import Case
from properties.cases.long_calls import LENGTHS, share
from properties.spec.clause import Level, clause
from properties.spec.clauses.groups import READS
from properties.spec.clauses.mask import SHOWN
from properties.spec.clauses.rows import FORMATS
from properties.spec.clauses.window import EXACT

HANDED = {"function", "told by calls"}


def largest_share(case: Case, role: str) -> float:
    """Of all lengths."""
    return max(share(case.subject, role, tokens, case.dtype) for tokens in LENGTHS)


@clause(
    "mask/rows-of-257-keys",
    Level.MUST,
    "In rows of 65, 130 and 257 keys a mask shows what it shows, whichever key dominates them.",
    needs={"takes mask"} | HANDED,
    after=(SHOWN,),
    examples=FORMATS,
)
def masked_rows(case: Case) -> float:
    """A third of all keys is hidden, the dominating one of a row among them or not. A mask that is read
    up to the end of a tile alone, or with the strides of another length, shows.
    """
    return largest_share(case, "mask")


@clause(
    "window/rows-of-257-keys",
    Level.MUST,
    "In rows of 65, 130 and 257 keys a window is as wide as it says, whichever key dominates them.",
    needs={"takes window"} | HANDED,
    after=(EXACT,),
    examples=FORMATS,
)
def windowed_rows(case: Case) -> float:
    """A window of half a row and three keys, so that its end lies within a tile. One that ends with its
    tile, or at 64, and one whose first tile is skipped show.
    """
    return largest_share(case, "window")


@clause(
    "groups/rows-of-257-keys",
    Level.MUST,
    "In rows of 65, 130 and 257 keys each head reads its own group, whichever key dominates them.",
    needs={"takes groups"} | HANDED,
    after=(READS,),
    examples=FORMATS,
)
def grouped_rows(case: Case) -> float:
    """Four heads of queries, two of keys and values, each with its keys in another order. Heads of a
    group that are folded into one tile of queries must not run into each other.
    """
    return largest_share(case, "groups")
