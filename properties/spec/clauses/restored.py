"""score/, window/: what a module has that is put out of action in all other examples, put back by itself.

Legend: T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.cases.steps import Steps, in_words, splits
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import SEVERAL_TOKENS, without_out_bias
from properties.subjects.restored import Restored
from properties.subjects.subject import CAUSAL_FAMILIES
from properties.truth import visibility
from properties.truth.bounds.arithmetic import gamma

AXES = "batch token column"
ORACLE = "oracle/output-within-bound"
CAPS = (2.0, 0.5, 1.0)
SINKS = (0.5, -1.0, 2.0)
LARGEST_EPSILON = 1e-2  # nobody's is larger
LOUD = 2.0**8  # input as large leaves nothing of an epsilon
LAYERS = 8  # columns of a head in which a norm is looked at


def restored(case: Case, what: Restored) -> Case:
    """The case of a subject in which this is at work."""
    return replace(case, subject=case.subject.restoring(what))


def with_cap(case: Case) -> Case:
    """With a bound on its scores."""
    return restored(case, Restored(cap=CAPS[case.seed % len(CAPS)]))


def with_sinks(case: Case) -> Case:
    """With sinks of which each head has its own."""
    return restored(case, Restored(sink=SINKS[case.seed % len(SINKS)]))


def with_slopes(case: Case) -> Case:
    """With its own slopes."""
    return restored(case, Restored(slopes=True))


def with_window(case: Case) -> Case:
    """With a window of one to three tokens before each query's own."""
    return restored(case, Restored(window=1 + case.seed % 3))


def agrees(what: str, case: Case) -> float:
    """The output is the formula's."""
    words = f"{what} an output of"
    return near(words, case.output, case.trace.output, case.budget.output, AXES)


@clause(
    "score/cap-of-the-constructor",
    Level.MUST,
    "A bound c on the scores, which the constructor is told, takes c tanh(z / c) for each scaled score z.",
    needs={"projections", "own cap"},
    after=(ORACLE,),
)
def own_cap(case: Case) -> float:
    """Before what is hidden is hidden. tanh(z) without its factor, or after the mask, gives others."""
    asked = with_cap(case)
    return agrees(f"with a bound of {asked.subject.restored.cap:g}", asked)


@clause(
    "score/sink-of-the-module",
    Level.MUST,
    "A sink takes exp(s) into the denominator of its head, and has no value.",
    needs={"projections", "own sink"},
    after=(ORACLE,),
)
def own_sink(case: Case) -> float:
    """w_ij = exp(z_ij) / (sum over j of exp(z_ij) + exp(s)): weights sum to less than one. Each
    head has a sink of its own: one that is read for another head gives others.
    """
    asked = with_sinks(case)
    return agrees(
        f"with sinks from {asked.subject.restored.sink:g} on, half more head by head,", asked
    )


@clause(
    "score/slopes-of-the-module",
    Level.MUST,
    "ALiBi takes 2**(-8 h / H) times the distance from each score of head h of H, a power of two.",
    families=CAUSAL_FAMILIES,
    needs={"projections", "own slopes"},
    counts=Condition(
        "two tokens or more, and heads in a number that is a power of two",
        lambda case: case.sizes.tokens > 1 and power_of_two(case.sizes.heads),
    ),
    after=(ORACLE,),
)
def own_slopes(case: Case) -> float | None:
    """From h = 1 on (Press, Smith and Lewis, 2022). What is the same for a whole row changes nothing: slope
    times the key's place will do, and rounds as such numbers do. What is kept of a longer call must not
    meet a shorter one.
    """
    heads, tokens = case.sizes.heads, case.sizes.tokens
    if not power_of_two(heads):
        return None
    asked = with_slopes(case)
    places = visibility.slopes(heads)[:, None, None] * np.arange(float(tokens))
    bias = np.broadcast_to(places, (1, heads, tokens, tokens))
    request = replace(asked.request, bias=bias)
    by_place = asked.budget_of(asked.trace_of(request))
    found = {"with its slopes": asked.output}
    if (longer := twice_as_long(case)) is not None:
        instance = asked.build()
        instance.run(longer)
        found["with its slopes, after a call with twice as many tokens,"] = instance.run(case.x)
    allowed = asked.budget.output + by_place.output
    return max(
        near(f"{words} an output of", output, asked.trace.output, allowed, AXES)
        for words, output in found.items()
    )


