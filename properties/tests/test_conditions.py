"""The views of a case that clauses share are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given

from properties.basics.dtypes import FORMATS
from properties.cases.case import Case, parameters
from properties.cases.devices import read_weights
from properties.cases.strategies import cases, make_case
from properties.recognition.targets import find
from properties.spec.clauses import conditions
from properties.truth.parameters import Sizes
from properties.zoo.faults.plain import PlainMultiHead, PlainSimplified

MULTIHEAD = find(PlainMultiHead)[0]
PLAIN = find(PlainSimplified, "plain")[0]
SQUARE = find("torch.nn:MultiheadAttention")[0]
CASES = cases(MULTIHEAD, largest=5)
EVERY = cases(PLAIN, largest=5) | cases(SQUARE, largest=5) | CASES


@given(case=CASES)
def test_moderate_scores_are_moderate_and_shown_by_a_probe_of_different_sizes(case: Case) -> None:
    """|score| / sqrt(D) is at most 4, and no two of B, T, H, D, d_in and the width are the same."""
    probe = conditions.moderate(case)
    s = probe.sizes
    assert np.abs(probe.trace.scores).max() <= 4.0 * np.sqrt(s.head_dim) * (1 + 1e-12)
    np.testing.assert_allclose(read_weights(probe, probe.trace.output), probe.trace.weights)
    others = {s.batch, s.tokens, s.heads, s.d_in}
    assert s.head_dim not in others
    assert s.width not in others


@given(case=cases(SQUARE, largest=5))
def test_a_square_probe_has_different_sizes_but_for_d_in_and_width(case: Case) -> None:
    """Widened, so that each token has a column of its own, before the sizes are chosen."""
    s = conditions.moderate(case).sizes
    assert s.d_in == s.width
    assert {s.head_dim, s.width}.isdisjoint({s.batch, s.tokens, s.heads})


@given(case=cases(MULTIHEAD, largest=5) | cases(PLAIN, largest=5))
def test_a_constant_moves_scores_and_no_weight(case: Case) -> None:
    """Every score of a row by the same number."""
    still, shifted = conditions.moderate(case), conditions.with_constant(case, 16.0)
    moved = shifted.trace.scores - still.trace.scores
    np.testing.assert_allclose(moved, np.broadcast_to(moved[..., :1], moved.shape), atol=1e-9)
    assert np.abs(moved).min() > 15
    np.testing.assert_allclose(shifted.trace.weights, still.trace.weights, atol=1e-9)


@given(case=EVERY)
def test_behind_the_identity_the_output_is_the_context(case: Case) -> None:
    """Also where there is no projection, or nothing to set; what has a bias is told one."""
    probe = conditions.with_identity_out(case)
    assert parameters(probe.weights).keys() == parameters(case.weights).keys()
    np.testing.assert_array_equal(probe.trace.output, probe.trace.context)
    np.testing.assert_array_equal(probe.trace.context, case.trace.context)


@given(case=CASES | cases(SQUARE, largest=5))
def test_exact_inputs_are_the_queries_keys_and_values_of_the_case_in_its_format(case: Case) -> None:
    """With columns of zeros where tokens need room, and the context as output."""
    probe = conditions.exact_inputs(case)
    for name in ("queries", "keys", "values"):
        own, found = getattr(case.trace, name), getattr(probe.trace, name)
        width = own.shape[-1]
        np.testing.assert_array_equal(found[..., :width], FORMATS[case.dtype].round(own))
        assert not found[..., width:].any()
    np.testing.assert_array_equal(probe.trace.output, probe.trace.context)


@given(case=CASES | cases(SQUARE, largest=5))
def test_exact_inputs_are_wider_where_one_head_alone_would_have_to_be(case: Case) -> None:
    """In a square module a token for each column; elsewhere heads are as wide as they were."""
    s, free = case.sizes, case.subject.has("rectangular")
    least = s.head_dim if free else max(s.head_dim, s.batch * s.tokens)
    assert conditions.exact_inputs(case).sizes.head_dim == least


@given(case=cases(PLAIN, largest=5))
def test_what_has_no_projections_is_exact_as_it_is(case: Case) -> None:
    """Its input is."""
    assert conditions.exact_inputs(case) is case


@given(case=CASES)
def test_equal_scores_show_the_same_weight_for_each_key_that_is_seen(case: Case) -> None:
    """Of one item."""
    probe = conditions.equal_scores(case)
    shown = conditions.seen(probe)
    weights = read_weights(probe, probe.trace.output)
    np.testing.assert_allclose(
        weights, [[shown / shown.sum(axis=-1, keepdims=True)] * case.sizes.heads]
    )


def test_where_the_range_is_left_anything_is_allowed() -> None:
    """And else what is claimed."""
    sizes = Sizes(2, 3, 4, 2, 2, 3)
    case = make_case(MULTIHEAD, sizes, "float16", "ordinary", True, 0.5, 1, seed=0)
    huge = replace(case, x=case.x * 2.0**14)
    assert [conditions.claimed(one, 0.5) for one in (case, huge)] == [0.5, np.inf]
