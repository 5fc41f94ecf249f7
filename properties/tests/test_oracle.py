"""The two oracles agree with each other, with the sources and with ONNX's published vectors."""

from __future__ import annotations

import warnings
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.basics.errors import DisputeError
from properties.cases.case import Case, parameters
from properties.cases.strategies import cases, make_case
from properties.recognition.targets import find
from properties.spec.clauses import oracle as oracle_clauses
from properties.truth import bounds, oracle, second_oracle
from properties.truth.oracle import Trace
from properties.truth.parameters import Sizes, Weights
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
    unscaled = lambda q, k, asked: right(q, k, replace(asked, scale=Decimal(1)))  # noqa: E731
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


# ONNX publishes Attention vectors. In scope is what the spec describes: as many key as query heads,
# values as wide as keys, the scale 1 / sqrt(head_dim), the causal mask or none, no further mask, no
# cache, no window, no cap. Keys may outnumber queries there; queries are then the first ones.
OUT_OF_SCOPE = (
    "scale",
    "softcap",
    "left_window_size",
    "right_window_size",
    "qk_matmul_output_mode",
)
IN_SCOPE = {
    "test_attention_3d",
    "test_attention_3d_causal",
    "test_attention_3d_causal_bf16",
    "test_attention_3d_transpose_verification",
    "test_attention_4d",
    "test_attention_4d_causal",
    "test_attention_4d_causal_bf16",
    "test_attention_4d_causal_fp16",
    "test_attention_4d_fp16",
    "test_attention_4d_with_qk_matmul",
    "test_attention_local_window_default",
}


@cache
def onnx_cases() -> dict[str, Any]:
    """ONNX's single-node Attention cases by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # collecting also computes other operators' vectors
        from onnx.backend.test.case import node

        found = node.collect_testcases("Attention")
    return {
        case.name: case
        for case in found
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type == "Attention"
    }


def attributes(case: Any) -> dict[str, Any]:
    """The node's attributes."""
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in case.model.graph.node[0].attribute}


def in_scope(case: Any) -> bool:
    """Whether the spec says what the case must give."""
    given_attributes, inputs = attributes(case), case.data_sets[0][0]
    windows = ("left_window_size", "right_window_size")
    beyond = [
        name
        for name in OUT_OF_SCOPE
        if name in given_attributes and not (name in windows and given_attributes[name] == -1)
    ]
    grouped = given_attributes.get("q_num_heads") != given_attributes.get("kv_num_heads")
    if beyond or grouped or len(inputs) != 3:
        return False
    queries, keys, values = (heads_first(part, given_attributes) for part in inputs)
    return queries.shape[1] == keys.shape[1] and keys.shape[-1] == values.shape[-1]


def heads_first(part: Array, given_attributes: dict[str, Any]) -> Array:
    """(B, T, H * D) or (B, H, T, D) -> (B, H, T, D), in float64."""
    part = np.asarray(part).astype(np.float64)
    if part.ndim == 4:
        return part
    heads = given_attributes["q_num_heads"]
    return part.reshape(*part.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def test_the_cases_of_onnx_in_scope_are_those_listed() -> None:
    """A new release with more cases in scope shows here."""
    assert {name for name, case in onnx_cases().items() if in_scope(case)} == IN_SCOPE


@pytest.mark.parametrize("name", sorted(IN_SCOPE))
def test_both_oracles_match_the_vectors_of_onnx(name: str) -> None:
    """Each published output lies within the error budget of its own format. None is disputed."""
    case = onnx_cases()[name]
    inputs, outputs = case.data_sets[0]
    queries, keys, values = (heads_first(part, attributes(case)) for part in inputs)
    x, weights = as_input(queries, keys, values)
    heads, causal = queries.shape[1], bool(attributes(case).get("is_causal", 0))
    trace = oracle.attention(x, weights, heads=heads, causal=causal)
    rows = queries.shape[2]
    published = oracle.merge(heads_first(outputs[0], attributes(case)))
    dtype = str(np.asarray(inputs[0]).dtype)
    allowed = bounds.budget(x, weights, trace, dtype).output
    second = second_oracle.output(x, weights, heads=heads, causal=causal, scaled=True)
    for truth in (trace.output, second):
        assert np.all(abs(truth[:, :rows] - published) <= allowed[:, :rows])


def as_input(queries: Array, keys: Array, values: Array) -> tuple[Array, Weights]:
    """An input x = [q | k | v] and projections that select the three from it, exactly."""
    missing = keys.shape[2] - queries.shape[2]
    queries = np.pad(queries, ((0, 0), (0, 0), (0, missing), (0, 0)))
    parts = [oracle.merge(part) for part in (queries, keys, values)]
    width = parts[0].shape[-1]
    selectors = np.eye(3 * width).reshape(3 * width, 3, width)
    return np.concatenate(parts, axis=-1), Weights(*(selectors[:, i] for i in range(3)))


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
