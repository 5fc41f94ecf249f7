"""The computed bounds hold for every order of arithmetic and are narrow enough to tell a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from properties.basics.dtypes import FORMATS
from properties.cases.budgets import difference
from properties.cases.budgets.causality import hidden_gradient
from properties.cases.budgets.context import underflow
from properties.cases.case import parameters
from properties.cases.strategies import cases, make_case
from properties.recognition.targets import find
from properties.runs.runner import Run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.clauses.oracle import gradient_within_bound, output_within_bound
from properties.spec.profiles import PROFILES
from properties.truth.parameters import Sizes
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.matrix import asked_alone
from properties.zoo.rights.unknown import UnrecognisedAttention


class ScaledQueries(PlainMultiHead):
    """The scale on the queries, as a product."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (queries * self.head_dim**-0.5) @ keys.transpose(-2, -1)

    def scale(self, scores: Tensor) -> Tensor:
        return scores


class RootOnBoth(ScaledQueries):
    """The root of the scale on queries and keys."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        root = self.head_dim**-0.25
        return (queries * root) @ (keys * root).transpose(-2, -1)


class OnlineSoftmax(PlainMultiHead):
    """Key by key with a running maximum, never holding a row of weights."""

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (self.split(part) for part in self.project(x))
        scores = self.hide(self.scale(self.score(queries, keys)))
        largest = torch.full_like(scores[..., :1], -torch.inf)
        total = torch.zeros_like(largest)
        context = torch.zeros_like(values)
        for key in range(scores.shape[-1]):
            column = scores[..., key : key + 1]
            raised = torch.maximum(largest, column)
            old, new = (largest - raised).exp(), (column - raised).exp()
            total = total * old + new
            context = context * old + new * values[..., key : key + 1, :]
            largest = raised
        return self.finish(self.merge(context / total))


class BaseTwo(PlainMultiHead):
    """The exponential in base two, as kernels have it."""

    def normalise(self, scores: Tensor) -> Tensor:
        scores = scores * 1.4426950408889634
        exponentials = torch.exp2(scores - scores.amax(dim=-1, keepdim=True))
        return exponentials / exponentials.sum(dim=-1, keepdim=True)


class Reversed(PlainMultiHead):
    """Every sum from its last term to its first."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries.flip(-1) @ keys.flip(-1).transpose(-2, -1)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return weights.flip(-1) @ values.flip(-2)


class LowestNumberMask(PlainMultiHead):
    """The smallest finite number in place of minus infinity."""

    def hide(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(self.hidden(scores.shape[-1]), torch.finfo(scores.dtype).min)


class RenormalisedMask(PlainMultiHead):
    """Softmax over everything, the future zeroed, rows divided by what is left."""

    def hide(self, scores: Tensor) -> Tensor:
        return scores

    def normalise(self, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores, dim=-1).masked_fill(self.hidden(scores.shape[-1]), 0.0)
        return weights / weights.sum(dim=-1, keepdim=True)


class UpcastSoftmax(PlainMultiHead):
    """The softmax in the widest format."""

    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores.double(), dim=-1).to(scores.dtype)


RIGHT = [
    ScaledQueries,
    RootOnBoth,
    OnlineSoftmax,
    BaseTwo,
    Reversed,
    LowestNumberMask,
    UpcastSoftmax,
]
REFERENCE = find("attention:MultiHeadAttention")[0]


@pytest.mark.parametrize("module", RIGHT, ids=lambda module: module.__name__)
def test_the_bound_holds_for_every_order_of_arithmetic(module: type[PlainMultiHead]) -> None:
    """Output and gradients of right implementations stay within it in all four formats."""
    ids = ("oracle/output-within-bound", "oracle/gradient-within-bound")
    subject = find(module, "multihead")[0]
    assert len(subject.dtypes) == 4
    report = Run(subject, [clauses()[id] for id in ids], PROFILES["ci"], 0).report()
    assert {r.clause: r.message for r in report.results if r.status != "pass"} == {}


def scaled_by(factor: float) -> type[PlainMultiHead]:
    """A module whose scale is off by a factor."""

    class Scaled(PlainMultiHead):
        def scale(self, scores: Tensor) -> Tensor:
            return super().scale(scores) * factor

    return Scaled


def caught(module: type[PlainMultiHead], dtype: str, seed: int = 0) -> bool:
    """Whether the module's output leaves the bound when it computes in this format alone."""
    subject = find(module, "multihead")[0]
    subject.dtypes = (dtype,)
    clause = clauses()["oracle/output-within-bound"]
    return bool(asked_alone(subject, [clause], PROFILES["quick"], seed))


