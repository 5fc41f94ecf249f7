"""A number that is added to the scores of what is hidden: where nothing is seen, scores still count."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find
from properties.runs.result import Report
from properties.runs.runner import run

LAW = "mask/empty-row-is-answered-as-ever"
IN_FLOAT16 = "mask/empty-row-in-float16"


def scores(q: Tensor, k: Tensor) -> Tensor:
    """Scaled."""
    return q @ k.mT / math.sqrt(k.shape[-1])


def a_billion(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 hides."""
    logits = scores(q, k)
    if mask is not None:
        logits = logits + mask.to(logits) * -1e9
    return logits.softmax(-1) @ v


def ten_thousand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 attends."""
    logits = scores(q, k)
    if mask is not None:
        logits = logits + (1.0 - mask.to(logits)) * -10000.0
    return logits.softmax(-1) @ v


def least(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 attends."""
    logits = scores(q, k)
    if mask is not None:
        logits = logits + (1.0 - mask.to(logits)) * torch.finfo(logits.dtype).min
    return logits.softmax(-1) @ v


class OfAnEncoder(nn.Module):
    """A mask of pairs, 1 attends."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.o_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, T, T) -> (B, T, d_model)."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (f(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for f in layers)
        mask = None if attn_mask is None else attn_mask[:, None]
        output: Tensor = self.o_proj(ten_thousand(q, k, v, mask).transpose(1, 2).flatten(2))
        return output


def last_key_instead(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """True attends; where nothing is seen, the last key is."""
    if mask is None:
        return scores(q, k).softmax(-1) @ v
    weights = scores(q, k).masked_fill(~mask, -1e4).softmax(-1)
    last = torch.zeros_like(weights)
    last[..., -1] = 1.0
    return torch.where(mask.any(-1, keepdim=True), weights, last) @ v


def twice_as_much(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 attends; what sees nothing, as the scores have it, counts twice."""
    context = ten_thousand(q, k, v, mask)
    if mask is None:
        return context
    return torch.where(mask.bool().any(-1, keepdim=True), context, 2.0 * context)


def put_in_place(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """True attends; in float16 the number is minus infinity."""
    logits = scores(q, k)
    if mask is not None:
        logits = torch.where(mask, logits, torch.tensor(-1e30).to(logits))
    return logits.softmax(-1) @ v


def repaired_forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """True attends; what is NaN becomes zero, and its gradient does not."""
    logits = scores(q, k)
    if mask is not None:
        logits = logits + torch.zeros_like(logits).masked_fill(~mask, -torch.inf)
    return logits.softmax(-1).nan_to_num() @ v


masks = partial(run, profile="quick", only=["mask"])


def asked(target: Callable[..., Tensor] | type[nn.Module]) -> Report:
    """What its masks do."""
    (subject,) = find(target)
    return masks(subject)


@pytest.mark.parametrize("target", [a_billion, ten_thousand, least, OfAnEncoder])
def test_where_a_number_is_added_a_row_that_sees_nothing_may_be_any_mixture(
    target: Callable[..., Tensor],
) -> None:
    """As if it saw everything in float64, even in float16: a convention, found and told."""
    report = asked(target)
    assert report.conventions["empty"]["answer"] == "mixture"
    assert report.right


def test_a_row_that_float16_makes_nan_is_an_edge() -> None:
    """Minus a billion is minus infinity there, and so is the least number with less than nothing."""
    for target in (a_billion, least):
        report = asked(target)
        assert [f.clauses for f in report.findings if f.kind == "edge"] == [[IN_FLOAT16]]
        assert report.right


@pytest.mark.parametrize("target", [last_key_instead, twice_as_much])
def test_what_is_no_mixture_of_all_values_is_told(target: Callable[..., Tensor]) -> None:
    """One value alone, and more than there is."""
    report = asked(target)
    assert LAW in report.failed
    assert not report.right


def test_what_float16_makes_nan_has_no_gradient_to_be_held_against() -> None:
    """The row is told as an edge; a gradient that is NaN where the row is none is told as ever."""
    law = "mask/empty-row-has-no-bad-gradient"
    for target, failed in ((put_in_place, []), (repaired_forward, [law])):
        (subject,) = find(target)
        report = run(subject, profile="quick", only=[law], formats=["float16", "float32"])
        assert report.failed == failed