def twice_as_long(case: Case) -> Array | None:
    """The tokens, and once more, (B, 2 T, d_in); None where there is no room for them."""
    room = (
        not case.subject.has("context-length") or 2 * case.sizes.tokens <= case.sizes.context_length
    )
    if case.subject.limits.full_context or not room:
        return None
    return np.concatenate([case.x, case.x], axis=1)


def power_of_two(number: int) -> bool:
    """Whether it is 1, 2, 4, 8 ..."""
    return number & (number - 1) == 0


@clause(
    "window/window-of-the-constructor",
    Level.MUST,
    "A window that the constructor is told shows exactly its keys, in one call and in a sequence in parts.",
    families=CAUSAL_FAMILIES,
    needs={"projections", "own window"},
    counts=SEVERAL_TOKENS,
    after=(ORACLE,),
)
def own_window(case: Case) -> float:
    """Whether oneself is counted was found before. A cache that keeps as many keys as the window is wide
    has to keep them for the first row of a chunk, not for its last.
    """
    asked, tokens = with_window(case), case.sizes.tokens
    others = asked.subject.restored.window
    shares = [agrees(f"with {others} earlier tokens in its window", asked)]
    cached = case.subject.has("cache") and case.dtype in case.subject.cached_in
    for lengths in ([1] * tokens, *splits(tokens, case.cut)) if cached else ():
        words = f"{in_words(lengths)} with {others} earlier tokens in its window an output of"
        found = Steps(asked).run(case.x, lengths)
        shares.append(near(words, found, asked.trace.output, asked.budget.output, AXES))
    return max(shares)


@clause(
    "score/norms-give-one-length",
    Level.MUST,
    "A norm of queries or keys takes part, and gives all of them one length.",
    needs={"projections", "own norms"},
    after=(ORACLE,),
    examples=2,
)
def norms(case: Case) -> float:
    """Whether it divides by the root of the mean square, by the length, or takes out the mean before: what
    comes of general vectors is equally long, whatever the epsilon is, if they are long themselves. The
    mean in place of the mean square, another axis, or a root where its inverse belongs, is not.
    """
    asked = with_norms(case)
    module = asked.build().module
    found = asked.subject.norms(module, asked.x * LOUD, asked.dtype)
    return max(one_length(path, parts) for path, parts in found.items())


def with_norms(case: Case) -> Case:
    """General numbers in a head of several columns, with norms where they stand."""
    sizes = coincide(replace(PLAIN_SIZES, head_dim=LAYERS), "all different", case.subject)
    subject = case.subject.with_norms()
    dtype = case.subject.dtypes[0]
    return make_case(subject, sizes, dtype, "ordinary", False, 0.5, 1, case.seed)


def one_length(path: str, parts: list[Array]) -> float:
    """All vectors that come out of a norm are equally long, as nearly as float32 has it."""
    require(bool(parts), f"{path} to take part in a call", "no call of it")
    fmt, worst = FORMATS["float32"], 0.0
    for given, came in zip(parts[::2], parts[1::2], strict=True):
        columns = came.shape[-1]
        if columns < LAYERS or given.shape != came.shape:
            continue
        lengths = np.linalg.norm(came, axis=-1)
        spread = given.std(axis=-1)
        size = np.abs(given).max(axis=-1)
        rounding = gamma(4 * columns + 32, fmt) * (size / spread)
        allowed = lengths.max() * (2.0 * rounding.max() + LARGEST_EPSILON / spread.min() ** 2)
        expected = np.full_like(lengths, lengths.mean())
        axes = " ".join(("item", "second", "third")[: lengths.ndim])
        worst = max(worst, near(f"a length out of {path} of", lengths, expected, allowed, axes))
    return worst


@clause(
    "score/norms-leave-values-alone",
    Level.MUST,
    "With its norms of queries and keys an output is twice as large for values twice as large, exactly.",
    needs={"projections", "own norms"},
    after=(ORACLE,),
    examples=4,
)
def values_alone(case: Case) -> float:
    """Weights do not depend on values, and a mixture of them is linear. A norm of values, too, is not."""
    plain, twice = values_twice(with_norms(case))
    return near("with values twice as large", twice.output, 2.0 * plain.output, 0.0, AXES)


def values_twice(once: Case) -> tuple[Case, Case]:
    """Without a bias of the output, and with values twice as large."""
    assert once.weights is not None  # the clause needs projections
    w = without_out_bias(once.weights)
    bias = None if w.value_bias is None else 2.0 * w.value_bias
    larger = replace(w, value=2.0 * w.value, value_bias=bias)
    return replace(once, weights=w), replace(once, weights=larger)
