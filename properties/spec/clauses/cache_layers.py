"""cache/: several layers write to one cache, each to its own place.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import replace

from properties.cases.case import Case
from properties.cases.steps import in_layers, in_words, splits
from properties.spec.clause import Level, clause
from properties.spec.clauses.cache import BY_CHUNK, CACHE, agrees
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.subjects.subject import CAUSAL_FAMILIES


@clause(
    "cache/layers-keep-their-own",
    Level.MUST,
    "Of two layers that share one cache each goes on from its own keys and values.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"layers share a cache"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK,),
)
def layers_keep_their_own(case: Case) -> float:
    """A model hands one cache to all its layers, and each finds its keys by its index. A layer that writes
    to the place of the first one, or reads it, is right alone and wrong beside another: here one is fed
    other tokens, by turns.
    """
    tokens, shares = case.sizes.tokens, []
    cases = (case, replace(case, x=case.other))
    for lengths in ([1] * tokens, *splits(tokens, case.cut)):
        for n, (one, found) in enumerate(zip(cases, in_layers(case, lengths), strict=True)):
            words = f"layer {n} of two that share a cache, {in_words(lengths)},"
            shares.append(agrees(words, found, one))
    return max(shares)
