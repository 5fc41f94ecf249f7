"""dropout/: in training some weights vanish and the others grow to make up for them.

Three samples serve all clauses. `training`: the example's own weights, each shown twice, in a few
calls. `draws`: the example's own sizes with equal scores, so that every weight is safely away from
zero and the patterns are exact, in CALLS calls. `crowd`: one call on so many draws that a small
error of the probability shows. What the laws about chance call unlikely is said in `chance.py`.

Everything is compared with the subject's own weights in eval mode, so that a wrong scale or mask is
not mistaken for a fault of dropout.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D, C calls, R readings of each weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import torch

from properties.basics.assertions import near, require
from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.case import Case
from properties.cases.devices import pad, with_queries_keys_values
from properties.spec.clause import ENOUGH, Condition, Level, clause
from properties.spec.clauses.conditions import ALIVE, visible
from properties.subjects.instance import Instance, go_back, gradient_of, seed_generators, to_array
from properties.subjects.subject import HEADED_FAMILIES, PROJECTED_FAMILIES
from properties.truth import bounds, chance
from properties.truth.chance import Bits

CALLS = 16  # of one instance, at the example's own sizes: enough for most to tell shared patterns
OWN_CALLS = 3  # at the example's own scores: a weight should survive in two of them
SEEDED = 4  # calls of which the patterns of two seeds are compared
CROWD_TOKENS = 32
CROWDS = 8  # examples are enough for a law on a crowd: each tells an error of the rate by itself
RARE = 1.0 / 8.0  # the rate is also looked at where p is this part of itself, near zero
SEEDS = 2**16  # seeds of cases are below this; a fresh sample takes the next as many
TRAINS = ("dropout/inert-in-eval", "dropout/keeps-the-shape", "argument/dropout-has-effect")
SHARING = tuple(
    f"dropout/independent-over-{axis}" for axis in ("batch", "heads", "rows", "columns")
)
BITS = (*SHARING, "dropout/independent-over-calls")
AXES = ("call", "batch", "head", "query", "key")


@dataclass(frozen=True, eq=False)
class Training:
    """Calls of one instance in training mode, (C, B, T, W), and one in eval, (B, T, W).

    probe: the case whose output shows its weights R times; one: the probe, or where all its items
    are alike one of them; still: the output in eval mode of one of these two.
    """

    probe: Case
    one: Case
    instance: Instance
    dropout: float
    outputs: Array
    still: Array
    readings: int = 1

    @cached_property
    def drawn(self) -> Array:
        """The weights after dropout, (C, B, H, T, R, T)."""
        return np.stack([read(self.probe, output, self.readings) for output in self.outputs])

    @cached_property
    def undropped(self) -> Array:
        """The subject's own weights in eval mode, (B, H, T, R, T)."""
        return read(self.probe, self.still, self.readings)

    @cached_property
    def allowed(self) -> Array:
        """How far the undropped weights of two runs may be apart."""
        return read(self.one, budgets.difference(self.one), self.readings)

    @cached_property
    def scaled(self) -> tuple[Array, Array]:
        """What survivors should be, and the error they may have."""
        expected = self.undropped / (1.0 - self.dropout)
        allowed = bounds.survivors(self.undropped, self.allowed, self.dropout, self.probe.dtype)
        return expected, allowed

    @cached_property
    def dropped(self) -> Bits:
        """Which weights look dropped: below half of what even a factor of 1 - p would leave."""
        known = self.undropped - self.allowed
        fewest: Bits = np.abs(self.drawn) < 0.5 * (1.0 - self.dropout) * known
        return fewest


@dataclass(frozen=True, eq=False)
class Draws(Training):
    """The same with equal scores and equal items: bits, one for each weight, (C, B, H, T, T)."""

    @cached_property
    def drawn(self) -> Array:
        """The same without what the subject declares to share its draws."""
        return apart(self.probe, super().drawn, batch=1, heads=2)

    @cached_property
    def undropped(self) -> Array:
        """The same without these."""
        return apart(self.probe, super().undropped, batch=0, heads=1)

    @cached_property
    def allowed(self) -> Array:
        """The same without these."""
        return apart(self.probe, super().allowed, batch=0, heads=1)

    @cached_property
    def seen(self) -> Bits:
        """The weights that are not hidden: at least half an even share."""
        there = self.undropped[..., 0, :] > 0.5 / self.probe.sizes.tokens
        return np.broadcast_to(there, self.bits.shape)

    @cached_property
    def bits(self) -> Bits:
        """Which weights were dropped; no error budget is needed, so far from zero they are."""
        return self.bits_of(self.drawn)

    def bits_of(self, drawn: Array) -> Bits:
        """The same for other calls with these scores."""
        left = 0.5 * (1.0 - self.dropout) * self.undropped
        drawn = apart(self.probe, drawn, batch=1, heads=2)
        lost: Bits = (np.abs(drawn) < left)[..., 0, :]
        return lost


