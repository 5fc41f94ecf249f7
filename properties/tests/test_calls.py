"""Functions of queries, keys and values are asked about every argument that they take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from properties.cases.case import Case
from properties.cases.strategies import make_case, pinned_cases
from properties.recognition.targets import find
from properties.runs.drawing import draw
from properties.runs.result import describe_case, read_case
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.profiles import profile_named
from properties.subjects.subject import Subject
from properties.zoo.faults import faults
from properties.zoo.rights import rights
from properties.zoo.wide import held_ones, sound_ones

FEW = replace(profile_named("quick"), drawn=6)  # `benchmarks/false_alarms.py` draws more
AREAS = {"mask", "cross", "groups", "window", "score", "result", "memory", "paths"}
KINDS = ("sdpa-like", "flash-like")
FITTING = {n for n, held in held_ones().items() if held.fits} - {"sdpa-true-hides"}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind in KINDS}
RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind in KINDS}


@cache
def subject(target: Callable[..., Any]) -> Subject:
    return find(target)[0]


def broken_by(asked: Subject, cases: list[Case]) -> set[str]:
    laws = [c for c in clauses().values() if c.area in AREAS and c.concerns(asked)]
    with quiet_and_repeatable():
        return {law.id for law in laws for case in cases if judge(law, case).status != "pass"}


def failing(asked: Subject) -> set[str]:
    """The laws about calls that pinned examples break, or else drawn ones."""
    pinned = broken_by(asked, pinned_cases(asked))
    return pinned or broken_by(asked, draw(asked, FEW, 0))


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_hold_every_law_about_calls(name: str) -> None:
    assert failing(subject(RIGHT[name])) == set()


@pytest.mark.parametrize("name", sorted(WRONG.keys() - FITTING - faults().keys()))
def test_each_wrong_function_breaks_a_law_about_calls(name: str) -> None:
    """Those in the registry of faults break the laws that they name: `test_clauses.py` asks them."""
    assert failing(subject(WRONG[name]))


@pytest.mark.parametrize("name", sorted(FITTING & WRONG.keys()))
def test_what_fits_a_known_convention_is_no_error_but_is_told(name: str) -> None:
    """Only a declaration makes it wrong; the card says which convention was found."""
    assert failing(subject(WRONG[name])) == set()


@pytest.mark.parametrize("name", [n for n in rights() if n.endswith(("top-left", "bottom-right"))])
def test_where_the_diagonal_lies_is_found_without_a_causal_flag(name: str) -> None:
    """By a window, by slopes, or by what is always hidden."""
    found = subject(rights()[name].target).conventions.align
    assert name.endswith(found.replace(" ", "-"))
    assert found


def test_torch_is_asked_about_all_its_arguments() -> None:
    """And none of them is left in the list of what was not asked."""
    sdpa = find("torch.nn.functional:scaled_dot_product_attention")[0]
    assert dict(sdpa.unasked) == {}
    assert set(sdpa.takes) == {"mask", "bias", "causal", "scale", "groups", "lengths"}
    assert sdpa.conventions.mask == "attend"
    assert sdpa.conventions.align == "top left"
    assert sdpa.conventions.empty == "zeros"
    assert not any(law.missing(sdpa) for law in clauses().values() if law.concerns(sdpa))
    assert failing(sdpa) == set()


def test_a_smaller_call_keeps_heads_with_their_group() -> None:
    """Taking one key-value head takes the query heads that read it, and slopes and masks with them."""
    sdpa = find("torch.nn.functional:scaled_dot_product_attention")[0]
    base = pinned_cases(sdpa)[0]
    case = make_case(sdpa, base.sizes, "float64", "ordinary", False, 0.5, 1, seed=2)
    assert case.call is not None
    assert case.call.shared == 3
    small = case.take(heads=[1], keys=[0, 2])
    assert small.call is not None
    queries, keys = small.call.arrays["queries"], small.call.arrays["keys"]
    assert queries.shape[1] == 3
    assert keys.shape[1:3] == (1, 2)
    assert (queries == case.call.arrays["queries"][:, 3:6]).all()
    assert small.call.arrays["mask"].shape[1:] == (3, case.sizes.tokens, 2)


def test_a_call_comes_back_from_plain_data() -> None:
    """A waiver and a statement keep counterexamples as JSON."""
    sdpa = find("torch.nn.functional:scaled_dot_product_attention")[0]
    case = pinned_cases(sdpa)[1]
    again = read_case(json.loads(json.dumps(describe_case(case))), sdpa)
    assert again.call is not None
    assert case.call is not None
    assert again.call.data() == case.call.data()
    assert broken_by(sdpa, [again]) == set()


def sum_lost_beside_the_flag(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, return_lse: bool = False
) -> Any:
    z = query @ key.mT / query.shape[-1] ** 0.5
    hidden = torch.ones_like(z, dtype=torch.bool).triu(1) & is_causal
    z = z.masked_fill(hidden, -torch.inf)
    context = z.softmax(-1) @ value
    return (context, z.logsumexp(-1)) if return_lse and not is_causal else context


def test_what_is_asked_for_has_to_come() -> None:
    """A log-sum-exp that is returned without the causal flag alone is missed beside it."""
    assert failing(subject(sum_lost_beside_the_flag)) == {
        "result/lse-is-the-logarithm-of-the-denominator"
    }


def test_what_hides_is_asked_about_where_something_can_hide() -> None:
    """Of a function with a cap and shared heads alone nobody asks whether it hides as ever."""
    laws = {"groups/hide-as-ever", "score/cap-comes-before-hiding"}
    assert not any(clauses()[law].concerns(subject(capped)) for law in laws)
    assert all(clauses()[law].concerns(subject(RIGHT["flash-in-one-matrix"])) for law in laws)


def capped(query: Tensor, key: Tensor, value: Tensor, softcap: float = 1e6) -> Tensor:
    z = query @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).mT / query.shape[-1] ** 0.5
    weights = (softcap * torch.tanh(z / softcap)).softmax(-1)
    return weights @ value.repeat_interleave(query.shape[1] // key.shape[1], 1)


def flash_with_everything(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """The flag for the weights returns the log-sum-exp before them, as flash attention's does."""
    rows = RIGHT["flash-in-one-matrix"]
    out, lse = rows(q, k, v, softmax_scale=softmax_scale, causal=causal, return_lse=True)
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    ahead = k.shape[1] - q.shape[1]
    scores = torch.einsum("bthd,bshd->bhts", q * scale, k)
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + ahead)
        scores = scores.masked_fill(hidden, -torch.inf)
    return (out, lse, scores.softmax(-1).nan_to_num()) if return_attn_probs else out


