"""The probes that clauses make of a case are what they say, and so are the bounds for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from properties.basics.assertions import Violation
from properties.basics.dtypes import FORMATS
from properties.cases.budgets import causality as bounds_causality
from properties.cases.budgets import context as bounds_context
from properties.cases.budgets import weights as bounds_weights
from properties.cases.case import Case, parameters
from properties.cases.strategies import cases, make_case, pinned_cases
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.spec.clauses import conditions, context, heads, projection, symmetry
from properties.spec.clauses.error import indivisible
from properties.spec.clauses.gradient import (
    gradients_are_finite_for_large_scores,
    in_range,
    with_steep_scores,
)
from properties.spec.clauses.state import dtype_move_takes_the_mask_along, neighbour
from properties.truth import oracle
from properties.truth.parameters import Sizes
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead, PlainSimplified

MULTIHEAD = find(PlainMultiHead)[0]
PLAIN = find(PlainSimplified, "plain")[0]
SQUARE = find("torch.nn:MultiheadAttention")[0]
CASES = cases(MULTIHEAD, largest=5)


@given(case=CASES)
def test_probes_hold_numbers_that_are_exact_in_the_dtype(case: Case) -> None:
    """Subject and oracle start from the same values."""
    fmt = FORMATS[case.dtype]
    for probe in (
        conditions.moderate(case),
        conditions.exact_inputs(case),
        heads.one_role_each(case),
        heads.separate_inputs(case),
        symmetry.on_grid(case),
        *projection.biases_and_rows(case),
        context.with_values(case, context.FACTOR),
    ):
        for name, array in {"x": probe.x, **parameters(probe.weights)}.items():
            np.testing.assert_array_equal(fmt.round(array), array, err_msg=name)


@pytest.mark.parametrize("width", [1, 2, 5, 6])
def test_a_rotation_keeps_products_and_is_exact_on_multiples_of_five(width: int) -> None:
    """(q R)(k R)^T = q k^T."""
    rng = np.random.default_rng(width)
    queries, keys = (5.0 * rng.integers(-2, 3, (4, width)).astype(float) for _ in range(2))
    turned = symmetry.rotated(queries) @ symmetry.rotated(keys).T
    np.testing.assert_array_equal(turned, queries @ keys.T)
    identity = np.diag([1.0] * width)
    magnitude = symmetry.rotated(identity, sign=1.0)
    np.testing.assert_allclose(magnitude, np.abs(symmetry.rotated(identity)))


@given(case=CASES)
def test_a_head_with_inputs_of_its_own_reads_no_others(case: Case) -> None:
    """Exchanging them leaves the other heads' queries, keys and values as they are."""
    probe, head = heads.separate_inputs(case), heads.chosen_head(case)
    exchanged = np.where(heads.of_chosen_head(probe, head), probe.other, probe.x)
    before, after = (oracle.project(x, probe.weights) for x in (probe.x, exchanged))
    for old, new in zip(before, after, strict=True):
        old, new = (np.delete(part, heads.head_columns(probe, head), -1) for part in (old, new))
        np.testing.assert_array_equal(new, old)


@given(case=CASES)
def test_biases_and_rows_are_the_same_projections(case: Case) -> None:
    """Of queries, keys and values, whatever the case's own biases are."""
    as_biases, as_rows = projection.biases_and_rows(case)
    for one, other in zip(
        oracle.project(as_biases.x, as_biases.weights),
        oracle.project(as_rows.x, as_rows.weights),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-9)


@given(size=st.integers(2, 9), seed=st.integers(0, 99))
def test_an_order_moves_something(size: int, seed: int) -> None:
    """A permutation that is the identity would test nothing."""
    order = symmetry.moved(size, seed)
    assert sorted(order) == list(range(size)) != order


@given(case=CASES, factor=st.sampled_from([1.0, 30.0, 1000.0]))
def test_row_sums_leave_room_for_a_log_sum_exp(case: Case, factor: float) -> None:
    """In float32, with scores up to millions; for ordinary ones the room is small."""
    large = replace(case, dtype="float32", x=case.other * factor)
    allowed = bounds_weights.row_sums(large)
    scores = large.trace.scores / np.sqrt(case.sizes.head_dim)
    hidden = torch.tensor(conditions.seen(case) == 0)
    weights = torch.tensor(scores).float().masked_fill(hidden, -torch.inf).log_softmax(-1).exp()
    assert (np.abs(weights.double().sum(dim=-1).numpy() - 1.0) <= allowed).all()
    if factor == 1.0:
        assert (allowed < 1e-3).all()


class Renormalised(PlainMultiHead):
    """Weights zeroed after the softmax and divided by what is left."""

    def hide(self, scores: Tensor) -> Tensor:
        return scores

    def normalise(self, scores: Tensor) -> Tensor:
        kept = torch.softmax(scores, dim=-1).masked_fill(self.hidden(scores.shape[-1]), 0.0)
        return kept / kept.sum(dim=-1, keepdim=True)