def apart(case: Case, array: Array, **axes: int) -> Array:
    """An array with one entry alone along the axes whose entries share their draws by convention."""
    for name in case.subject.dropout_shared:
        array = array.take([0], axis=axes[name])
    return array


def read(probe: Case, output: Array, readings: int) -> Array:
    """(..., T, W) -> (..., H, T, R, T): the weights in an output, all readings of them."""
    s = probe.sizes
    columns = readings * s.tokens
    if probe.subject.family == "plain":
        shown = output[..., None, :, -columns:]
    else:
        by_head = output.reshape(*output.shape[:-1], s.heads, s.head_dim)
        shown = by_head[..., :columns].swapaxes(-2, -3)
    return shown.reshape(*shown.shape[:-1], readings, s.tokens)


def calls(instance: Instance, x: Array, count: int, seed: int) -> Array:
    """Several calls in training mode, (C, B, T, W), the generator seeded before the first alone."""
    seed_generators(seed)
    return np.stack([instance.call(instance.tensor(x), training=True) for _ in range(count)])


@lru_cache(maxsize=ALIVE)
def training(case: Case) -> Training:
    """The example's own weights, each shown in two columns, over a few calls."""
    probe = shown_twice(case)
    instance = probe.build(dropout=case.dropout)
    outputs = calls(instance, probe.x, OWN_CALLS, case.seed)
    still = instance.run(probe.x)
    return Training(probe, probe, instance, case.dropout, outputs, still, readings=2)


def shown_twice(case: Case) -> Case:
    """The case with the same queries and keys whose output holds every weight twice."""
    tokens = case.sizes.tokens
    if case.subject.family == "plain":
        probe = visible(case)
        x = np.concatenate([probe.x, probe.x[..., -tokens:]], axis=-1)
        sizes = replace(probe.sizes, d_in=x.shape[-1], head_dim=x.shape[-1])
        return replace(probe, x=x, other=x, sizes=sizes)
    queries, keys = (FORMATS[case.dtype].round(p) for p in (case.trace.queries, case.trace.keys))
    dims = max(2 * tokens, queries.shape[-1])
    twice = np.tile(np.eye(tokens), (*keys.shape[:2], 1, 2))
    return with_queries_keys_values(case, *(pad(part, dims) for part in (queries, keys, twice)))


def even(case: Case, batch: int, tokens: int) -> Case:
    """Equal scores: a query gives the keys that it sees the same weight each, and the output shows
    it. Every batch item is the same sequence of one-hot tokens.
    """
    one_hot = np.eye(tokens)[None]
    if case.subject.family == "plain":
        sizes = replace(case.sizes, batch=1, tokens=tokens, d_in=tokens, head_dim=tokens)
        one = replace(case, sizes=sizes, x=one_hot, other=one_hot)
    else:
        queries, values = (
            np.repeat(one_hot[None], count, axis=1)
            for count in (case.sizes.heads, case.sizes.key_heads)
        )
        one = with_queries_keys_values(case, 0.0 * queries, 0.0 * values, values)
    x = np.repeat(one.x, batch, axis=0)
    return replace(one, sizes=replace(one.sizes, batch=batch), x=x, other=x)


@dataclass(frozen=True)
class Question:
    """All that a sample with equal scores depends on; cases that ask the same share the answer."""

    subject: int  # the id of the case's
    batch: int
    tokens: int
    heads: int
    groups: int
    context_length: int
    dtype: str
    bias: bool
    dropout: float
    calls: int
    seed: int
    case: Case = field(compare=False)


