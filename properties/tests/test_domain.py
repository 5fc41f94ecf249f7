"""What a subject cannot take is told once, and everything else is asked inside."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from properties import check
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.targets import find_one
from properties.runs.domain import explore
from properties.runs.recall import replayable
from properties.runs.result import describe_case
from properties.runs.runner import run
from properties.subjects.limits import Limits
from properties.subjects.subject import Subject
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainCausal
from properties.zoo.wide.grouped import PlainGrouped

SCALE = "weights/log-odds-are-scaled-score-differences"
SHAPE = "shape/output-shape"
quick = partial(check, profile="quick")


class CausalWholeContext(nn.Module):
    """Right, but its mask is not cut to the tokens that come."""

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float) -> None:
        super().__init__()
        self.W_query, self.W_key, self.W_value = (nn.Linear(d_in, d_out) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        mask = torch.ones(context_length, context_length).triu(diagonal=1).bool()
        self.register_buffer("mask", mask)

    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores / head_dim**0.5

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.W_query(x), self.W_key(x), self.W_value(x)
        scores = self.scaled(queries @ keys.mT, keys.shape[-1])
        weights = scores.masked_fill(self.mask, -torch.inf).softmax(-1)
        return self.dropout(weights) @ values


class CausalWholeContextWithoutScale(CausalWholeContext):
    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores


class CausalOneItem(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 1:
            raise ValueError("one item at a time")
        return super().forward(x)


class CausalTwoTokens(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] < 2:
            raise ValueError("nothing to attend to")
        return super().forward(x)


class CausalTwentyTokens(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 20:
            raise ValueError("at most 20 tokens")
        return super().forward(x)


class CausalEven(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        if self.W_query.out_features % 2:
            raise ValueError("head_dim must be even")
        return super().forward(x)


class CausalSoftmaxInFloat32(CausalWholeContext):
    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.W_query(x), self.W_key(x), self.W_value(x)
        scores = self.scaled(queries @ keys.mT, keys.shape[-1])
        tokens = x.shape[1]
        scores = scores.masked_fill(self.mask[:tokens, :tokens], -torch.inf)
        weights = torch.softmax(scores, -1, dtype=torch.float32).to(x.dtype)
        return self.dropout(weights) @ values


class CausalSoftmaxInFloat32WithoutScale(CausalWholeContextWithoutScale, CausalSoftmaxInFloat32):
    pass


@pytest.mark.parametrize(
    ("module", "limits"),
    [
        (CausalWholeContext, Limits(full_context=True)),
        (CausalOneItem, Limits(one_item=True)),
        (CausalTwoTokens, Limits(least_tokens=2)),
        (CausalTwentyTokens, Limits(most_tokens=20)),
        (CausalEven, Limits(head_dims=2)),
        (PlainCausal, Limits()),
    ],
)
def test_what_a_subject_cannot_take_is_found(module: type[nn.Module], limits: Limits) -> None:
    """Each limit by a module that is right within it."""
    inside, limitations = explore(subject(module))
    assert inside.limits == limits
    assert len(limitations) == bool(limits)


@pytest.mark.parametrize(
    "module",
    [
        CausalWholeContext,
        CausalOneItem,
        CausalTwoTokens,
        CausalTwentyTokens,
        CausalEven,
    ],
)
def test_a_limit_is_the_only_failure_of_a_module_that_is_right_within_it(
    module: type[nn.Module],
) -> None:
    """Nothing is blocked, nothing vacuous, and the laws inside hold."""
    report = quick(subject(module))
    assert report.failed == [SHAPE]
    assert len([r for r in report.results if r.status == "pass" and r.level == "MUST"]) > 55
    assert not [r.clause for r in report.results if r.status in ("blocked", "vacuous", "error")]


def test_a_limit_does_not_hide_a_missing_scale() -> None:
    """Both are told."""
    assert quick(CausalWholeContextWithoutScale).failed == [SHAPE, SCALE]


class GroupsThatRaise(PlainGrouped):
    """Queries are viewed with as many heads as keys have."""

    def forward(self, x: Tensor) -> Tensor:
        self.q_proj(x).view(*x.shape[:2], self.n_kv_heads, self.head_dim)
        return super().forward(x)


class UnscaledGroupsThatRaise(GroupsThatRaise):
    def factor(self) -> float:
        return 1.0


def test_heads_that_may_share_no_head_of_keys_are_told_and_all_else_is_asked() -> None:
    report = run(find_one(GroupsThatRaise), profile="quick", only=[SCALE, SHAPE])
    assert report.failed == [SHAPE]
    [finding] = report.findings
    assert finding.name == "works only for as many heads of keys as of queries"
    report = run(find_one(UnscaledGroupsThatRaise), profile="quick", only=[SCALE])
    assert SCALE in report.failed


def test_a_remembered_case_of_heads_that_share_is_not_asked_where_they_may_not() -> None:
    found = find_one(GroupsThatRaise)
    sizes = replace(pinned_sizes(found)[0], heads=4, groups=2, d_in=8, head_dim=2)
    told = describe_case(make_case(found, sizes, "float64", "ordinary", False, 0.5, 1, 0))
    assert replayable(told, found) is not None
    assert replayable(told, explore(found)[0]) is None


def test_a_softmax_that_is_always_taken_in_float32_is_told_once() -> None:
    """The rest is asked in the formats that remain."""
    report = quick(CausalSoftmaxInFloat32)
    told = [r.clause for r in report.results if r.status == "fail"]
    assert "numerics/float64-weights-are-no-float32" in told
    assert report.failed == []
    assert report.right
    assert "edge" in [f.kind for f in report.findings if "in float32" in f.name]
    assert "float64" not in report.dtypes
    assert not [r.clause for r in report.results if r.status in ("blocked", "vacuous", "error")]


def test_a_softmax_in_float32_does_not_hide_a_missing_scale() -> None:
    """The one is told as a habit, the other by its name."""
    report = quick(CausalSoftmaxInFloat32WithoutScale)
    assert report.failed == [SCALE]
    assert "edge" in [f.kind for f in report.findings if "in float32" in f.name]


def test_values_that_go_through_float32_are_no_habit() -> None:
    """One finding, and it decides: a float64 model is right to seven digits."""
    fault = faults()["values-through-float32"]
    report = quick(fault.module)
    assert report.failed == ["numerics/no-quiet-downcast"]
    assert [f.name for f in report.findings if f.level == "MUST"] == [
        "computes in float32, whatever the format of the input"
    ]


def test_an_output_that_comes_back_in_float32_is_no_softmax_in_float32() -> None:
    """The one is another format than was asked for, the other another rounding."""
    fault = faults()["output-in-float32"]
    assert explore(find_one(fault.module, fault.family))[1] == []


class CausalRootKept(CausalWholeContext):
    """The root of head_dim is a tensor of float32 that no `to` moves."""

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float) -> None:
        super().__init__(d_in, d_out, context_length, dropout)
        self.root = torch.sqrt(torch.FloatTensor([d_out]))

    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores / self.root

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.W_query(x), self.W_key(x), self.W_value(x)
        mask = self.mask[: x.shape[1], : x.shape[1]]
        scores = self.scaled(queries @ keys.mT, keys.shape[-1]).masked_fill(mask, -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values


class CausalRootInABuffer(CausalRootKept):
    """Which becomes float64, and is none the better for it."""

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float) -> None:
        super().__init__(d_in, d_out, context_length, dropout)
        del self.root
        self.register_buffer("root", torch.tensor(d_out).sqrt())


class CausalFactorMade(CausalRootKept):
    """A number of float32 that multiplies, made in each call."""

    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores * torch.tensor(head_dim, dtype=torch.float32).rsqrt()


class CausalRootOfTokens(CausalRootKept):
    """Of another number."""

    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores / torch.tensor(scores.shape[-1], dtype=torch.float32).sqrt()


class CausalRootInBFloat16(CausalRootKept):
    """Which shows in float32, too."""

    def scaled(self, scores: Tensor, head_dim: int) -> Tensor:
        return scores / torch.tensor(head_dim, dtype=torch.bfloat16).sqrt().to(scores.dtype)


@pytest.mark.parametrize("module", [CausalRootKept, CausalRootInABuffer, CausalFactorMade])
def test_a_scale_that_is_kept_in_float32_is_told_once(module: type[nn.Module]) -> None:
    report = quick(subject(module))
    assert report.right, report.failed
    [edge] = [f for f in report.findings if "in float32" in f.name]
    assert (edge.kind, edge.name) == (
        "edge",
        "keeps its scale in float32, whatever the format of the input",
    )
    assert "float64" not in report.dtypes


@pytest.mark.parametrize("module", [CausalRootOfTokens, CausalRootInBFloat16])
def test_a_scale_in_float32_that_is_wrong_is_told_as_wrong(module: type[nn.Module]) -> None:
    report = quick(subject(module), only=["weights", "oracle"])
    assert SCALE in report.failed


def subject(module: type[nn.Module]) -> Subject:
    """The class as a subject."""
    return find_one(module, "causal")
