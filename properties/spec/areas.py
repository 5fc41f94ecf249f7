"""The areas of the specification, apart from it so that naming them loads nothing else."""

from __future__ import annotations

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
