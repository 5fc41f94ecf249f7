"""The strategies reach what they say they draw, and shrink to the smallest interesting case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import find as find_example
from hypothesis import strategies as st

from attention import CausalAttention
from properties import strategies as public
from properties.basics.dtypes import FORMATS
from properties.cases.case import Case, parameters
from properties.cases.strategies import COINCIDENCES, KINDS, cases, pinned_cases, sizes, values
from properties.recognition.targets import find
from properties.truth.parameters import Sizes

REFERENCE = find("attention:MultiHeadAttention")[0]
SQUARE = find("torch.nn:MultiheadAttention")[0]
PLAIN = find("attention:SimplifiedSelfAttention")[0]
CAUSAL = find("attention:CausalAttention")[0]
SUBJECTS = st.sampled_from([REFERENCE, SQUARE, PLAIN, CAUSAL])

WANTED = {
    "B = T": lambda s: s.batch == s.tokens > 1,
    "H = T": lambda s: s.heads == s.tokens > 1,
    "T = context_length": lambda s: s.tokens == s.context_length > 1,
    "T < context_length": lambda s: 1 < s.tokens < s.context_length,
    "d_in = W": lambda s: s.d_in == s.width > 1,
    "d_in < W": lambda s: s.d_in < s.width,
    "one token": lambda s: s.tokens == 1 < s.context_length,
    "odd heads": lambda s: s.heads % 2 == 1 and s.heads > 1,
    "head_dim 1": lambda s: s.head_dim == 1 and s.heads > 1,
    "all different": lambda s: len({s.batch, s.tokens, s.heads, s.head_dim, s.d_in}) == 5,
}


@pytest.mark.parametrize("wanted", WANTED)
def test_sizes_reach_every_coincidence(wanted: str) -> None:
    """Each is found within a thousand draws."""
    found = find_example(
        sizes(REFERENCE), WANTED[wanted], settings=settings(max_examples=1000, database=None)
    )
    assert WANTED[wanted](found)


@given(subject=SUBJECTS, data=st.data())
def test_drawn_sizes_fit_the_constructor(subject: object, data: st.DataObject) -> None:
    """T is at most context_length, one head where the family has one, d_in = W where it must be."""
    s: Sizes = data.draw(sizes(subject))  # type: ignore[arg-type]
    assert 1 <= s.tokens <= s.context_length
    if subject in (PLAIN, CAUSAL):
        assert s.heads == 1
    if subject in (PLAIN, SQUARE):
        assert s.d_in == s.width


@given(subject=SUBJECTS, data=st.data())
def test_every_number_of_a_case_is_exact_in_every_format(
    subject: object, data: st.DataObject
) -> None:
    """So subject and oracle start from the same values, whatever the dtype."""
    case: Case = data.draw(cases(subject))  # type: ignore[arg-type]
    for array in (case.x, case.other, *parameters(case.weights).values()):
        for fmt in FORMATS.values():
            assert np.array_equal(fmt.round(array), array)


@pytest.mark.parametrize("kind", KINDS)
def test_values_have_the_shape_asked_for_whatever_their_kind(kind: str) -> None:
    """Finite numbers of the shape, drawn from the generator alone."""
    first, second = (values((2, 3, 5), kind, np.random.default_rng(4)) for _ in range(2))
    assert first.shape == (2, 3, 5)
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)


def test_pinned_cases_hold_each_coincidence_kind_and_format() -> None:
    """What must not depend on luck is there in every run."""
    pinned = pinned_cases(REFERENCE)
    assert len(pinned) == len(COINCIDENCES)
    assert {case.about for case in pinned} == set(KINDS)
    assert {case.dtype for case in pinned} == set(REFERENCE.dtypes)
    assert {case.bias for case in pinned} == {True, False}
    s = [case.sizes for case in pinned]
    assert any(one.tokens == 1 for one in s)
    assert any(one.tokens == one.context_length > 1 for one in s)


def test_cases_shrink_to_one_token_of_everything() -> None:
    """Without a condition the smallest case is left."""
    smallest = find_example(cases(REFERENCE), lambda case: True)
    s = smallest.sizes
    assert (s.batch, s.tokens, s.heads, s.head_dim) <= (5, 1, 2, 3)


def test_a_largest_size_too_small_for_five_different_ones_is_refused() -> None:
    """The message says what is needed."""
    with pytest.raises(ValueError, match="at least 5"):
        sizes(REFERENCE, largest=4)


def test_a_users_own_test_draws_cases_of_a_class_and_shrinks_to_the_smallest_that_fails() -> None:
    """As the public strategies are told: three tokens, other sizes small and different, no bias."""

    @settings(phases=[Phase.generate, Phase.shrink], database=None, derandomize=True)
    @given(public.cases(CausalAttention))
    def mine(case: public.Case) -> None:
        seen.append(case)
        assert np.abs(case.output - case.trace.output).max() <= case.budget.output.max()
        assert case.sizes.tokens < 3

    seen: list[public.Case] = []
    with pytest.raises(AssertionError):
        mine()
    case = seen[-1]
    assert (case.sizes.tokens, case.sizes.heads, case.seed) == (3, 1, 0)
    assert (case.dtype, case.about, case.bias) == ("float64", "ordinary", False)
    assert (case.sizes.head_dim, case.sizes.batch, case.sizes.d_in) == (2, 4, 5)
    assert len({each.sizes.tokens for each in seen}) > 3


def test_public_sizes_are_those_of_a_target_or_of_a_subject() -> None:
    """By name, as a class, or found before."""
    for target in ("attention:CausalAttention", CausalAttention, CAUSAL):
        found = find_example(public.sizes(target), lambda s: s.tokens > 2)
        assert (found.tokens, found.heads) == (3, 1)
