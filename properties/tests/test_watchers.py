"""What a call, a format or a way of building does besides: the right value, and that it can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attention import CausalAttention, MultiHeadAttention
from properties.basics.assertions import Violation
from properties.basics.dtypes import FORMATS
from properties.cases.strategies import pinned_cases
from properties.recognition.adapters.function_shell import Function, Shell
from properties.recognition.targets import find
from properties.spec.clauses.gradient import second_derivative, two_tokens
from properties.spec.clauses.state import queries_keys_and_values_untouched
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes
from properties.zoo.faults import faults
from properties.zoo.faults.functions import query_divided_in_place
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.faults.state import MaskLostInDeferredConstruction
from properties.zoo.rights.kernels import causal_attention

SIZES = Sizes(batch=2, tokens=5, d_in=6, heads=2, head_dim=3, context_length=5)


@pytest.mark.parametrize(
    ("function", "untouched"), [(causal_attention, True), (query_divided_in_place, False)]
)
def test_a_right_function_leaves_what_it_is_given(function: object, untouched: bool) -> None:
    """Queries, keys and values are bit-equal to their clones afterwards."""
    given = [torch.randn(2, 2, 5, 3) for _ in range(3)]
    clones = [part.clone() for part in given]
    function(*given)  # type: ignore[operator]
    assert all(torch.equal(a, b) for a, b in zip(given, clones, strict=True)) is untouched


def test_a_shell_hands_over_what_its_forward_uses() -> None:
    """Attending to what it hands over is its forward but for the output projection."""
    shell = Shell(Function(causal_attention, "f"), Config(SIZES), "self")
    x = torch.randn(2, 5, 6)
    context = shell.attend(*shell.handed_over(x))
    assert torch.equal(shell(x), context.transpose(1, 2).flatten(2))


def test_untouched_is_asked_in_both_modes_and_of_copies_too() -> None:
    """Each fault of functions is seen by its own question: the view, the copy, the training mode."""
    told = {}
    for name in faults():
        if name.startswith(("query-divided", "values-scaled-in-place")):
            case = pinned_cases(find(faults()[name].module)[0])[0]
            with pytest.raises(Violation) as violation:
                queries_keys_and_values_untouched(case)
            told[name] = violation.value.expected
    assert told == {
        "query-divided-in-place": "untouched queries in eval",
        "query-divided-in-place-where-it-lies-in-order": "untouched queries in eval",
        "values-scaled-in-place-in-training": "untouched values in training",
    }


@pytest.mark.parametrize(
    ("module", "same"),
    [(MultiHeadAttention, True), (MaskLostInDeferredConstruction, False)],
)
def test_a_saved_mask_survives_the_meta_device(module: type[nn.Module], same: bool) -> None:
    """Built on meta, given memory, zeroed, and loaded: the output is that of the module built plainly."""
    arguments = (6, 6, 5, 0.0, 2)
    plain = module(*arguments)
    with torch.device("meta"):
        deferred = module(*arguments)
    deferred.to_empty(device="cpu")
    for buffer in deferred.buffers():
        buffer.zero_()
    deferred.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 6)
    assert torch.equal(deferred(x), plain(x)) is same


def test_the_causal_class_survives_the_meta_device() -> None:
    """Its mask is saved, too."""
    plain = CausalAttention(6, 3, 5, 0.0)
    with torch.device("meta"):
        deferred = CausalAttention(6, 3, 5, 0.0)
    deferred.to_empty(device="cpu").load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 6)
    assert torch.equal(deferred(x), plain(x))


class Refusing(torch.autograd.Function):
    """The identity, whose gradient cannot be differentiated again."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Once(PlainMultiHead):
    """Differentiable once."""

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context: Tensor = Refusing.apply(super().mix(weights, values))
        return context


def test_a_second_derivative_may_be_refused() -> None:
    """What raises is not held against it."""
    second_derivative(pinned_cases(find(Once, "multihead")[0])[0])


class GradientWithoutGraph(PlainMultiHead):
    """The way back runs without a graph, so that its own derivative is taken for zero."""

    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context + WithoutGraph.apply(context))


class WithoutGraph(torch.autograd.Function):
    """The square, whose gradient is a plain number."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        ctx.x = x.detach()  # type: ignore[attr-defined]
        return x.square()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return 2.0 * ctx.x * gradients[0]  # type: ignore[attr-defined, no-any-return]


def test_a_second_derivative_that_lacks_a_part_is_told() -> None:
    """2 x is kept as a number, so the second derivative of the square, 2, is lost."""
    with pytest.raises(Violation, match="a second derivative"):
        second_derivative(pinned_cases(find(GradientWithoutGraph, "multihead")[0])[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_budget_of_a_short_format_is_smaller_than_the_gradients(dtype: str) -> None:
    """Of queries and of keys in turn: a gradient that vanishes is told."""
    case = replace(pinned_cases(find(PlainMultiHead)[0])[0], dtype=dtype)
    assert dtype in FORMATS
    for probe, name in zip(two_tokens(case), ("key", "query"), strict=True):
        found, allowed = (
            getattr(part.parameters, name) for part in (probe.gradients, probe.gradient_budget)
        )
        assert np.any(np.abs(found) > allowed)
