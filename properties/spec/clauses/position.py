"""position/: queries and keys are turned by where their tokens stand, and by nothing else.

Legend: B batch, T tokens, H heads, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import FORMATS, Array
from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.devices import (
    as_projected,
    with_queries_keys_values,
)
from properties.spec.clause import TURNED, Level, clause
from properties.spec.clauses.conditions import ALIVE, SEVERAL_HEADS, SEVERAL_ITEMS, SEVERAL_TOKENS
from properties.spec.clauses.position_probes import (
    from_start,
    general,
    log_odds,
    long,
    output_of,
    own_odds,
    shown,
    started_at,
    weights_shown,
    with_zero_queries,
)

FEW = 12  # examples are enough: a turn is wrong for all of them
NEEDS = {"projections", "positions"}
AXES = "batch token column"


@lru_cache(maxsize=ALIVE)
def at_right_angles(case: Case) -> Case:
    """Every query, once it is turned, at right angles to every key once that is turned."""
    queries, keys, values = general(case)
    head_dim = queries.shape[-1]
    basis = np.linalg.qr(np.random.default_rng(case.seed).normal(size=(head_dim, head_dim)))[0]
    half = head_dim // 2
    queries, keys = (
        long(part[..., :half] @ half_of.T)
        for part, half_of in ((queries, basis[:, :half]), (keys, basis[:, half : 2 * half]))
    )
    return with_queries_keys_values(case, queries, keys, values)


def as_without_scores(what: str, probe: Case) -> float:
    """The output is as if every score were zero, to within what the example's rounding makes of it."""
    still = with_zero_queries(probe)
    allowed = probe.budget.output + still.budget.output
    allowed = allowed + np.abs(probe.trace.output - still.trace.output)
    # The law is about scores: values that are mixed otherwise may come out in another column.
    return near(what, probe.output, still.output, allowed.max(axis=-1, keepdims=True), AXES)


@clause(
    TURNED,
    Level.MUST,
    "Queries and keys are turned by position * base**(-2 i / R), or slower for longer contexts, pair by "
    "pair, as one of the known conventions has it.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    after=(),
)
def rotary_is_a_known_one(case: Case) -> float:
    """The convention is found by trial: pairs of halves or of neighbours, a base, the whole head or a
    part of it, and where frequencies are scaled (linear, NTK, Llama 3, YaRN) the frequency of each pair;
    where none fits, the nearest one is asked for. Queries are drawn that stand at right
    angles to all keys once both are turned, and given turned back. Then all scores are zero, and the
    output is what it is with queries of zero, whatever is hidden, scaled, normalised or mixed. Whoever
    turns otherwise, or not at all, gives another output.
    """
    return as_without_scores("as with queries of zero an output of", at_right_angles(case))


@clause(
    "position/own-key-as-if-nothing-were-turned",
    Level.MUST,
    "A query and the key of its own token are turned by the same angles: their score is as if neither "
    "were turned.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    examples=FEW,
)
def own_key_as_if_nothing_were_turned(case: Case) -> float:
    """The last token's query is at right angles to its key, as they are projected; all other queries
    and keys are zero. So all scores are, and the output is as with queries of zero. It is not where
    queries count positions from one, or go by other pairs, another base or another direction.
    """
    queries, keys, values = general(case)
    queries[..., :-1, :] = keys[..., :-1, :] = 0.0
    half = queries.shape[-1] // 2
    # Every column meets one that is turned by another angle, with both signs.
    keys[..., -1, :half], keys[..., -1, half:] = queries[..., -1, half:], -queries[..., -1, :half]
    mixed = rearranged(half)
    probe = as_projected(case, queries[..., mixed], keys[..., mixed], values)
    return as_without_scores("as with queries of zero an output of", probe)


