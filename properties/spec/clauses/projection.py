"""projection/: the matrices and biases before attention and after it.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.cases.budgets import difference, one_run
from properties.cases.case import Case
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import IN_RANGE, SEVERAL_TOKENS, with_identity_out
from properties.subjects.subject import JOINED_FAMILIES, PROJECTED_FAMILIES
from properties.truth.parameters import Weights

MATRICES = ("query", "key", "value")
AN_OUT_BIAS = Condition(
    "a bias of the output projection that is not zero",
    lambda case: bool(np.any(projections(case).out_bias)),
)


def projections(case: Case) -> Weights:
    """The weights of a case, which has some: the clauses that ask need them."""
    assert case.weights is not None
    return case.weights


@clause(
    "projection/biases-take-part",
    Level.MUST,
    "The biases of queries, keys and values act as an input column that is 1 everywhere would.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "qkv-bias"},
    counts=SEVERAL_TOKENS,
    after=("numerics/deterministic-in-eval", "argument/qkv-bias-has-effect"),
)
def biases_take_part(case: Case) -> float:
    """As x W + b = [x 1] [W; b], the biases of one run are the last rows of the matrices in the
    other, whose biases are zero. The bias of the keys adds q.b to all scores of a row alike, which
    the softmax takes out again; so it must change nothing, and nobody can see whether it is there.
    """
    as_biases, as_rows = biases_and_rows(case)
    return near(
        "as from rows",
        as_biases.output,
        as_rows.output,
        # A bias is one term more, so the budget of the one bounds that of the other.
        lambda: difference(as_biases),
        "batch token column",
    )


def biases_and_rows(case: Case) -> tuple[Case, Case]:
    """The same affine maps written in two ways. The biases are drawn from the case's seed."""
    w, width = projections(case), case.sizes.width
    biases = np.random.default_rng(case.seed).integers(-8, 9, size=(3, width)) / 8.0
    x = case.x.copy()
    x[..., -1] = 1.0

    def written(rows: Array, vectors: Array) -> Case:
        parts = {}
        for name, row, vector in zip(MATRICES, rows, vectors, strict=True):
            row, vector = (one[: case.sizes.width_of(name)] for one in (row, vector))
            parts[name] = np.concatenate([getattr(w, name)[:-1], row[None]])
            parts[f"{name}_bias"] = vector
        return replace(case, x=x, bias=True, weights=replace(w, **parts))

    zero = np.zeros_like(biases)
    return written(zero, biases), written(biases, zero)


@clause(
    "projection/out-bias-takes-part",
    Level.MUST,
    "The bias of the output projection is added once to every row.",
    needs={"out-projection", "out-bias"},
    counts=AN_OUT_BIAS,
    after=("numerics/deterministic-in-eval",),
)
def out_bias_takes_part(case: Case) -> float:
    """The same module with that bias zero puts out less by just the bias."""
    w = projections(case)
    bias = np.zeros(case.sizes.width) if w.out_bias is None else w.out_bias
    without = replace(case, weights=replace(w, out_bias=np.zeros_like(bias)))
    expected, allowed = without.output + bias, difference(case)
    return near("the bias and", case.output, expected, allowed, "batch token column")


@clause(
    "projection/there-is-an-output-projection",
    Level.SHOULD,
    "Heads that split d_out among them are followed by an output projection.",
    families=JOINED_FAMILIES,
    needs={"projections"},
    unless={"function"},
    examples=1,
)
def there_is_an_output_projection(case: Case) -> None:
    """Side by side the heads do not learn of each other. Not a MUST: the projection may stand in the
    layer around the attention.
    """
    found = case.subject.has("out-projection")
    require(found, "a layer that mixes the heads", "heads that are put out side by side")


@clause(
    "projection/out-projection-applied-once",
    Level.MUST,
    "The output is the context times the output projection, once, plus its bias.",
    needs={"out-projection"},
    counts=IN_RANGE,
    after=("numerics/deterministic-in-eval",),
)
def out_projection_applied_once(case: Case) -> float:
    """The context is what the subject itself puts out under the identity; it is multiplied here."""
    w, plain = projections(case), with_identity_out(case)
    assert w.out is not None
    bias = 0.0 if w.out_bias is None else w.out_bias
    expected = plain.output @ w.out + bias
    allowed = one_run(plain) @ np.abs(w.out) + one_run(case)
    return near("the projected", case.output, expected, allowed, "batch token column")


@clause(
    "projection/out-projection-is-affine",
    Level.MUST,
    "Contexts times minus two move the output, less its bias, by minus two.",
    needs={"out-projection"},
    counts=IN_RANGE,
    after=("numerics/deterministic-in-eval",),
)
def out_projection_is_affine(case: Case) -> float:
    """Nothing follows the projection, and nothing passes it by: no activation, no normalisation, no
    residual. The values are multiplied by way of their projection.
    """
    w = projections(case)
    value_bias = None if w.value_bias is None else -2.0 * w.value_bias
    twice = replace(case, weights=replace(w, value=-2.0 * w.value, value_bias=value_bias))
    bias = 0.0 if w.out_bias is None else w.out_bias
    return near(
        "minus two times, and the bias,",
        twice.output,
        -2.0 * (case.output - bias) + bias,
        4.0 * one_run(case),  # its own, and as much again for twice the values
        "batch token column",
    )
