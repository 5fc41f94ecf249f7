"""Hypothesis strategies for attention: sizes, values, weights, whole cases.

Sizes are constructed, never filtered: heads and head_dim are drawn and the width follows. They are
pairwise different unless a coincidence is drawn by name, because equal sizes let a swapped axis pass.
Every number has at most eight significant bits, so it is exact in every format from float64 to
bfloat16, and subject and oracle start from the same values.

Legend: B batch, T tokens, H heads, G heads of keys and values, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from properties.basics.dtypes import FORMATS, Array
from properties.cases.calls import draw_call
from properties.cases.case import Case
from properties.subjects.subject import HEADED_FAMILIES, Subject
from properties.truth.parameters import Sizes, Weights

KINDS = ("ordinary", "constant", "one hot", "large", "tiny", "mixed magnitudes")
COINCIDENCES: dict[str, dict[str, int | str]] = {
    "all different": {},
    "T = context_length": {"context_length": "tokens"},
    "B = T": {"batch": "tokens"},
    "H = T": {"heads": "tokens"},
    "D = T": {"tokens": "head_dim"},
    "d_in = W": {"d_in": "width"},
    "B = 1": {"batch": 1},
    "T = 1": {"tokens": 1},
    "H = 1": {"heads": 1},
    "D = 1": {"head_dim": 1},
    "one of each": {"batch": 1, "tokens": 1, "heads": 1, "head_dim": 1, "context_length": 1},
    "B = H": {"batch": "heads"},
    "one query": {"tokens": 1},
}
PLAIN_SIZES = Sizes(batch=2, tokens=5, d_in=7, heads=3, head_dim=4, context_length=11)
GROUPS = (
    "several",
    "as heads",
    "one",
    "as heads",
)  # heads of keys and values, where there may be fewer
PROBABILITIES = (0.5, 0.25, 0.1, 0.75, 0.9)
FEW_SIZES = (
    Sizes(batch=2, tokens=5, d_in=7, heads=3, head_dim=4, context_length=11),
    Sizes(batch=1, tokens=4, d_in=6, heads=2, head_dim=3, context_length=4),
    Sizes(batch=3, tokens=2, d_in=5, heads=1, head_dim=6, context_length=4),
    Sizes(batch=2, tokens=1, d_in=4, heads=3, head_dim=1, context_length=3),
)
"""Those of a subject that is compiled for each shape: more would take minutes."""
OF_A_SEED = 60
"""Seeds that differ by this choose the same number of keys, of groups, the same window and scale."""


def sizes(
    subject: Subject, *, largest: int = 9, coincidences: Sequence[str] = tuple(COINCIDENCES)
) -> SearchStrategy[Sizes]:
    """Sizes that the subject's constructor can take, each at most `largest`."""
    if largest < 5:
        raise ValueError(f"largest is {largest}; five different sizes need at least 5")
    return st.builds(
        lambda different, slack, name, groups: coincide(
            grouped(different_sizes(different, slack), groups), name, subject
        ),
        st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True),
        st.integers(1, 4),
        st.sampled_from(coincidences),
        st.sampled_from(GROUPS) if subject.has("groups") else st.just("as heads"),
    )


def different_sizes(different: list[int], slack: int) -> Sizes:
    """Tokens, heads, head_dim, batch and d_in in this order: the first shrinks first."""
    tokens, heads, head_dim, batch, d_in = different
    return Sizes(batch, tokens, d_in, heads, head_dim, tokens + slack)


