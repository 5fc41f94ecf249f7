"""cache/: several layers write to one cache, each to its own place.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import replace

from properties.basics.assertions import near
from properties.cases.case import Case
from properties.cases.steps import in_layers, in_words, splits
from properties.spec.clause import Level, clause
from properties.spec.clauses.cache import AXES, BY_CHUNK, CACHE
from properties.spec.clauses.cache_masks import BESIDE
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.subjects.subject import CAUSAL_FAMILIES
from properties.truth import oracle


@clause(
    "cache/layers-keep-their-own",
    Level.MUST,
    "Of two layers that share one cache each goes on from its own keys and values.",
    families=CAUSAL_FAMILIES | {"encoder"},
    needs=CACHE | {"layers share a cache"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK, BESIDE),
)
def layers_keep_their_own(case: Case) -> float:
    """A model hands one cache to all its layers, and each finds its keys by its index. A layer that writes
    to the place of the first one, or reads it, is right alone and wrong beside another: here one is fed
    other tokens, by turns. Where only a mask hides the future they are fed one by one, since none is there.
    """
    tokens, shares = case.sizes.tokens, []
    cases = (case, replace(case, x=case.other))
    for lengths in ([1] * tokens, *(splits(tokens, case.cut) if case.causal else ())):
        for n, (one, found) in enumerate(zip(cases, in_layers(case, lengths), strict=True)):
            trace = one.trace_of(oracle.asked(tokens, tokens, causal=True, scaled=one.scaled))
            words = f"layer {n} of two that share a cache, {in_words(lengths)}, an output of"
            shares.append(near(words, found, trace.output, one.budget_of(trace).output, AXES))
    return max(shares)