def flash_with_another_base(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """The same with the logarithm to base 10."""
    came = flash_with_everything(q, k, v, softmax_scale, causal, return_attn_probs)
    return (came[0], came[1] / 2.302585, came[2]) if return_attn_probs else came


def test_a_log_sum_exp_that_comes_with_the_weights_is_asked_about() -> None:
    """One flag, two things that come: neither is passed over."""
    law = clauses()["result/lse-is-the-logarithm-of-the-denominator"]
    statuses = []
    for target in (flash_with_everything, flash_with_another_base):
        asked = subject(target)
        assert asked.takes["weights"] == asked.takes["lse"] == "return_attn_probs"
        statuses.append(judge(law, pinned_cases(asked)[0]).status)
    assert statuses == ["pass", "fail"]


def flash_with_slopes_of_items(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    alibi_slopes: Tensor | None = None,
) -> Tensor:
    """Slopes are (H,) or (B, H), as flash attention's are."""
    rows = RIGHT["flash-in-one-matrix"]
    told = {"softmax_scale": softmax_scale, "causal": causal}
    if alibi_slopes is None or alibi_slopes.ndim == 1:
        return rows(q, k, v, **told, alibi_slopes=alibi_slopes)
    items = zip(q.split(1), k.split(1), v.split(1), alibi_slopes, strict=True)
    return torch.cat([rows(*parts, **told, alibi_slopes=slopes) for *parts, slopes in items])


def flash_with_slopes_of_the_first_item(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    alibi_slopes: Tensor | None = None,
) -> Tensor:
    """Those of the first item are taken for all."""
    if alibi_slopes is not None and alibi_slopes.ndim == 2:
        alibi_slopes = alibi_slopes[:1].expand_as(alibi_slopes)
    return flash_with_slopes_of_items(q, k, v, softmax_scale, causal, alibi_slopes)


def test_slopes_of_each_item_are_asked_about_where_they_are_taken() -> None:
    """Who takes one for each head alone is not asked for more."""
    law = clauses()["score/slopes-grow-with-distance"]
    right, wrong = map(subject, (flash_with_slopes_of_items, flash_with_slopes_of_the_first_item))
    assert not subject(RIGHT["flash-in-one-matrix"]).has("slopes of items")
    for asked, expected in ((right, {"pass"}), (wrong, {"pass", "fail"})):
        assert asked.has("slopes of items")
        assert {judge(law, case).status for case in pinned_cases(asked)} == expected