def rearranged(half: int) -> Array:
    """An order of 2 * half columns in which no pair is one of halves and few are of neighbours."""
    return np.concatenate([np.arange(half), half + (np.arange(half) + half // 2) % half])


@clause(
    "position/lengths-are-kept",
    Level.MUST,
    "Wherever a token stands, its query meets the same vector as its key with the same score: a turn "
    "keeps lengths.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    examples=FEW,
)
def lengths_are_kept(case: Case) -> float:
    """The same vector is query and key of the second token, and in another call of the last one; all
    others are zero. The logarithm of the weight on itself over that of the first token is the score.
    """
    (first, off), (last, more) = (met_by_itself(case, place) for place in (1, -1))
    return near("at the second token a score of", last, first, off + more, "batch head")


def met_by_itself(case: Case, place: int) -> tuple[Array, Array]:
    """The score (B, H) of a token there with itself, where all others are zero, and its error."""
    vectors = general(case, tokens=max(3, case.sizes.tokens))[0]
    alone = np.zeros_like(vectors)
    alone[..., place, :] = vectors[..., -1, :]
    probe = weights_shown(case, alone, alone)
    odds, off = log_odds(probe)
    return odds[..., place, place], off[..., place, place]


@clause(
    "position/depends-on-differences-alone",
    Level.MUST,
    "With other tokens before them, tokens score each other as they did: only the difference of their "
    "positions counts.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    examples=FEW,
)
def depends_on_differences_alone(case: Case) -> float:
    """Tokens whose keys are zero are put in front. The odds among the others stay what they were:
    queries and keys are the same numbers, each some places further on.
    """
    before = 2 + case.seed % 4
    queries, keys, _ = general(case, tokens=before + case.sizes.tokens)
    queries[..., :before, :] = keys[..., :before, :] = 0.0
    shifted = weights_shown(case, queries, keys)
    # What calls are told was drawn for another number of tokens, and is not asked here.
    still = replace(shifted, call=None).take(tokens=range(before, shifted.sizes.tokens))
    tokens = case.sizes.tokens
    (now, off), (ever, more) = (
        own_odds(*shown(probe, tokens, before)) for probe in (shifted, still)
    )
    among = np.tril(np.ones((tokens, tokens))) > 0
    now, ever, allowed = (np.where(among, part, 0.0) for part in (now, ever, off + more))
    return near("as without tokens in front odds of", now, ever, allowed, "batch head query key")


@clause(
    "position/values-are-not-turned",
    Level.MUST,
    "Values are mixed as they are: where all are the same, that value comes out everywhere.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    examples=FEW,
)
def values_are_not_turned(case: Case) -> float:
    """Queries and keys are zero. A value that is turned by its place comes out as another one."""
    queries, _, values = general(case)
    zero, same = np.zeros_like(queries), np.broadcast_to(values[..., :1, :], values.shape)
    probe = as_projected(case, zero, zero, same)
    return near("the value", probe.output, probe.trace.context, probe.budget.output, AXES)


@clause(
    "position/the-rest-is-left",
    Level.MUST,
    "Where a part of a head is turned, the other columns score as if there were no positions.",
    needs=NEEDS | {"partly turned"},
    counts=SEVERAL_TOKENS,
    examples=FEW,
)
def the_rest_is_left(case: Case) -> float:
    """Queries and keys are zero but for the columns that are left, in which they stand at right angles
    to each other: the queries in some, the keys in the others. All scores are zero, at any distance.
    """
    queries, keys, values = general(case)
    positions = case.subject.positions
    assert positions is not None  # the clause needs them
    head_dim = values.shape[-1]
    turned = round(head_dim * positions.portion)
    g = np.random.default_rng(case.seed)
    left = head_dim - turned
    basis = np.linalg.qr(g.normal(size=(left, left)))[0]
    half = left // 2
    for part, columns in ((queries, basis[:, :half]), (keys, basis[:, half:])):
        part[..., :turned] = 0.0
        drawn = g.integers(-8, 9, size=(*part.shape[:-1], columns.shape[1]))
        part[..., turned:] = FORMATS[case.dtype].round(long(drawn @ columns.T))
    probe = as_projected(case, queries, keys, values)
    return as_without_scores("as with queries of zero an output of", probe)


@clause(
    "position/heads-are-turned-alike",
    Level.MUST,
    "Every head is turned by the same angles: with the same queries, keys and values all give the same.",
    needs=NEEDS,
    counts=SEVERAL_HEADS,
    examples=FEW,
)
def heads_are_turned_alike(case: Case) -> float:
    """The first head against each other one."""
    heads = case.sizes.heads
    one = general(case, heads=1)
    probe = as_projected(case, *(np.repeat(part, heads, axis=1) for part in one))
    found, allowed = (
        part.reshape(*part.shape[:2], heads, -1) for part in (output_of(probe), probe.budget.output)
    )
    first, off = (np.broadcast_to(part[:, :, :1], part.shape) for part in (found, allowed))
    return near("the first head's", found, first, allowed + off, "batch token head column")


@clause(
    "position/items-are-turned-alike",
    Level.MUST,
    "Every item of a batch is turned by the same angles: the same item twice gives the same twice.",
    needs=NEEDS | {"batched"},
    counts=SEVERAL_ITEMS,
    examples=FEW,
)
def items_are_turned_alike(case: Case) -> float:
    """The first item against each other one."""
    items = case.sizes.batch
    probe = as_projected(case, *(np.repeat(part, items, axis=0) for part in general(case, items=1)))
    first, off = (
        np.broadcast_to(part[:1], part.shape) for part in (probe.output, probe.budget.output)
    )
    return near("the first item's", probe.output, first, probe.budget.output + off, AXES)


@lru_cache(maxsize=ALIVE)
def far_apart(case: Case) -> Case:
    """One item of 33 to 64 tokens, at most two heads, general queries and keys, weights visible."""
    tokens = case.subject.limits.tokens(33 + case.seed % 32)
    s = replace(case.sizes, batch=1, heads=min(2, case.sizes.heads), tokens=tokens, groups=0)
    few = replace(case, sizes=s)
    return weights_shown(few, *general(few)[:2])


@clause(
    "position/far-positions",
    Level.MUST,
    "In 33 to 64 tokens queries and keys are turned as in a few: positions go on, and angles stay exact.",
    needs=NEEDS,
    after=(TURNED, "causality/future-does-not-change-past"),
    examples=FEW,
)
def far_positions(case: Case) -> float:
    """A table that is read modulo its length starts again; angles in half precision are off by as much
    as the position is large. In float64 and float32 angles are to be right to float32.
    """
    wide = case if case.dtype in ("float64", "float32") else in_a_wide_format(case)
    probe = far_apart(wide)
    return near("the formula's", probe.output, probe.trace.output, probe.budget.output, AXES)


def in_a_wide_format(case: Case) -> Case:
    """The case in the widest format of its subject."""
    return replace(case, dtype=case.subject.dtypes[0])


@clause(
    "position/start-changes-nothing",
    Level.MUST,
    "With the first token at another position than 0 the output is the same: queries and keys start "
    "together.",
    needs=NEEDS | {"takes start"},
    counts=SEVERAL_TOKENS,
    after=(TURNED,),
    examples=FEW,
)
def start_changes_nothing(case: Case) -> float:
    """What counts is the difference of two positions, and both grow by the start. An offset that is added
    to the queries alone is wrong from the first call after a prompt on.
    """
    later, still = from_start(case, started_at(case)), from_start(case, 0)
    return same_output(f"from position {started_at(case)} on as from 0", later, still)
