"""What a function requires besides queries, keys and values is handed over where a call does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.targets import find_one
from properties.runs.result import Status
from properties.runs.runner import run

ASKED = [
    "oracle/output-within-bound",
    "mask/shows-what-it-shows",
    "heads/split-equals-per-head-matmul",
]
DROPPED = ["dropout/independent-over-calls", "dropout/reproducible-under-manual-seed"]


def shown_by_ones(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """As in the annotated transformer, with a mask always."""
    scores = query @ key.mT / math.sqrt(query.size(-1))
    scores = scores.masked_fill(mask == 0, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value


def hidden_by_ones(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, sm_scale: float
) -> tuple[Tensor, Tensor]:
    """Tokens before heads, and the weights as well."""
    scores = torch.einsum("bthd,bshd->bhts", q, k) * sm_scale
    weights = scores.masked_fill(mask.bool(), -torch.inf).softmax(-1).nan_to_num()
    return torch.einsum("bhts,bshd->bthd", weights, v), weights


def large_numbers_added(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """One for what is hidden: of zeros alone, nothing is lost in rounding."""
    scores = query @ key.mT / math.sqrt(query.size(-1)) + mask.to(query.dtype) * -10000.0
    return scores.softmax(-1) @ value


def shown_for_other_heads(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Heads of values in another order."""
    return shown_by_ones(query, key, value.flip(1), mask)