UNITS = {
    "attention:MultiHeadAttention": {
        "output": 330,
        "x": 1600,
        "query": 4200,
        "key": 2800,
        "value": 430,
        "query_bias": 2900,
        "value_bias": 290,
        "out": 610,
        "out_bias": 25,
    },
    "attention:SelfAttention_v2": {
        "output": 400,
        "x": 2500,
        "query": 27000,
        "key": 11000,
        "value": 630,
        "query_bias": 9300,
        "value_bias": 350,
    },
    "attention:SimplifiedSelfAttention": {"output": 1200, "x": 31000},
}
"""The largest allowed error of each result of one example, over the result's largest magnitude, in
units of half an ulp. The key bias is left out: its gradient is zero."""


@pytest.mark.parametrize("target", UNITS)
def test_no_budget_is_wider_in_units_of_rounding(target: str) -> None:
    """A term that is a thousand times too large shows, though another one is the largest."""
    subject = find(target)[0]
    heads = 2 if subject.family == "multihead" else 1
    d_in = 4 if subject.family == "plain" else 3
    sizes = Sizes(2, 4, d_in, heads, {"multihead": 2, "self": 3, "plain": 4}[subject.family], 4)
    case = make_case(subject, sizes, "float64", "ordinary", True, 0.5, 2, 1)
    truth, allowed = case.gradients, case.gradient_budget
    pairs = {"output": (case.trace.output, case.budget.output), "x": (truth.x, allowed.x)}
    for name, array in parameters(truth.parameters).items():
        pairs[name] = array, getattr(allowed.parameters, name)
    pairs.pop("key_bias", None)
    unit = FORMATS["float64"].unit_roundoff
    found = {n: bound.max() / abs(array).max() / unit for n, (array, bound) in pairs.items()}
    assert found.keys() == UNITS[target].keys()
    assert {n: units for n, units in found.items() if units > UNITS[target][n]} == {}


def test_what_a_hidden_token_may_keep_of_a_gradient_is_few_units_of_rounding() -> None:
    """Of one example, over the largest gradient of a token that is seen."""
    case = make_case(REFERENCE, Sizes(2, 4, 3, 2, 2, 4), "float64", "ordinary", True, 0.5, 2, 1)
    allowed = hidden_gradient(case, case.upstream, case.gradients.x)
    unit = FORMATS["float64"].unit_roundoff
    assert 0.0 < allowed.max() / abs(case.gradients.x).max() / unit < 420


def test_contexts_of_doubled_values_are_apart_by_few_units_of_underflow() -> None:
    """By less than a hundred numbers below the normal range of float32."""
    case = make_case(REFERENCE, Sizes(2, 4, 3, 2, 2, 4), "float64", "ordinary", True, 0.5, 2, 1)
    assert 0.0 < underflow(case) < 100 * FORMATS["float32"].smallest_normal


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_half_of_the_digits_must_agree_in_units_where_no_weights_can_be_set(dtype: str) -> None:
    """The root of the unit roundoff, of the largest number seen."""
    case = make_case(REFERENCE, Sizes(2, 4, 3, 2, 2, 4), dtype, "ordinary", True, 0.5, 2, 1)
    case = replace(case, weights=None)
    root = FORMATS[dtype].unit_roundoff ** 0.5
    assert difference(case) == pytest.approx(root * abs(case.output).max())
    assert hidden_gradient(case, case.upstream, case.x) == pytest.approx(root * abs(case.x).max())


def test_nothing_is_claimed_of_weights_that_cannot_be_set_where_rounding_leaves_no_half() -> None:
    """Of eight bits the exponents of ordinary scores take more than four."""
    case = make_case(REFERENCE, Sizes(2, 4, 3, 2, 2, 4), "bfloat16", "ordinary", True, 0.5, 2, 1)
    assert np.isinf(difference(replace(case, weights=None))).all()