@settings(max_examples=25)
@given(case=cases(find(Renormalised, "multihead")[0], largest=6))
def test_a_renormalised_mask_leaves_no_more_gradient_than_is_allowed(case: Case) -> None:
    """While its sums are far from underflow, as they are for moderate scores."""
    probe = conditions.moderate(case)
    if probe.sizes.tokens < 2:
        return
    upstream = np.zeros((probe.sizes.batch, probe.sizes.tokens, probe.sizes.width))
    upstream[:, 0] = probe.upstream[:, 0] + 0.5
    found = probe.build().gradients(probe.x, upstream)["x"]
    allowed = bounds_causality.hidden_gradient(probe, upstream, found)
    assert (np.abs(found[:, 1:]) <= allowed).all()


def test_a_gradient_through_an_open_mask_is_more_than_is_allowed() -> None:
    """By orders of magnitude in float64."""
    case = pinned_cases(find(faults()["mask-of-values-alone"].module)[0])[0]
    probe = conditions.moderate(case)
    upstream = probe.upstream.copy()
    upstream[:, 1:] = 0.0
    found = probe.build().gradients(probe.x, upstream)["x"]
    allowed = bounds_causality.hidden_gradient(probe, upstream, found)
    assert (np.abs(found[:, 1:]) > 1e6 * allowed).any()


@given(case=CASES)
def test_a_mixture_is_allowed_less_than_the_whole_budget_where_scores_are_large(case: Case) -> None:
    """The hull's bound holds no error of a score: in float32 it is far below the values."""
    probe = conditions.exact_inputs(replace(case, dtype="float32"))
    largest = np.abs(probe.trace.context)
    allowed = bounds_context.mixing(probe, largest)
    assert (allowed >= 0).all()
    if probe.budget.claims:
        steep = 1.0 + np.abs(probe.trace.scores).max()
        assert (allowed <= 1e-5 * steep * largest + 1e-30).all()


def test_a_gradient_that_leaves_the_range_by_its_own_size_accuses_nobody() -> None:
    """Where it stays within, NaN is a fault."""
    fault = faults()["overflow-in-the-branch-not-taken"]
    subject = find(fault.module, fault.family)[0]
    sizes = Sizes(1, 3, 3, 1, 2, 3)
    case = make_case(subject, sizes, "float32", "ordinary", False, 0.5, 1, 0)
    with pytest.raises(Violation, match="finite gradient"):
        gradients_are_finite_for_large_scores(case)
    weights = replace(case.weights, value=case.weights.value * 2.0**120)
    huge = replace(case, weights=weights, other=case.other * 2.0**120)
    with quiet_and_repeatable():
        assert not in_range(with_steep_scores(huge))
        gradients_are_finite_for_large_scores(huge)


@given(case=CASES)
def test_a_neighbour_has_as_many_tokens_and_items_and_nothing_else_in_common(case: Case) -> None:
    """What is kept between instances under a key that lacks any of these would be met."""
    other = neighbour(case)
    assert (other.sizes.tokens, other.sizes.batch) == (case.sizes.tokens, case.sizes.batch)
    for size in ("d_in", "heads", "head_dim", "context_length"):
        assert getattr(other.sizes, size) != getattr(case.sizes, size)
    assert (other.dtype, other.bias) not in ((case.dtype, case.bias), (case.dtype, other.bias))


@given(case=cases(PLAIN, largest=5))
def test_a_neighbour_of_one_head_has_one_head(case: Case) -> None:
    """A family without heads has no other number of them."""
    assert neighbour(case).sizes.heads == case.sizes.heads == 1


@given(case=CASES)
def test_an_indivisible_request_asks_for_nothing_else_that_is_new(case: Case) -> None:
    """d_in stays, so that a refusal is one of the heads; the heads do not divide d_out."""
    config = indivisible(case)
    assert config.width % config.sizes.heads
    assert config.sizes.d_in == case.sizes.d_in


@given(case=cases(SQUARE, largest=5))
def test_an_indivisible_request_of_a_square_subject_is_square_but_for_what_is_left_over(
    case: Case,
) -> None:
    """d_in is the width without the columns beyond H * D, as the constructor wants it."""
    config = indivisible(case)
    assert config.sizes.d_in == config.width - config.odd


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_module_that_is_moved_has_run_in_another_dtype_before(dtype: str) -> None:
    """In one that loses no digits of the case: it holds what is exact in any of them."""
    ran: list[str] = []

    class Noting(PlainMultiHead):
        def forward(self, x: Tensor) -> Tensor:
            ran.append(str(x.dtype).removeprefix("torch."))
            return super().forward(x)

    case = make_case(
        find(Noting)[0], Sizes(2, 3, 4, 2, 2, 3), dtype, "ordinary", True, 0.5, 1, seed=0
    )
    ran.clear()  # of what was tried in order to find out in what it runs
    dtype_move_takes_the_mask_along(case)
    assert list(dict.fromkeys(ran)) == ["float32" if dtype == "float64" else "float64", dtype]