@lru_cache(maxsize=ALIVE)
def answer(q: Question) -> Draws:
    """The sample that the question asks for."""
    one, probe = (even(q.case, batch, q.tokens) for batch in (1, q.batch))
    instance = probe.build(dropout=q.dropout)
    outputs = calls(instance, probe.x, q.calls, q.seed)
    return Draws(probe, one, instance, q.dropout, outputs, instance.run(one.x))


def ask(case: Case, batch: int, tokens: int, dropout: float, count: int, sample: int) -> Draws:
    """So many calls on a probe of these sizes; another sample has another seed."""
    s, seed = case.sizes, case.seed + sample * SEEDS
    return answer(
        Question(
            id(case.subject),
            batch,
            tokens,
            s.heads,
            s.groups,
            s.context_length,
            case.dtype,
            case.bias,
            dropout,
            count,
            seed,
            case,
        )
    )


def draws(case: Case, sample: int = 0) -> Draws:
    """Many calls with equal scores at the example's own sizes."""
    return ask(case, case.sizes.batch, sample_tokens(case), case.dropout, CALLS, sample)


def crowd(case: Case, dropout: float, sample: int = 0) -> Draws:
    """One call with equal scores and enough weights to see a small error of the probability."""
    shown = CROWD_TOKENS * (CROWD_TOKENS + 1) // 2 if case.causal else CROWD_TOKENS**2
    _, heads = drawn_apart(case)
    number = -(-chance.DRAWS // (heads * shown))
    batch, calls_made = (1, number) if "batch" in case.subject.dropout_shared else (number, 1)
    return ask(case, batch, CROWD_TOKENS, dropout, calls_made, sample)


def drawn_apart(case: Case) -> tuple[int, int]:
    """How many batch items and heads have draws of their own: all, or by convention one."""
    shared = case.subject.dropout_shared
    return (
        1 if "batch" in shared else case.sizes.batch,
        1 if "heads" in shared else case.sizes.heads,
    )


def sample_tokens(case: Case) -> int:
    """The tokens of a sample: the example's, and more where items or heads share their draws."""
    s = case.sizes
    times = s.batch * s.heads // math.prod(drawn_apart(case))
    return s.tokens if times == 1 else min(CROWD_TOKENS, s.tokens * times)


def draws_in_a_call(case: Case) -> int:
    """How many weights of a sample are not hidden."""
    tokens = sample_tokens(case)
    shown = tokens * (tokens + 1) // 2 if case.causal else tokens**2
    return math.prod(drawn_apart(case)) * shown


def sharing_shows(axis: str) -> Condition:
    """Two or more along the axis, and draws enough in each to know its patterns apart."""

    def holds(case: Case) -> bool:
        s = case.sizes
        size = {"batch": s.batch, "head": s.heads}.get(axis, sample_tokens(case))
        each = draws_in_a_call(case) // size
        if axis in ("query", "key"):
            each = math.prod(drawn_apart(case)) * (size - 1)
        comparisons = math.comb(size, 2) + size
        return size > 1 and chance.tells_sharing(each, case.dropout, CALLS, comparisons)

    plural = {"batch": "batch items", "head": "heads", "query": "queries", "key": "keys"}[axis]
    return Condition(f"at least two {plural}, and draws enough to know patterns apart", holds)


A_CHANCE = Condition("a probability between 0 and 1", lambda case: 0.0 < case.dropout < 1.0)
DROPPED_AND_NOT = Condition(
    "weights that are dropped and others that survive, told apart",
    lambda case: some_survive(training(case)),
)
PART_OF_A_ROW = Condition(
    "rows of weights of which some survive and some do not",
    lambda case: some_of_a_row(draws(case)),
)
A_PATTERN = Condition(
    "draws enough that a pattern does not come again by chance",
    lambda case: chance.tells_repeating(draws_in_a_call(case), case.dropout, CALLS),
)
A_LONG_PATTERN = Condition(
    f"draws enough that a pattern of {SEEDED} calls does not come again by chance",
    lambda case: chance.tells_repeating(SEEDED * draws_in_a_call(case), case.dropout, 2),
)


def some_survive(run: Training) -> bool:
    """Whether of the weights that are far enough from zero some were dropped and some were not."""
    told = run.undropped > run.allowed
    return bool(run.dropped.any() and (told & ~run.dropped).any())


def some_of_a_row(d: Draws) -> bool:
    """Whether a row of weights lost some and kept some."""
    lost, kept = ((b & d.seen).any(axis=-1) for b in (d.bits, ~d.bits))
    return bool((lost & kept).any())


def independent(case: Case, axis: str) -> float:
    """The patterns of any two along one axis are independent; two samples in a row must deny it."""

    def law(sample: int) -> float:
        d = draws(case, sample)
        bits, seen = (np.moveaxis(part, AXES.index(axis), 0) for part in (d.bits, d.seen))
        return chance.independent(f"the weights dropped for {axis}", bits, seen)

    return chance.confirmed(law)


@clause(
    "dropout/inert-in-eval",
    Level.MUST,
    "In eval mode the output does not depend on the dropout probability.",
    needs={"dropout"},
    counts=A_CHANCE,
    after=("numerics/deterministic-in-eval", "causality/future-stays-out-at-any-dropout"),
)
def inert_in_eval(case: Case) -> float:
    """Dropout belongs to training. The output at probability p is what it is at p = 0, and drawing
    again does not change it.
    """
    instance = case.build(dropout=case.dropout)
    worst = 0.0
    for seed in (case.seed, case.seed + 1):
        output = instance.run(case.x, seed=seed)
        what = f"without dropout (p = {case.dropout})"
        share = near(what, output, case.output, budgets.difference(case), "batch token column")
        worst = max(worst, share)
    return worst


@clause(
    "dropout/zero-p-is-inert-in-training",
    Level.MUST,
    "At p = 0 the output in training is that in eval mode.",
    needs={"dropout"},
)
def zero_p_is_inert_in_training(case: Case) -> float:
    """Nothing is dropped and the factor 1 / (1 - p) is one. A default that replaces a false-looking
    zero, or another kernel in training, shows here.
    """
    output = case.run(training=True, dropout=0.0)
    allowed = budgets.difference(case)
    return near("as in eval", output, case.output, allowed, "batch token column")


@clause(
    "dropout/keeps-the-shape",
    Level.MUST,
    "In training with dropout the output has the shape that it has in eval mode.",
    needs={"dropout"},
    counts=A_CHANCE,
    after=(
        "shape/output-shape",
        "causality/every-past-token-is-seen",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
    examples=ENOUGH,
)
def keeps_the_shape(case: Case) -> None:
    """Training often takes a path of its own, which raises or returns something else besides. All
    other laws about training need this one.
    """
    shape = case.run(training=True, dropout=case.dropout).shape
    require(shape == case.output.shape, f"an output of shape {case.output.shape}", f"{shape}")


@clause(
    "dropout/survivors-are-exactly-scaled",
    Level.MUST,
    "In training a weight that is not dropped is multiplied by 1 / (1 - p).",
    needs={"projections", "dropout"},
    counts=DROPPED_AND_NOT,
    after=TRAINS,
)
def survivors_are_exactly_scaled(case: Case) -> float:
    """Inverted dropout: the expectation stays the weight itself, so eval needs no factor."""
    run = training(case)
    scaled, allowed = run.scaled
    expected = np.where(run.dropped | (run.drawn == 0), run.drawn, scaled)
    axes = "call batch head query reading key"
    return near("a surviving weight of", run.drawn, expected, allowed, axes)


@clause(
    "dropout/dropped-are-exactly-zero",
    Level.MUST,
    "In training a weight that is dropped is exactly zero.",
    needs={"projections", "dropout"},
    counts=DROPPED_AND_NOT,
    after=TRAINS,
)
def dropped_are_exactly_zero(case: Case) -> float:
    """A product by zero is exact, so there is no tolerance."""
    run = training(case)
    axes = "call batch head query reading key"
    return near("a dropped weight of", np.where(run.dropped, run.drawn, 0.0), 0.0, 0.0, axes)


@clause(
    "dropout/acts-on-weights-only",
    Level.MUST,
    "A weight is dropped from all columns of its head or from none, and is the same number in all "
    "calls that it survives.",
    needs={"projections", "dropout"},
    counts=DROPPED_AND_NOT,
    after=TRAINS,
)
def acts_on_weights_only(case: Case) -> float:
    """Every weight is shown in two columns of its head, in several calls. Dropout on the output or
    on the values takes it out of one column and leaves it in the other. Dropout on the queries, the
    keys or the scores changes by chance what the softmax makes of all of them, so a weight is
    another number in another call.
    """
    run = training(case)
    apart = run.dropped[..., 0, :] != run.dropped[..., 1, :]
    place = dict(zip(AXES, map(int, np.argwhere(apart)[0]), strict=True)) if apart.any() else {}
    require(not place, "a weight dropped in all columns or in none", "some of them", **place)
    return steady("a weight as in the other calls:", run)


def steady(what: str, run: Training) -> float:
    """A weight is the same number in every call that it survives in."""
    lost = run.dropped | (run.drawn == 0)
    alive = np.where(lost, np.nan, run.drawn)
    first = np.argmax(~lost, axis=0)[None]
    expected = np.where(lost, alive, np.take_along_axis(alive, first, axis=0))
    allowed = 2.0 * run.scaled[1]
    return near(what, alive, expected, allowed, "call batch head query reading key")


@clause(
    "dropout/not-renormalised",
    Level.MUST,
    "Weights that survive do not grow when others of their row are dropped.",
    needs={"projections", "dropout"},
    counts=PART_OF_A_ROW,
    after=TRAINS,
    examples=ENOUGH,
)
def not_renormalised(case: Case) -> float:
    """The factor 1 / (1 - p) makes up for the loss on average; dividing by the sum of what is left
    as well would make it up in every row, and drop nothing where one key alone is seen. With equal
    scores each weight is one number, however many of its row survive.
    """
    return steady("a surviving weight of", draws(case))


@clause(
    "dropout/no-weight-is-exempt",
    Level.MUST,
    "In training every weight is dropped with probability p, wherever it stands.",
    needs={"projections", "dropout"},
    counts=A_CHANCE,
    after=SHARING,
)
def no_weight_is_exempt(case: Case) -> float:
    """At the example's own sizes, of each call, batch item, head, query and key, and of each query
    and key together, the number dropped is binomial. The diagonal that is kept, the head that is
    left out, the one token that is not worth it: their counts are too far off for chance. With one
    token the weight is one, and each head is all or nothing.
    """

    def law(sample: int) -> float:
        d = draws(case, sample)
        groups = ((), *((axis,) for axis in AXES), ("query", "key"))
        worst = 0.0
        for group in groups:
            rest = tuple(n for n, axis in enumerate(AXES) if axis not in group)
            hits, trials = ((b & d.seen).sum(axis=rest, dtype=float) for b in (d.bits, d.seen))
            what, axes = "weights dropped at p =", " ".join(group)
            share = chance.rates(what, hits, trials, d.dropout, axes, others=len(groups))
            worst = max(worst, share)
        return worst

    return chance.confirmed(law)


@clause(
    "dropout/survival-rate",
    Level.MUST,
    "In training a weight survives with probability 1 - p.",
    needs={"projections", "dropout"},
    counts=A_CHANCE,
    after=BITS,
    examples=CROWDS,
)
def survival_rate(case: Case) -> float:
    """The number dropped is binomial. One example draws enough to see p off by 0.02 with a
    probability of 0.999, at its own p and near zero. A rate within 2**-8 of p is not accused:
    kernels that compare p with a random byte are right.
    """

    def law(sample: int) -> float:
        probabilities = (case.dropout, RARE * case.dropout)
        worst = 0.0
        for p in probabilities:
            d = crowd(case, p, sample)
            hits, trials = (np.asarray((b & d.seen).sum(), float) for b in (d.bits, d.seen))
            what = "weights dropped at p ="
            worst = max(worst, chance.rates(what, hits, trials, p, others=len(probabilities)))
        return worst

    return chance.confirmed(law)


A_FINE_FORMAT = Condition(
    "a format in which a weight is known to a hundredth of itself: float64 or float32",
    lambda case: bounds.row_sum(CROWD_TOKENS, case.dtype) < 0.01,
)


@clause(
    "dropout/unbiased",
    Level.MUST,
    "In training the expectation of a weight is the weight in eval mode.",
    needs={"projections", "dropout"},
    counts=A_FINE_FORMAT,
    after=BITS,
    examples=CROWDS,
)
def unbiased(case: Case) -> float:
    """Dropped with probability p and otherwise multiplied by 1 / (1 - p), a weight keeps its mean.
    So the sum of drawn / undropped over n draws, times 1 - p, is binomial with probability 1 - p,
    up to rounding. It tells where the rate and the factor do not belong together.
    """

    def law(sample: int) -> float:
        d = crowd(case, case.dropout, sample)
        seen = d.seen[..., None, :]
        kept = 1.0 - d.dropout
        whole = np.where(d.undropped > 0, d.undropped, 1.0)
        survived = np.asarray(kept * np.sum(d.drawn / whole, where=seen))
        slack = float(kept * np.sum(np.broadcast_to(d.scaled[1] / whole, seen.shape), where=seen))
        trials = np.asarray(seen.sum(), float)
        finite = bool(np.isfinite(survived))
        require(finite, "a finite mean of the weights drawn", "NaN or infinity")
        what = "a mean of drawn / undropped, times 1 - p ="
        return chance.rates(what, survived, trials, kept, slack=slack)

    return chance.confirmed(law)


@clause(
    "dropout/independent-over-batch",
    Level.MUST,
    "What is dropped for one batch item says nothing about what is dropped for another.",
    needs={"projections", "dropout", "batched"},
    counts=sharing_shows("batch"),
    after=TRAINS,
    unless={"dropout-shared-over-batch"},
)
def independent_over_batch(case: Case) -> float:
    """One pattern for the whole batch makes its noise common to all items, and no average over the
    batch takes it out. If two items have nothing to do with each other, their patterns are no
    nearer in the same call than in two calls, whatever p is and whatever other axes share.
    """
    return independent(case, "batch")


@clause(
    "dropout/independent-over-heads",
    Level.MUST,
    "What is dropped in one head says nothing about what is dropped in another.",
    families=HEADED_FAMILIES,
    needs={"projections", "dropout"},
    counts=sharing_shows("head"),
    after=TRAINS,
    unless={"dropout-shared-over-heads"},
)
def independent_over_heads(case: Case) -> float:
    """A pattern that is broadcast over the heads, or a generator that is set back for each of them,
    drops a key for all heads at once.
    """
    return independent(case, "head")


@clause(
    "dropout/independent-over-rows",
    Level.MUST,
    "What is dropped for one query says nothing about what is dropped for another.",
    needs={"projections", "dropout"},
    counts=sharing_shows("query"),
    after=TRAINS,
)
def independent_over_rows(case: Case) -> float:
    """Dropping whole keys, or whole values, is one pattern for all rows of weights."""
    return independent(case, "query")


@clause(
    "dropout/independent-over-columns",
    Level.MUST,
    "What is dropped of one key says nothing about what is dropped of another.",
    needs={"projections", "dropout"},
    counts=sharing_shows("key"),
    after=TRAINS,
)
def independent_over_columns(case: Case) -> float:
    """Dropping whole queries is one pattern for all columns of weights. Dropping a fixed number of
    keys in each row makes the columns depend on each other the other way round.
    """
    return independent(case, "key")


@clause(
    "dropout/independent-over-calls",
    Level.MUST,
    "What is dropped in one call says nothing about what is dropped in another.",
    needs={"projections", "dropout"},
    counts=A_PATTERN,
    after=SHARING,
)
def independent_over_calls(case: Case) -> float:
    """One instance is called again and again while the generator runs on. A pattern that is kept
    comes again, and so does one whose generator is set back.
    """

    def law(sample: int) -> float:
        d = draws(case, sample)
        return chance.repeated("the weights dropped", d.bits, d.seen)

    return chance.confirmed(law)


@clause(
    "dropout/reproducible-under-manual-seed",
    Level.MUST,
    "The global seed decides what is dropped: one seed always the same, another seed another.",
    needs={"projections", "dropout"},
    counts=A_LONG_PATTERN,
    after=SHARING,
    examples=ENOUGH,
)
def reproducible_under_manual_seed(case: Case) -> float:
    """The same seed gives the same pattern, in the same instance and in a new one, and another seed
    gives another one. So a generator of the module's own, with a seed of its own, is found out.
    """

    def law(sample: int) -> float:
        d, seed = draws(case, sample), case.seed + sample * SEEDS
        new = d.probe.build(dropout=d.dropout)
        for instance, what in ((new, "in a new instance"), (d.instance, "in the same instance")):
            again = read(d.probe, calls(instance, d.probe.x, 1, seed), 1)
            equal = np.array_equal(d.bits_of(again)[0], d.bits[0])
            require(equal, f"the same weights dropped by the same seed {what}", "others")
        other = d.bits_of(read(d.probe, calls(new, d.probe.x, SEEDED, seed + 1), 1))
        bits, seen = np.stack([d.bits[:SEEDED], other]), np.stack([d.seen[:SEEDED]] * 2)
        return chance.repeated("the weights dropped for another seed", bits, seen)

    return chance.confirmed(law)


@clause(
    "dropout/does-not-reseed-the-global-generator",
    Level.MUST,
    "A call may use torch's generator but does not seed it.",
    needs={"dropout"},
    counts=A_CHANCE,
    after=("dropout/keeps-the-shape",),
    examples=ENOUGH,
)
def does_not_reseed_the_global_generator(case: Case) -> None:
    """A seed set inside makes all chance of the program the same from then on, the order of batches
    for instance. From different states, a call in either mode leads to different states: from the
    states of two seeds, and from that of one seed a thousand numbers later, should it be set back.
    """
    instance = case.build(dropout=case.dropout)
    for mode in (False, True):
        states = set()
        for seed, drawn in ((case.seed, 0), (case.seed, 1000), (case.seed + 1, 0)):
            seed_generators(seed)
            torch.rand(drawn)
            instance.call(instance.tensor(case.x), training=mode)
            states.add(torch.get_rng_state().numpy().tobytes())
        require(
            len(states) == 3, "three states of the generator to lead to three", f"{len(states)}"
        )


@clause(
    "dropout/gradient-follows-the-draw",
    Level.MUST,
    "In training the gradient passes the weights that survive, scaled as they are, and no other.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "dropout", "gradients"},
    counts=A_CHANCE,
    after=TRAINS,
)
def gradient_follows_the_draw(case: Case) -> float:
    """The derivative of the output by a value is the weight that it was multiplied by in this very
    call. Queries and keys are zero whatever the input, so nothing else flows back; the gradient of
    the last query's output, in one head, shows that head's last row of weights.
    """
    d = draws(case)
    s, head = d.probe.sizes, case.seed % d.undropped.shape[1]
    columns = slice(head * s.head_dim, head * s.head_dim + s.tokens)
    upstream = np.zeros((s.tokens, s.width))
    upstream[-1, columns] = 1.0
    output, gradient = with_gradient(d.instance, d.probe.x[:1], upstream, case.seed)
    drawn = output[-1, columns]
    allowed = np.where(drawn == 0, 0.0, 2.0 * d.scaled[1][0, head, -1, 0])
    shown = gradient[:, : s.tokens]  # (T, T): by key, and by column of its value
    return near("the weight drawn,", shown, drawn[:, None], allowed[:, None], "key column")


def with_gradient(instance: Instance, x: Array, upstream: Array, seed: int) -> tuple[Array, Array]:
    """Output (T, W) and the input's gradient (T, d_in) of one call in training, for one item."""
    instance.module.train()
    seed_generators(seed)
    given = instance.tensor(x if instance.batched else x[0]).requires_grad_()
    output = instance.forward(given)
    go_back(output, instance.tensor(upstream).reshape(output.shape))
    return to_array(output).reshape(upstream.shape), gradient_of(given).reshape(x.shape[1:])


@clause(
    "dropout/p-one-gives-zeros",
    Level.SHOULD,
    "At p = 1 all is dropped in training, the output is its bias or zero; or p = 1 is refused.",
    needs={"projections", "dropout"},
    examples=ENOUGH,
)
def p_one_gives_zeros(case: Case) -> float:
    """The limit of dropping more and more. The factor 1 / (1 - p) is infinite there, and zero times
    infinity is NaN: the case wants a line of its own, or a constructor that refuses p = 1.
    """
    try:
        instance = case.build(dropout=1.0)
    except SubjectError:
        return 0.0  # refused
    output = instance.run(case.x, training=True, seed=case.seed)
    bias = None if case.weights is None else case.weights.out_bias
    expected = 0.0 if bias is None else bias
    allowed = np.where(np.isfinite(budgets.difference(case)), 0.0, np.inf)
    return near("nothing but the output bias:", output, expected, allowed, "batch token column")
