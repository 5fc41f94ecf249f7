"""Weights are written where they come from and read back; what cannot hold them is not judged by them.

Legend: B batch, T tokens, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from properties import Subject
from properties.cases.strategies import make_case, pinned_cases
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.tests.test_rights import accusations
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.rights.common import SplitHeads, attend

Change = Callable[[nn.Linear], nn.Module]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def changed(change: Change, *layers: str) -> type[nn.Module]:
    """Right attention in which some layers are made differently."""

    class Attention(SplitHeads):
        def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False) -> None:
            super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
            for name in layers:
                setattr(self, name, change(getattr(self, name)))

        def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            return attend(queries, keys, values, self.dropout)

    return Attention


class Shifted(nn.Module):
    """A parametrization of one's own, with its inverse."""

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x

    def right_inverse(self, x: Tensor) -> Tensor:
        return 0.5 * x


class WithoutInverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x


def parametrized(kind: type[nn.Module]) -> Change:
    def change(layer: nn.Linear) -> nn.Module:
        parametrize.register_parametrization(layer, "weight", kind())
        return layer

    return change


def pruned(amount: float) -> Change:
    def change(layer: nn.Linear) -> nn.Module:
        prune.random_unstructured(layer, "weight", amount=amount)
        return layer

    return change


def frozen(layer: nn.Linear) -> nn.Module:
    return layer.requires_grad_(False)


def lazy(layer: nn.Linear) -> nn.Module:
    return nn.LazyLinear(layer.out_features, bias=layer.bias is not None)


class Doubled(nn.Linear):
    """Its weight is computed, by a property."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.halved = nn.Parameter(self._parameters.pop("weight") / 2)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.halved * 2


def doubled(layer: nn.Linear) -> nn.Module:
    return Doubled(layer.in_features, layer.out_features, bias=layer.bias is not None)


ASKED = [
    "shape/every-parameter-is-registered",
    "state/forward-is-pure",
    "causality/future-does-not-change-past",
]
ALL = ("W_query", "W_key", "W_value", "out_proj")
RIGHT: dict[str, type[nn.Module]] = {
    "weight_norm on the queries": changed(parametrizations.weight_norm, "W_query"),
    "weight_norm on all": changed(parametrizations.weight_norm, *ALL),
    "weight_norm of old": changed(torch.nn.utils.weight_norm, *ALL),
    "a parametrization of one's own": changed(parametrized(Shifted), "W_key", "W_value"),
    "pruned by nothing": changed(pruned(0.0), "W_key"),
    "frozen": changed(frozen, "W_query", "W_key"),
    "lazy": changed(lazy, "W_query", "W_key", "W_value"),
}
UNWRITABLE = {
    "orthogonal": (changed(parametrizations.orthogonal, "W_value"), "Orthogonal"),
    "spectral_norm": (changed(parametrizations.spectral_norm, "W_key"), "SpectralNorm"),
    "spectral_norm of old": (changed(torch.nn.utils.spectral_norm, "W_key"), "SpectralNorm"),
    "a parametrization without inverse": (
        changed(parametrized(WithoutInverse), "W_query"),
        "WithoutInverse",
    ),
    "pruned by half": (changed(pruned(0.5), "out_proj"), "RandomUnstructured"),
    "a property": (changed(doubled, "W_query"), "has no setter"),
}


def subject(target: type[nn.Module]) -> Subject:
    [found] = find(target)
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_right_attention_whose_weights_are_computed_is_right(name: str) -> None:
    """They are set through what they are computed from."""
    found = subject(RIGHT[name])
    assert {"projections", "out-projection"} <= found.capabilities
    accused = accusations(found)
    assert [id for id in accused if clauses()[id].level == "MUST"] == []


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_read_back_is_what_was_written(name: str) -> None:
    """The output is the formula's for the weights given, those of zero too."""
    found = subject(RIGHT[name])
    for case in pinned_cases(found):
        if case.dtype == "float64":
            assert abs(case.output - case.trace.output).max() <= case.budget.output.max()
    zero = case.map_arrays(lambda n, a: a if n in ("x", "other") else 0.0 * a)
    assert not zero.output.any()


@pytest.mark.parametrize("name", UNWRITABLE)
def test_weights_that_a_constraint_forbids_are_not_asked_for(name: str) -> None:
    """The reason says which constraint it is; nothing is judged by weights that never arrived."""
    target, said = UNWRITABLE[name]
    found = subject(target)
    assert "projections" not in found.capabilities
    assert "cannot be given arbitrary numbers" in found.lacking["projections"]
    assert said in found.lacking["projections"]
    report = run(found, profile="quick", only=ASKED)
    assert report.failed == []


def test_formats_in_which_no_exact_weights_arrive_are_not_asked() -> None:
    """A norm is rounded on the way, in half precision by more than the error budget has room for."""
    found = subject(RIGHT["weight_norm on all"])
    assert found.dtypes == ("float64", "float32")
    assert "not asked in bfloat16: no exact weights can be set" in found.notes


class NormedUnscaled(changed(parametrizations.weight_norm, *ALL)):  # type: ignore[misc]
    """Wrong, and its weights are computed."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return super().attend(queries * self.head_dim**0.5, keys, values)


class TiedQueriesAndKeys(PlainMultiHead):
    """One matrix for two roles."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.W_key = self.W_query


def test_wrong_attention_is_accused_though_its_weights_are_computed() -> None:
    """A missing scale is seen through weight_norm, and a missing matrix is no constraint."""
    assert "weights/log-odds-are-scaled-score-differences" in accusations(subject(NormedUnscaled))
    assert "shape/parameter-shapes-and-count" in accusations(subject(TiedQueriesAndKeys))


def test_the_number_of_parameters_is_that_of_the_weights() -> None:
    """The lengths of weight_norm are no further numbers."""
    found = subject(RIGHT["weight_norm on all"])
    case = make_case(found, pinned_cases(found)[0].sizes, "float64", "ordinary", False, 0.5, 1, 0)
    clauses()["shape/parameter-shapes-and-count"].check(case)