def grouped(base: Sizes, groups: str) -> Sizes:
    """`base` with fewer heads of keys and values than of queries, or with as many (see `GROUPS`).

    Several: two or three heads of queries for each, so that H is no power of G alone.
    """
    if groups == "as heads" or base.heads == 1:
        return base
    if groups == "one":
        return replace(base, groups=1)
    shared = 3 if base.heads % 2 else 2
    several = max(2, base.heads // shared)
    return replace(base, heads=several * shared, groups=several)


def coincide(base: Sizes, name: str, subject: Subject) -> Sizes:
    """`base` with the named coincidence, then made to fit the subject's family and constructor."""
    if subject.family not in HEADED_FAMILIES:
        base = replace(base, heads=1)
    for field, source in COINCIDENCES[name].items():
        value = source if isinstance(source, int) else getattr(base, source)
        base = replace(base, **{field: value})
    if subject.family not in HEADED_FAMILIES:
        base = replace(base, heads=1)
    base = replace(base, heads=max(base.heads, subject.limits.least_heads))
    if base.groups >= base.heads or (base.groups and base.heads % base.groups):
        base = replace(base, groups=0)  # the coincidence left another number of heads
    if subject.has("one group"):
        base = replace(base, groups=1 if base.heads > 1 else 0)
    limits = subject.limits
    tokens, batch = limits.tokens(base.tokens), 1 if limits.one_item else base.batch
    longest = tokens if limits.full_context else max(base.context_length, tokens)
    base = replace(base, tokens=tokens, batch=batch, context_length=longest)
    if subject.family == "plain":
        return replace(base, head_dim=base.d_in)
    base = replace(base, head_dim=limits.varied(base.head_dim))
    if not subject.has("rectangular"):
        base = replace(base, d_in=base.width)
    return base


def pinned_sizes(subject: Subject) -> list[Sizes]:
    """Every coincidence once."""
    groups = GROUPS if subject.has("groups") else ("as heads",)
    return [
        coincide(grouped(PLAIN_SIZES, groups[number % len(groups)]), name, subject)
        for number, name in enumerate(COINCIDENCES)
    ]


def values(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> Array:
    """An array of one of the `KINDS`, every number exact in every format."""
    ordinary = exact(rng.normal(size=shape))
    if kind == "constant":
        return np.full(shape, exact(rng.normal(size=1))[0])
    if kind == "one hot":
        return np.eye(shape[-1])[rng.integers(0, shape[-1], size=shape[:-1])]
    if kind == "large":
        return ordinary * 2.0**5
    if kind == "tiny":
        return ordinary * 2.0**-8
    if kind == "mixed magnitudes":
        return ordinary * np.exp2(rng.integers(-6, 6, size=(*shape[:-1], 1)))
    return ordinary


def exact(array: Array) -> Array:
    """Rounded to eight significant bits, and to zero where float16 would lose some of them."""
    rounded = FORMATS["bfloat16"].round(array)
    return np.where(np.abs(rounded) < 2.0**-6, 0.0, rounded)


def weights(subject: Subject, s: Sizes, bias: bool, rng: np.random.Generator) -> Weights | None:
    """Parameters for the subject; None where it has none that can be set."""
    if not subject.has("projections"):
        return None

    def matrix(rows: int, role: str) -> Array:
        return exact(rng.normal(size=(rows, s.width_of(role))) / np.sqrt(rows))

    def vector(role: str) -> Array:
        return exact(rng.normal(size=s.width_of(role)))

    projected = subject.has("out-projection")
    roles = ("query", "key", "value")
    query, key, value = (matrix(s.d_in, role) for role in roles)
    query_bias, key_bias, value_bias = (vector(role) if bias else None for role in roles)
    return Weights(
        query=query,
        key=key,
        value=value,
        query_bias=query_bias,
        key_bias=key_bias,
        value_bias=value_bias,
        out=matrix(s.width, "out") if projected else None,
        out_bias=vector("out") if projected and subject.has("out-bias") else None,
    )


def cases(subject: Subject, *, largest: int = 9) -> SearchStrategy[Case]:
    """Whole examples for a subject, in the formats it claims."""
    if subject.compiled:
        return st.builds(
            lambda number, kind, bias, dropout, seed: few(
                subject, number, kind, bias, dropout, seed
            ),
            st.integers(0, len(FEW_SIZES) - 1),
            st.sampled_from(KINDS),
            st.booleans(),
            st.sampled_from(PROBABILITIES),
            st.integers(0, 2**10 - 1),
        )
    return drawn(
        subject,
        largest,
        sizes(subject, largest=largest),
        st.sampled_from(subject.dtypes),
        st.sampled_from(KINDS),
    )


def drawn(
    subject: Subject,
    largest: int,
    sizes: SearchStrategy[Sizes],
    dtypes: SearchStrategy[str],
    kinds: SearchStrategy[str],
) -> SearchStrategy[Case]:
    """Whole examples of these sizes, formats and kinds of values; all else is drawn."""
    return st.builds(
        lambda s, dtype, kind, bias, dropout, position, seed: make_case(
            subject, s, dtype, kind, bias, dropout, position, seed
        ),
        sizes,
        dtypes,
        kinds,
        st.booleans(),
        st.sampled_from(PROBABILITIES),
        st.integers(0, largest - 1),
        st.integers(0, 2**16 - 1),
    )


def spread(
    subject: Subject, numbers: Iterable[int], *, largest: int = 9
) -> SearchStrategy[tuple[Case, ...]]:
    """One example for each number, all of a run together.

    Formats and kinds of values take turns, so that every pair of them is met as soon as it can be, and
    every second time round all sizes are different. One by one Hypothesis would go on from what it has
    drawn before, with examples that differ in little.
    """
    if subject.compiled:
        return st.tuples(*(cases(subject) for _ in numbers))
    return st.tuples(*(in_turn(subject, number, largest) for number in numbers))


def in_turn(subject: Subject, number: int, largest: int) -> SearchStrategy[Case]:
    """The example whose turn it is."""
    turn, format = divmod(number, len(subject.dtypes))
    names = list(COINCIDENCES)
    return drawn(
        subject,
        largest,
        sizes(subject, largest=largest, coincidences=names if turn % 2 else names[:1]),
        st.just(subject.dtypes[format]),
        st.just(KINDS[(number + turn) % len(KINDS)]),
    )


def few(subject: Subject, number: int, kind: str, bias: bool, dropout: float, seed: int) -> Case:
    """An example of the number-th of `FEW_SIZES`; with this number all shapes are the same."""
    groups = GROUPS[number % len(GROUPS)] if subject.has("groups") else "as heads"
    s = coincide(grouped(FEW_SIZES[number], groups), "all different", subject)
    dtype = subject.dtypes[number % len(subject.dtypes)]
    own = number + OF_A_SEED * seed
    return make_case(subject, s, dtype, kind, bias, dropout, number + 1, own)


def pinned_cases(subject: Subject) -> list[Case]:
    """Every coincidence of sizes, every kind of value, every format and both biases at least once."""
    if subject.compiled:
        return [
            few(subject, number, KINDS[number], bool(number % 2), PROBABILITIES[number], 0)
            for number in range(len(FEW_SIZES))
        ]
    pinned = []
    for number, s in enumerate(pinned_sizes(subject)):
        dtype = subject.dtypes[number % len(subject.dtypes)]
        kind = KINDS[number % len(KINDS)]
        probability = PROBABILITIES[number % len(PROBABILITIES)]
        bias = number % 4 in (1, 2)
        pinned.append(make_case(subject, s, dtype, kind, bias, probability, number + 1, number))
    return pinned


def make_case(
    subject: Subject,
    s: Sizes,
    dtype: str,
    kind: str,
    bias: bool,
    dropout: float,
    position: int,
    seed: int,
) -> Case:
    """The example that these choices name; the numbers come from `seed`."""
    rng = np.random.default_rng(seed)
    bias = (bias and subject.has("qkv-bias")) or subject.has("always-biased")
    shape = (s.batch, s.tokens, s.d_in)
    return Case(
        subject=subject,
        sizes=s,
        dtype=dtype,
        weights=weights(subject, s, bias, rng),
        x=values(shape, kind, rng),
        other=values(shape, "ordinary", rng),
        bias=bias,
        dropout=dropout,
        cut=position % s.tokens,
        seed=seed,
        about=kind,
        call=draw_call(subject, s, kind, seed, values),
    )
