"""dropout/: in training some weights vanish and the others grow to make up for them.

What is drawn, in one call and by another, is looked at here; how often and how independently, in
`dropout_chance.py`. The samples stand in `dropout_draws.py`.

Legend: B batch, T tokens, H heads.
"""

from __future__ import annotations

import numpy as np
import torch

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.case import Case
from properties.spec.clause import ENOUGH, Condition, Level, clause
from properties.spec.clauses.dropout_draws import AXES, Draws, Training, draws, training
from properties.subjects.instance import Instance, go_back, gradient_of, seed_generators, to_array
from properties.subjects.subject import PROJECTED_FAMILIES

TRAINS = ("dropout/inert-in-eval", "dropout/keeps-the-shape", "argument/dropout-has-effect")


A_CHANCE = Condition("a probability between 0 and 1", lambda case: 0.0 < case.dropout < 1.0)
DROPPED_AND_NOT = Condition(
    "weights that are dropped and others that survive, told apart",
    lambda case: some_survive(training(case)),
)
PART_OF_A_ROW = Condition(
    "rows of weights of which some survive and some do not",
    lambda case: some_of_a_row(draws(case)),
)


def some_survive(run: Training) -> bool:
    """Whether of the weights that are far enough from zero some were dropped and some were not."""
    told = run.undropped > run.allowed
    return bool(run.dropped.any() and (told & ~run.dropped).any())


def some_of_a_row(d: Draws) -> bool:
    """Whether a row of weights lost some and kept some."""
    lost, kept = ((b & d.seen).any(axis=-1) for b in (d.bits, ~d.bits))
    return bool((lost & kept).any())


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
