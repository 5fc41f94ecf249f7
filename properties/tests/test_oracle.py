"""The two oracles agree with each other on every case, and a dispute blames no subject."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.basics.assertions import Violation
from properties.basics.errors import DisputeError
from properties.cases.case import Case, parameters
from properties.cases.strategies import cases, make_case
from properties.recognition.targets import find
from properties.spec.clauses import oracle as oracle_clauses
from properties.truth import bounds, oracle, second_oracle
from properties.truth.oracle import Trace
from properties.truth.parameters import Sizes
from properties.zoo.faults.plain import PlainMultiHead

SUBJECTS = {
    family: find(f"attention:{name}")[0]
    for family, name in {
        "plain": "SimplifiedSelfAttention",
        "self": "SelfAttention_v2",
        "causal": "CausalAttention",
        "wrapper": "MultiHeadAttentionWrapper",
        "multihead": "MultiHeadAttention",
    }.items()
}
any_case = st.sampled_from(list(SUBJECTS.values())).flatmap(lambda s: cases(s, largest=5))


@given(case=any_case)
def test_both_oracles_agree_on_every_output(case: Case) -> None:
    """Float64 and sixty digits differ by no more than the float64 budget, and mostly far less."""
    second = second_oracle.output(
        case.x, case.weights, heads=case.sizes.heads, causal=case.causal, scaled=case.scaled
    )
    own = bounds.budget(case.x, case.weights, case.trace, "float64")
    assert np.all(abs(case.trace.output - second) <= own.output)


@given(case=any_case)
def test_both_oracles_agree_on_every_slope(case: Case) -> None:
    """The chain rule and a central difference in sixty digits give the same directional slope."""
    oracle_clauses.undisputed_gradients(case)


def test_a_wrong_oracle_is_disputed_and_never_blamed_on_the_subject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a second oracle that forgets the scale, the clause ends in an error, not a failure."""
    from properties.runs.runner import run

    right = second_oracle.logit

    def unscaled(q: Any, k: Any, asked: Any) -> Any:
        return right(q, k, replace(asked, scale=Decimal(1)))

    monkeypatch.setattr(second_oracle, "logit", unscaled)
    report = run(SUBJECTS["multihead"], profile="quick", only=["oracle/output-within-bound"])
    verdict = {r.clause: r for r in report.results}["oracle/output-within-bound"]
    assert verdict.status == "error"
    assert verdict.message.startswith("oracle disputed")
    assert report.exit_code == 2


def test_a_disputed_gradient_is_an_error_too() -> None:
    """An analytic gradient that is off raises DisputeError."""
    case = small_case()
    wrong = replace(case.gradients, x=case.gradients.x + 1.0)
    case.__dict__["gradients"] = wrong
    with pytest.raises(DisputeError, match="decimals"):
        oracle_clauses.undisputed_gradients(case)


def small_case() -> Case:
    """A case that is small enough for a second opinion."""
    sizes = Sizes(batch=1, tokens=3, d_in=2, heads=2, head_dim=1, context_length=3)
    return make_case(SUBJECTS["multihead"], sizes, "float64", "ordinary", True, 0.5, 1, 7)


def test_the_trace_holds_every_step_of_the_formula() -> None:
    """Weights are rows that sum to one over what is visible, and mix the values to the context."""
    trace: Trace = small_case().trace
    assert np.allclose(trace.weights.sum(axis=-1), 1.0)
    assert np.all(trace.weights[..., np.triu_indices(3, 1)[0], np.triu_indices(3, 1)[1]] == 0)
    assert np.allclose(oracle.merge(trace.weights @ trace.values), trace.context)


def test_gradients_of_the_oracle_have_the_shapes_of_what_they_belong_to() -> None:
    """One gradient of the same shape for the input and for each parameter that is there."""
    case = small_case()
    assert case.gradients.x.shape == case.x.shape
    found, given_parameters = parameters(case.gradients.parameters), parameters(case.weights)
    assert {n: a.shape for n, a in found.items()} == {
        n: a.shape for n, a in given_parameters.items()
    }


def test_a_small_case_has_a_second_opinion_and_a_large_one_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixty digits take too long where there is much to compute."""
    asked: list[Case] = []
    output = second_oracle.output
    monkeypatch.setattr(
        second_oracle, "output", lambda *a, **options: [asked.append(a), output(*a, **options)][1]
    )
    subject = SUBJECTS["multihead"]
    for batch, times in ((1, 1), (9, 0)):
        sizes = Sizes(batch, 9 if batch > 1 else 2, 9, 3, 3, 9)
        case = make_case(subject, sizes, "float64", "ordinary", True, 0.5, 1, 0)
        asked.clear()
        oracle_clauses.output_within_bound(case)
        assert len(asked) == times


class SlightlyMore(torch.autograd.Function):
    """The identity, with a gradient that is too large by one part in a million million."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * (1.0 + 1e-12)


class OutGradientSlightlyOff(PlainMultiHead):
    """The gradient of the output projection alone is off."""

    def finish(self, context: torch.Tensor) -> torch.Tensor:
        weight = SlightlyMore.apply(self.out_proj.weight)
        return torch.nn.functional.linear(context, weight, self.out_proj.bias)


def test_a_parameters_gradient_that_is_slightly_off_leaves_its_bound() -> None:
    """Though the input's gradient is right, and would be allowed more."""
    subject = find(OutGradientSlightlyOff, "multihead")[0]
    case = make_case(subject, Sizes(1, 3, 3, 1, 2, 3), "float64", "ordinary", True, 0.5, 1, 0)
    with pytest.raises(Violation, match="parameter out the gradient"):
        oracle_clauses.gradient_within_bound(case)