@pytest.mark.parametrize(
    ("dtype", "factor"), [("float64", 1 + 1e-6), ("float64", 1 + 1e-12), ("float32", 1 + 1e-3)]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_scale_that_is_slightly_off_leaves_the_bound(
    dtype: str, factor: float, seed: int
) -> None:
    """One part in a million in float64, one in a thousand in float32."""
    assert caught(scaled_by(factor), dtype, seed)


def softmax_through(dtype: torch.dtype) -> type[PlainMultiHead]:
    """A module whose softmax is computed in another format."""

    class Through(PlainMultiHead):
        def normalise(self, scores: Tensor) -> Tensor:
            return torch.softmax(scores.to(dtype), dim=-1).to(scores.dtype)

    return Through


@pytest.mark.parametrize(
    ("dtype", "through"), [("float64", torch.float32), ("float32", torch.bfloat16)]
)
def test_a_softmax_in_a_shorter_format_leaves_the_bound(dtype: str, through: torch.dtype) -> None:
    """Float64 through float32, and float32 through bfloat16."""
    assert caught(softmax_through(through), dtype)


def masked_by(constant: float) -> type[PlainMultiHead]:
    """A module whose mask is a finite constant added to the scores."""

    class Masked(PlainMultiHead):
        def hide(self, scores: Tensor) -> Tensor:
            return scores + constant * self.hidden(scores.shape[-1]).to(scores.dtype)

    return Masked


def failed(module: Callable[..., torch.nn.Module], *ids: str) -> list[str]:
    """Which of these clauses fail on a module, each asked by itself."""
    subject = find(module, "multihead")[0]
    limits = replace(PROFILES["ci"], reduction=0)
    return Run(subject, [clauses()[id] for id in ids], limits, 0).report().failed


def test_a_mask_by_minus_a_hundred_is_told_by_its_residue() -> None:
    """exp(-100) is no zero in float64."""
    assert failed(masked_by(-100.0), "weights/hidden-exactly-zero")


@pytest.mark.parametrize("constant", [-1e2, -1e3])
def test_a_small_number_in_a_mask_is_told_by_a_large_future_score(constant: float) -> None:
    """A thousand is a score that a softmax has to withstand."""
    assert failed(masked_by(constant), "causality/huge-future-stays-out")


def test_a_mask_after_the_softmax_is_told_by_its_sums() -> None:
    """Zeroing weights without dividing by what is left takes their part away."""

    class Zeroed(RenormalisedMask):
        def normalise(self, scores: Tensor) -> Tensor:
            weights = torch.softmax(scores, dim=-1)
            return weights.masked_fill(self.hidden(scores.shape[-1]), 0.0)

    assert failed(Zeroed, "weights/rows-sum-to-one")


def test_a_renormalised_mask_is_right_until_a_huge_future_takes_all_of_the_softmax() -> None:
    """It equals the mask by minus infinity in exact arithmetic, and is 0/0 where that underflows."""
    moderate = (
        "weights/equal-scores-give-equal-weights",
        "weights/log-odds-are-scaled-score-differences",
        "weights/renormalised-mask-equals-minus-infinity-mask",
    )
    assert not failed(RenormalisedMask, *moderate)
    assert failed(RenormalisedMask, "causality/huge-future-stays-out")


@given(case=cases(REFERENCE, largest=5), data=st.data())
def test_the_reference_stays_within_bounds_on_any_case(case: object, data: st.DataObject) -> None:
    """Drawn by Hypothesis itself, with shrinking, for the two oracle clauses."""
    for check in (output_within_bound, gradient_within_bound):
        share = check(case)  # type: ignore[arg-type]
        assert share is None or share <= 1.0


def test_a_scale_of_one_over_the_root_of_d_out_is_judged_by_one_clause_alone() -> None:
    """judge() on a single case gives a failure with expected, actual and place."""
    subject = find(scaled_by(2.0), "multihead")[0]
    from properties.cases.strategies import pinned_cases

    outcomes = [judge(clauses()["oracle/output-within-bound"], c) for c in pinned_cases(subject)]
    messages = [o.message for o in outcomes if o.status == "fail"]
    assert messages
    assert "expected the formula's" in messages[0]
    assert "batch" in messages[0]


class Unrecognised(UnrecognisedAttention):
    """The same with the usual first weights."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads)
        for layer in self.parts.values():
            torch.nn.init.uniform_(layer.numbers, -(d_in**-0.5), d_in**-0.5)  # type: ignore[arg-type]


class Leaky(Unrecognised):
    """The last token is added to all others."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 1e-3 * x[:, -1:])


def test_of_weights_that_cannot_be_set_half_the_digits_are_asked_where_rounding_leaves_them() -> (
    None
):
    """In both wide formats for ordinary numbers; of large ones in a short format nothing is."""
    subject = find(Unrecognised, "multihead")[0]
    assert "projections" not in subject.capabilities
    sizes = Sizes(2, 4, 3, 2, 2, 4)
    told = {
        (dtype, kind): bool(np.isfinite(difference(case)).all())
        for dtype in ("float64", "float32", "float16", "bfloat16")
        for kind in ("ordinary", "large")
        for case in [make_case(subject, sizes, dtype, kind, True, 0.5, 2, 0)]
    }
    assert told[("float64", "ordinary")]
    assert told[("float64", "large")]
    assert told[("float32", "ordinary")]
    assert not told[("float16", "large")]
    assert not told[("bfloat16", "large")]


@pytest.mark.parametrize(("module", "holds"), [(UnrecognisedAttention, True), (Leaky, False)])
def test_of_weights_that_cannot_be_set_a_leak_is_told_and_a_layout_is_not(
    module: type, holds: bool
) -> None:
    """Two layouts that round scores of thousands differently are right; a thousandth of the last
    token in all others is not.
    """
    subject = find(module, "multihead")[0]
    chosen = [
        replace(clauses()[id], after=())
        for id in ("shape/strides-do-not-matter", "causality/future-does-not-change-past")
    ]
    results = Run(subject, chosen, replace(PROFILES["ci"], reduction=0), 0).report().results
    assert [r.status for r in results] == ["pass", "pass" if holds else "fail"]
