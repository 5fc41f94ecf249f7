"""The smallest case of a law about calls of a function: what the call was given, not tokens and weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from properties.spec.clause import clauses

NUMBERS = {"scale": ("scale",), "cap": ("cap",), "window": ("left", "right")}
"""Arguments that are numbers, and under which names a case keeps them."""


def about_a_call(case: dict[str, Any], clause: str) -> bool:
    """Whether a law asks a function, whose queries, keys and values the case holds."""
    needs = clauses()[clause].needs if clause in clauses() else ()
    told = {"told by calls", "returns more", "shared heads", "number of groups"}
    return of_a_function(case) and any(n in told or n.startswith("takes ") for n in needs)


def of_a_function(case: dict[str, Any]) -> bool:
    """Whether the case holds queries, keys and values."""
    return "queries" in case.get("call", {}).get("arrays", {})


def call_arrays(case: dict[str, Any], told: Iterable[str]) -> dict[str, Any]:
    """Queries, keys, values and what is told besides, by role; a mask is 1 where a key is seen."""
    held = case["call"]["arrays"]
    return shown(held, ("queries", "keys", "values", *told))


def shown(held: dict[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Some of the arrays of a call, masks as whole numbers."""
    whole = ("mask", "padding", "documents", "segments")
    return {
        name: np.asarray(held[name]).astype(int).tolist() if name.endswith(whole) else held[name]
        for name in wanted
        if name in held
    }


def told_a_module(case: dict[str, Any], told: Sequence[str]) -> dict[str, Any]:
    """What a module is told besides x, by role: masks, a context, and projections of that where they are
    others than those of x.
    """
    held = case.get("call", {}).get("arrays", {})
    if of_a_function(case):
        return {}
    wanted = [role for role in told if role not in ("context", "lengths")]
    context = {"context", "lengths"} & set(told)
    return shown(held, ("context", "context_key", "context_value") if context else ()) | shown(
        held, wanted
    )


def context_size(case: dict[str, Any], told: Sequence[str]) -> str:
    """The number of tokens of a context as " S=5", where a module is handed one; else nothing."""
    context = told_a_module(case, told).get("context")
    return "" if context is None else f" S={np.shape(context)[1]}"


def call_sizes(case: dict[str, Any], told: Iterable[str]) -> str:
    """Sizes in attention's own letters, and arguments that are numbers."""
    held, numbers = case["call"]["arrays"], case["call"]["numbers"]
    (batch, heads, tokens, width), (_, groups, keys, _) = (
        np.shape(held[name]) for name in ("queries", "keys")
    )
    sizes = f"B={batch} T={tokens} S={keys} H={heads} G={groups} D={width}"
    given = [
        f"{role} = {', '.join(f'{numbers[name]:g}' for name in NUMBERS[role])}"
        for role in told
        if role in NUMBERS
    ]
    return ", ".join([sizes, *given])


def roles(clause: str) -> list[str]:
    """What a law needs to be taken by a call."""
    needs = clauses()[clause].needs if clause in clauses() else ()
    return sorted(need.removeprefix("takes ") for need in needs if need.startswith("takes "))
