"""The areas of the specification, apart from it so that naming them loads nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from properties.basics.errors import QuestionError

AREAS = (
    "shape",
    "error",
    "position",
    "argument",
    "weights",
    "causality",
    "heads",
    "context",
    "projection",
    "symmetry",
    "oracle",
    "rows",
    "mask",
    "cross",
    "groups",
    "window",
    "score",
    "result",
    "packed",
    "paths",
    "memory",
    "cache",
    "dropout",
    "numerics",
    "gradient",
    "state",
    "transform",
)
"""The order in which a reader meets them; an area that is not named here comes last."""


def unknown(name: str, known: Iterable[str]) -> QuestionError:
    """The error for a clause that there is not, with those whose names are nearest."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    return QuestionError(
        f"no clause {name!r}; did you mean {' or '.join(near) or 'another one'}? "
        "`attention-properties clauses` lists them all."
    )
