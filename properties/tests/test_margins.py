"""No budget is a thousand times as wide as what rounding makes of it, and every law looks.

A module that is right up to its last bits, which change from call to call, uses a visible share of
each budget and no more than all of it. A law that forgets its assertion would see no share at all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import cycle

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import make_case
from properties.recognition.targets import find
from properties.runs.result import Result
from properties.runs.runner import Run
from properties.spec.clause import clauses
from properties.spec.clauses.causality import future_gradient_is_zero
from properties.spec.profiles import Profile
from properties.tests.test_bounds import RenormalisedMask
from properties.truth.parameters import Sizes
from properties.zoo.faults.errors import ContextLengthIgnored, OwnDropout
from properties.zoo.faults.plain import PlainMultiHead, PlainSelf, PlainSimplified, PlainWrapper
from properties.zoo.rights.softmax import RowByRowAttention

VISIBLE = 1e-3  # a budget a thousand times as wide shows less
FEW = Profile("few", drawn=5, counted=1, reduction=0, largest=5)
STEPS = torch.randint(-1, 2, (1009,), generator=torch.Generator().manual_seed(0))
CALLS = cycle(range(len(STEPS)))

NO_TOLERANCE = {
    "numerics/deterministic-in-eval",
    "weights/non-negative",
    "weights/hidden-exactly-zero",
    "causality/future-gradient-is-zero",
    "heads/head-isolation-in-gradients",
    "context/scaling-values-scales-the-context",
    "symmetry/reciprocal-scaling-of-q-and-k",
    "dropout/dropped-are-exactly-zero",
    "dropout/p-one-gives-zeros",
    "dropout/reproducible-under-manual-seed",
}
"""Laws that want a zero, or the same bits again."""
TAILS = {
    "dropout/independent-over-batch",
    "dropout/independent-over-heads",
    "dropout/independent-over-rows",
    "dropout/independent-over-columns",
    "dropout/independent-over-calls",
    "dropout/independent-across-lanes-and-tiles",
    "dropout/no-weight-is-exempt",
    "dropout/survival-rate",
    "dropout/unbiased",
}
"""Laws whose budget is a probability, no error."""
REFUSED = {
    "error/context-of-one-token",
    "error/dropout-out-of-range",
    "error/too-many-tokens",
    "error/wrong-rank",
}
"""Laws that compare nothing where the subject refuses, as these modules do."""
COMPILED = {"transform/export-equals-eager", "transform/compile-equals-eager"}
"""A compiler takes the jitter of one call for that of all."""
RIGHT = {
    "multihead": PlainMultiHead,
    "wrapper": PlainWrapper,
    "self": PlainSelf,
    "plain": PlainSimplified,
}

SELDOM: dict[str, type[nn.Module]] = {"causality/nan-future-stays-out": RowByRowAttention}
"""A law that the plain modules need not hold, with a right one that does."""


def by_a_unit(y: Tensor) -> Tensor:
    """Each number off by one unit in the last place or by none, in every call by others."""
    index = (torch.arange(y.numel()) + next(CALLS)) % len(STEPS)
    steps = STEPS[index].to(y.dtype).reshape(y.shape)
    return y * (1.0 + torch.finfo(y.dtype).eps * steps)


def jittery(right: type[nn.Module]) -> type[nn.Module]:
    """The module, its output off by a unit or by none."""

    class Jittery(right):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor) -> Tensor:
            return by_a_unit(super().forward(x))

    return Jittery


def comparing() -> list[tuple[str, str]]:
    """Each clause that compares within a tolerance, with the families that it is asked of here.

    The first that it concerns, and the plain one, which many laws see on a way of its own.
    """
    without = NO_TOLERANCE | TAILS | REFUSED | COMPILED
    subjects = {family: find(module, family)[0] for family, module in RIGHT.items()}
    pairs = []
    for id, clause in clauses().items():
        if id not in without and inspect.signature(clause.check).return_annotation == "float":
            families = [family for family in RIGHT if clause.concerns(subjects[family])]
            pairs += [(id, family) for family in families if family in (families[0], "plain")]
    return pairs


def used(id: str, family: str) -> Result:
    """What one clause says of a right module with jitter."""
    subject = find(jittery(SELDOM.get(id, RIGHT[family])), family)[0]
    (result,) = Run(subject, [clauses()[id]], FEW, 0).report().results
    return result


@pytest.mark.parametrize(("id", "family"), comparing())
def test_a_right_module_uses_a_visible_share_of_each_budget(id: str, family: str) -> None:
    """More than a thousandth of it, and no more than all."""
    result = used(id, family)
    assert result.status == "pass", result.message
    assert VISIBLE < result.margin <= 1.0


def test_a_renormalised_mask_uses_a_visible_share_of_what_may_be_left_of_a_gradient() -> None:
    """Where numbers are ordinary; minus infinity before the softmax leaves nothing."""
    subject = find(RenormalisedMask, "multihead")[0]
    ordinary = (
        make_case(subject, Sizes(2, 4, 3, 2, 2, 4), "float64", "ordinary", True, 0.5, 2, seed)
        for seed in range(6)
    )
    assert VISIBLE < max(map(future_gradient_is_zero, ordinary)) <= 1.0


class NegativeDropsNothing(OwnDropout):
    """Takes a p below 0 for 0."""

    below = False

    def understood(self, dropout: float) -> float:
        if not dropout <= 1.0:
            raise ValueError(f"dropout {dropout}")
        self.below = dropout < 0.0
        return max(dropout, 0.0)


def compiling(module: nn.Module, x: Tensor) -> bool:
    """Whether the call is traced, for export or by the compiler."""
    return torch.compiler.is_compiling()


UNITS = 300.0  # of the last place: what no budget allows, and a thousandfold one would
ONE_WAY: list[tuple[str, type[PlainMultiHead], Callable[[nn.Module, Tensor], bool]]] = [
    (
        "error/too-many-tokens",
        ContextLengthIgnored,
        lambda module, x: x.shape[1] > module.context_length,
    ),
    (
        "error/dropout-out-of-range",
        NegativeDropsNothing,
        lambda module, x: module.below and module.training,
    ),
    (
        "shape/strides-do-not-matter",
        PlainMultiHead,
        lambda module, x: x.stride(0) != 0 and not x.is_contiguous(),
    ),
    ("shape/strides-do-not-matter", PlainMultiHead, lambda module, x: x.stride(0) == 0),
    ("transform/export-equals-eager", PlainMultiHead, compiling),
    ("transform/compile-equals-eager", PlainMultiHead, compiling),
]
"""Laws that compare what is computed in another way, with a right module and when it goes that way."""


@pytest.mark.parametrize(("id", "right", "goes"), ONE_WAY, ids=[id for id, _, _ in ONE_WAY])
def test_what_is_computed_another_way_may_be_off_by_rounding_and_not_by_more(
    id: str, right: type[PlainMultiHead], goes: Callable[[nn.Module, Tensor], bool]
) -> None:
    """The same module passes as it is, and fails if on that way alone it is slightly off."""

    class Off(right):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y * (1.0 + UNITS * torch.finfo(y.dtype).eps) if goes(self, x) else y

    def status(module: type[nn.Module]) -> str:
        (result,) = Run(find(module, "multihead")[0], [clauses()[id]], FEW, 0).report().results
        return result.status

    assert (status(right), status(Off)) == ("pass", "fail")
