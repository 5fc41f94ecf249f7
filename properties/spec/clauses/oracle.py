"""oracle/: the numbers are those of the formula."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.basics.errors import DisputeError
from properties.cases.case import Case, parameters
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import ALIVE, IN_RANGE
from properties.truth import bounds, second_oracle
from properties.truth.oracle import Gradients

GRADIENT_IN_RANGE = Condition(
    "two tokens or more, and no magnitude or gradient leaves the format's range",
    lambda case: case.sizes.tokens > 1 and bool(np.isfinite(case.gradient_budget.x).all()),
)

SECOND_OPINION = 1500  # scalar products that the decimals are asked for; reduced cases are below it


def small(case: Case) -> bool:
    """Whether the case is small enough for a second opinion in passing."""
    s = case.sizes
    return s.batch * s.tokens * s.width * (s.d_in + s.tokens) <= SECOND_OPINION


def in_digits(case: Case) -> Array:
    """What the second oracle says, from sixty decimal digits."""
    return second_oracle.output(
        case.x,
        case.weights,
        heads=case.sizes.heads,
        causal=case.causal,
        scaled=case.scaled,
        positions=case.rotary,
    )


@lru_cache(maxsize=ALIVE)
def undisputed_output(case: Case) -> Array:
    """The first oracle's output, once the second has confirmed it, which it does on small cases."""
    if not small(case):
        return case.trace.output
    second = in_digits(case)
    given = (case.x, case.weights, case.trace, "float64")
    allowed = bounds.budget(*given, angles="float64").output
    confirm(case.trace.output, second, allowed)
    return case.trace.output


@lru_cache(maxsize=ALIVE)
def undisputed_gradients(case: Case) -> Gradients:
    """The first oracle's gradients, once the second has confirmed their slope along one direction."""
    if not small(case):
        return case.gradients
    gradients, g = case.gradients, np.random.default_rng(case.seed)
    budget = bounds.gradient_budget(
        case.x,
        case.weights,
        case.trace,
        gradients,
        case.upstream,
        "float64",
        angles="float64",
    )
    direction = case.map_arrays(lambda name, array: g.integers(-1, 2, array.shape).astype(float))
    slope = second_oracle.slope(
        case.x,
        case.weights,
        direction.x,
        direction.weights,
        case.upstream,
        heads=case.sizes.heads,
        causal=case.causal,
        scaled=case.scaled,
        positions=case.rotary,
    )
    steps = {"x": direction.x, **parameters(direction.weights)}
    found = {"x": gradients.x, **parameters(gradients.parameters)}
    allowed = {"x": budget.x, **parameters(budget.parameters)}
    expected = sum(float((found[name] * step).sum()) for name, step in steps.items())
    tolerance = sum(float((allowed[name] * abs(step)).sum()) for name, step in steps.items())
    confirm(np.array(expected), np.array(slope), np.array(tolerance))
    return gradients


def confirm(first: Array, second: Array, allowed: Array) -> None:
    """Raise DisputeError where the oracles differ by more than the first may be off."""
    wrong = ~(abs(first - second) <= allowed)
    if wrong.any():
        raise DisputeError(f"float64 says {first[wrong][0]:.17g}, decimals {second[wrong][0]:.17g}")


@clause(
    "oracle/output-within-bound",
    Level.MUST,
    "The output differs from the formula's by no more than rounding can explain.",
    needs={"projections"},
    counts=IN_RANGE,
    after=(
        "numerics/large-scores-stay-finite",
        "numerics/rows-of-very-different-magnitude",
        "numerics/saturates-to-the-largest-score",
        "causality/first-token-returns-its-own-value",
        "projection/biases-take-part",
        "projection/out-bias-takes-part",
        "projection/out-projection-applied-once",
    ),
)
def output_within_bound(case: Case) -> float:
    """The truth is the formula in float64 NumPy, hidden keys left out of it, confirmed in sixty decimal
    digits wherever the case is small, as a reduced counterexample is. The bound follows from the
    unit roundoff, the sizes and the magnitudes of this example.
    """
    expected = undisputed_output(case)
    return near("the formula's", case.output, expected, case.budget.output, "batch token column")


@clause(
    "oracle/gradient-within-bound",
    Level.MUST,
    "The gradients of input and parameters differ from the formula's by no more than rounding can "
    "explain.",
    needs={"projections", "gradients"},
    counts=GRADIENT_IN_RANGE,
    after=(
        "oracle/output-within-bound",
        "gradient/gradcheck",
        "gradient/every-parameter-receives-gradient",
    ),
)
def gradient_within_bound(case: Case) -> float:
    """The truth is the chain rule written out in float64 NumPy, confirmed along a direction by a
    central difference in sixty decimal digits. A hand-written backward pass can be wrong while the
    forward pass is right.
    """
    return near_gradients("", case, undisputed_gradients(case))


def near_gradients(where: str, case: Case, expected: Gradients) -> float:
    """The gradients of input and parameters, against these; `where` begins the message."""
    allowed = case.gradient_budget
    found = case.build().gradients(case.x, case.upstream)
    worst = near(f"{where}the gradient", found["x"], expected.x, allowed.x, "batch token column")
    own = case.subject.collect(found, case.config())
    for name, array in parameters(own).items():
        truth, bound = (getattr(part.parameters, name) for part in (expected, allowed))
        if truth is None:  # a bias that is zero here, and that nobody asked for
            continue
        axes = "row column" if array.ndim == 2 else "column"
        share = near(f"{where}of parameter {name} the gradient", array, truth, bound, axes)
        worst = max(worst, share)
    return worst