def ignored(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """The mask has no effect."""
    return shown_by_ones(query, key, value, torch.ones_like(mask))


def half_a_scale(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, sm_scale: float) -> Any:
    """Of the scale that it is told."""
    return hidden_by_ones(q, k, v, mask, sm_scale / 2)


@pytest.mark.parametrize(
    ("function", "note"),
    [
        (shown_by_ones, "mask is one of True (T, S) where no mask is asked about"),
        (hidden_by_ones, "mask is one of False (T, S) where no mask is asked about"),
        (large_numbers_added, "mask is one of False (T, S) where no mask is asked about"),
    ],
)
def test_a_mask_that_is_required_hides_nothing_and_is_asked_about(
    function: Callable[..., Any], note: str
) -> None:
    subject = find_one(function)
    assert note in subject.notes
    report = run(subject, profile="quick", only=ASKED)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []
    assert "mask" in subject.takes


def test_a_scale_that_is_required_is_that_of_the_formula_and_asked_about() -> None:
    subject = find_one(hidden_by_ones)
    assert "sm_scale is 1/sqrt(D) where no scale is asked about" in subject.notes
    assert subject.takes["scale"] == "sm_scale"


@pytest.mark.parametrize("function", [shown_for_other_heads, ignored, half_a_scale])
def test_what_is_wrong_beside_such_an_argument_is_told(function: Callable[..., Any]) -> None:
    assert run(find_one(function), profile="quick", only=ASKED).failed


def dropped_by_seed(
    q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, seed: int = 0
) -> Tensor:
    """As kernels draw: the pattern follows from a number that is handed over."""
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    if dropout_p > 0:
        drawn = torch.rand(weights.shape, generator=torch.Generator().manual_seed(seed))
        weights = torch.where(drawn < dropout_p, 0, weights / (1 - dropout_p))
    return weights @ v


def dropped_by_one_seed(
    q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, seed: int = 0
) -> Tensor:
    """The same pattern for every seed."""
    return dropped_by_seed(q, k, v, dropout_p, 7)


def test_a_seed_that_is_taken_is_another_one_in_each_call() -> None:
    subject = find_one(dropped_by_seed)
    assert "seed is drawn anew for each call with dropout" in subject.notes
    assert run(subject, profile="quick", only=DROPPED).failed == []


def test_a_seed_that_has_no_effect_is_told() -> None:
    assert run(find_one(dropped_by_one_seed), profile="quick", only=DROPPED).failed


def without_a_batch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(T, H, D) -> (T, H, D)."""
    width = query.shape[-1]
    scores = torch.einsum("thd,shd->hts", query, key) / math.sqrt(width)
    return torch.einsum("hts,shd->thd", scores.softmax(-1), value)


def without_a_batch_scaled_by_heads(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Divided by the root of another axis."""
    _, heads, width = query.shape
    return without_a_batch(query * math.sqrt(width / heads), key, value)


def of_one_head_with_weights(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """(T, D) -> (T, D), and the weights."""
    assert q.dim() == 2
    weights = (q @ k.T / math.sqrt(q.shape[1])).softmax(dim=1)
    return weights @ v, weights


def with_weights_and_logarithm(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Both come always."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    weights = scores.softmax(-1)
    return weights @ v, weights, scores.logsumexp(-1)


def with_those_before_the_mask(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The output is right."""
    return with_weights_and_logarithm(q, k, v, is_causal)[0], *with_weights_and_logarithm(q, k, v)[
        1:
    ]


def with_scores(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """What comes second is no weight."""
    return with_weights_and_logarithm(q, k, v)[0], q @ k.mT


def alone_in_a_tuple(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
    """Nothing is beside the output."""
    return with_weights_and_logarithm(q, k, v)[0], None


def test_weights_and_logarithms_that_always_come_are_asked_about() -> None:
    asked = ["result"]
    subject = find_one(with_weights_and_logarithm)
    assert {"weights": "", "lse": ""}.items() <= subject.takes.items()
    assert run(subject, profile="quick", only=asked).failed == []
    assert len(run(find_one(with_those_before_the_mask), profile="quick", only=asked).failed) > 1


def test_what_else_comes_beside_the_output_is_told_as_not_asked() -> None:
    assert "further results" in find_one(with_scores).unasked
    assert "further results" not in find_one(alone_in_a_tuple).unasked


@pytest.mark.parametrize("function", [without_a_batch, of_one_head_with_weights])
def test_a_function_without_a_batch_is_asked_item_by_item(function: Callable[..., Any]) -> None:
    assert run(find_one(function), profile="quick", only=[ASKED[0], ASKED[2]]).failed == []


def test_a_wrong_function_without_a_batch_is_told() -> None:
    told = run(find_one(without_a_batch_scaled_by_heads), profile="quick", only=ASKED)
    assert told.failed


class Kept:
    """An object that keeps a scale, and is called like a function."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        scale = self.scale * q.shape[-1] ** -0.5
        return scaled_dot_product_attention(q, k, v, is_causal=is_causal, scale=scale)


def test_an_object_that_takes_queries_keys_and_values_is_a_function_of_them() -> None:
    """As what a compiler makes of one is."""
    assert run(find_one(Kept(1.0)), profile="quick", only=ASKED[:1]).failed == []
    assert run(find_one(Kept(1.5)), profile="quick", only=ASKED[:1]).failed


def documents_of_one_start(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor) -> Tensor:
    """(N, H, D), and queries have as many keys as there are of them."""
    found = []
    for start, end in itertools.pairwise(cu_seqlens.tolist()):
        parts = (part[start:end].transpose(0, 1) for part in (q, k, v))
        found.append(scaled_dot_product_attention(*parts).transpose(0, 1))
    return torch.cat(found)


def documents_that_see_the_one_before(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor
) -> Tensor:
    """Every second start is left out."""
    return documents_of_one_start(q, k, v, torch.cat([cu_seqlens[:-1:2], cu_seqlens[-1:]]))


def test_documents_with_one_set_of_starts_have_as_many_keys_as_queries() -> None:
    law = ["packed/each-document-by-the-formula"]
    subject = find_one(documents_of_one_start)
    assert "lengths" not in subject.takes
    assert run(subject, profile="quick", only=law).failed == []
    assert run(find_one(documents_that_see_the_one_before), profile="quick", only=law).failed == law


@pytest.mark.parametrize("function", [ignored, half_a_scale, dropped_by_one_seed])
def test_a_script_hands_over_what_is_required(function: Callable[..., Any]) -> None:
    subject = find_one(f"{function.__module__}:{function.__name__}")
    report = run(subject, profile="quick", seed=0, scripts=True)
    failed = [r for r in report.results if r.status is Status.FAIL and r.level == "MUST"]
    assert failed
    assert all("Required(Attention" in result.script for result in failed)
