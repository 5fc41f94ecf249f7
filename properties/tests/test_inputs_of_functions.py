"""Functions that are handed their queries, keys and values in another form than three tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as dropped
from torch.nn.functional import scaled_dot_product_attention

from attention import MultiHeadAttention
from properties.basics.errors import QuestionError
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_axes_of_functions import fails
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

CAUSAL, KEYS = "causality/future-does-not-change-past", "cross/as-many-keys-as-there-are"
FORMULA, SCALE = "oracle/output-within-bound", "score/scale-is-used-once"
BIAS, WEIGHTS = "mask/bias-is-added-to-the-scores", "result/weights-are-those-used"
WINDOW, SEGMENTS = "window/exactly-these-keys", "packed/a-segment-sees-itself-alone"


def all_in_one(qkv: Tensor, softmax_scale: float | None = None, causal: bool = False) -> Tensor:
    """(B, T, 3, H, D) -> (B, T, H, D)."""
    q, k, v = qkv.transpose(1, 3).unbind(2)
    mixed = scaled_dot_product_attention(q, k, v, is_causal=causal, scale=softmax_scale)
    return mixed.transpose(1, 2)


def all_in_one_keys_for_values(
    qkv: Tensor, softmax_scale: float | None = None, causal: bool = False
) -> Tensor:
    """The second part is taken twice."""
    return all_in_one(qkv[:, :, [0, 1, 1]], softmax_scale, causal)


def heads_before_tokens(qkv: Tensor, is_causal: bool = False) -> Tensor:
    """(B, 3, H, T, D) -> (B, H, T, D)."""
    return scaled_dot_product_attention(*qkv.unbind(1), is_causal=is_causal)


def heads_before_tokens_without_a_scale(qkv: Tensor, is_causal: bool = False) -> Tensor:
    """Scores are not divided."""
    return scaled_dot_product_attention(*qkv.unbind(1), is_causal=is_causal, scale=1.0)


def keys_with_values(q: Tensor, kv: Tensor) -> Tensor:
    """(B, T, H, D) and (B, S, 2, G, D) -> (B, T, H, D)."""
    k, v = kv.transpose(1, 3).unbind(2)
    mixed = scaled_dot_product_attention(q.transpose(1, 2), k, v, enable_gqa=True)
    return mixed.transpose(1, 2)


def keys_with_values_cut_to_the_queries(q: Tensor, kv: Tensor) -> Tensor:
    """Of the context what lies beyond the length of x is not read."""
    return keys_with_values(q, kv[:, : q.shape[1]])


def of_a_module(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """(B, H, T, D), keys of fewer heads -> (B, T, H, D), and the weights."""
    key, value = (p.repeat_interleave(module.num_key_value_groups, 1) for p in (key, value))
    scores = query @ key.mT * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = dropped(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def of_a_module_mask_of_the_first_item(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """All items get the numbers of the first one."""
    first = None if attention_mask is None else attention_mask[:1]
    return of_a_module(module, query, key, value, first, scaling, dropout)


def softmax(row: list[float]) -> list[float]:
    """Of numbers."""
    exponentials = [math.exp(score - max(row)) for score in row]
    return [one / sum(exponentials) for one in exponentials]


def rows(queries: list[list[float]], keys: list[list[float]]) -> list[list[float]]:
    """The scores."""
    root = math.sqrt(len(queries[0]))
    return [[sum(map(float.__mul__, q, k)) / root for k in keys] for q in queries]


def mix(weights: list[list[float]], values: list[list[float]]) -> list[list[float]]:
    """The context."""
    return [
        [sum(map(float.__mul__, row, column)) for column in zip(*values, strict=True)]
        for row in weights
    ]


def of_numbers(
    queries: list[list[float]], keys: list[list[float]], values: list[list[float]]
) -> list[list[float]]:
    """Lists of rows."""
    return mix([softmax(row) for row in rows(queries, keys)], values)


def of_numbers_over_queries(
    queries: list[list[float]], keys: list[list[float]], values: list[list[float]]
) -> list[list[float]]:
    """Columns sum to one, not rows."""
    columns = [softmax(list(column)) for column in zip(*rows(queries, keys), strict=True)]
    return mix([list(row) for row in zip(*columns, strict=True)], values)


def in_a_window(q: Tensor, k: Tensor, v: Tensor, window_size: int) -> Tensor:
    """The past, oneself among so many tokens; the window has to be told."""
    place = torch.arange(q.shape[2])
    away = place[:, None] - place
    return scaled_dot_product_attention(q, k, v, (away >= 0) & (away < window_size))


def in_a_window_that_starts_late(q: Tensor, k: Tensor, v: Tensor, window_size: int) -> Tensor:
    """The first token is in every window."""
    place = torch.arange(q.shape[2])
    away = place[:, None] - place
    seen = (away >= 0) & ((away < window_size) | (place == 0))
    return scaled_dot_product_attention(q, k, v, seen)


def of_segments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_segment_ids: Tensor | None = None,
    kv_segment_ids: Tensor | None = None,
) -> Tensor:
    """(B, H, T, D); both or neither are told."""
    if q_segment_ids is None or kv_segment_ids is None:
        return scaled_dot_product_attention(q, k, v)
    seen = q_segment_ids[:, None, :, None] == kv_segment_ids[:, None, None]
    return scaled_dot_product_attention(q, k, v, seen)


def of_segments_of_the_first_item(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_segment_ids: Tensor | None = None,
    kv_segment_ids: Tensor | None = None,
) -> Tensor:
    """All items are cut where the first one is."""
    if q_segment_ids is None or kv_segment_ids is None:
        return scaled_dot_product_attention(q, k, v)
    return of_segments(q, k, v, q_segment_ids[:1], kv_segment_ids[:1])


PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[str]]] = {
    "in one tensor": (all_in_one, all_in_one_keys_for_values, [FORMULA]),
    "heads first": (heads_before_tokens, heads_before_tokens_without_a_scale, [FORMULA]),
    "keys with values": (keys_with_values, keys_with_values_cut_to_the_queries, [KEYS]),
    "a module first": (of_a_module, of_a_module_mask_of_the_first_item, [BIAS]),
    "numbers": (of_numbers, of_numbers_over_queries, [FORMULA, KEYS]),
    "a required window": (in_a_window, in_a_window_that_starts_late, [WINDOW]),
    "segments twice": (of_segments, of_segments_of_the_first_item, [SEGMENTS]),
}
"""A right one, a wrong one, and laws of which this breaks one, or one that has to hold before."""


@pytest.mark.parametrize("form", PAIRS)
def test_a_function_in_such_a_form_is_asked(form: str) -> None:
    right, wrong, laws = PAIRS[form]
    subject = find_one(right)
    assert dict(subject.unasked) == {}
    assert fails(subject, [FORMULA, *(law for law in laws if law != FORMULA)]) == []
    assert run(find_one(wrong), profile="quick", only=laws).failed


def test_a_module_before_the_queries_is_in_training_where_weights_are_dropped() -> None:
    subject = find_one(of_a_module)
    assert {"dropout", "dropout of calls"} <= subject.capabilities
    assert run(subject, profile="quick", only=["argument/dropout-has-effect"]).failed == []


@pytest.mark.parametrize("form", ["keys with values", "a module first", "numbers"])
def test_scripts_hand_over_the_same_form(form: str) -> None:
    """They fail on the wrong one, and pass on the right one."""
    right, wrong, [law, *_] = PAIRS[form]
    told = found(wrong, law)
    assert raised(told, wrong)
    assert not raised(told, right)


def paged(
    query: Tensor, key_cache: Tensor, value_cache: Tensor, block_tables: Tensor, scale: float = 1.0
) -> Tensor:
    """As servers decode."""
    return scaled_dot_product_attention(query, key_cache, value_cache, scale=scale)


def of_a_head(qkv: Tensor, num_heads: int) -> Tensor:
    """(B, T, 3 * H * D), which nobody asks."""
    q, k, v = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("function", "needed"),
    [
        (paged, "query, key_cache, value_cache, block_tables"),
        (of_a_head, "qkv, num_heads"),
    ],
)
def test_tensors_that_cannot_be_made_are_named_and_taken_for_no_settings(
    function: Callable[..., Any], needed: str
) -> None:
    with pytest.raises(QuestionError) as refused:
        find_one(function)
    text = str(refused.value)
    assert text.startswith(f"{function.__name__} requires {needed}: ")
    assert f"return {function.__name__}(" in text
    assert "reads" not in text
    assert "no known meaning" not in text


def make_attention(
    qkv_bias: bool, d_model: int = 4, num_heads: int = 2, context_length: int = 8
) -> nn.Module:
    """A factory: its first argument is called like a bias."""
    return MultiHeadAttention(d_model, d_model, context_length, 0.0, num_heads, qkv_bias)


def make_of_heads(q_heads: int, d_model: int = 4, context_length: int = 8) -> nn.Module:
    """Another: its first argument is called like queries."""
    return MultiHeadAttention(d_model, d_model, context_length, 0.0, q_heads)


@pytest.mark.parametrize("factory", [make_attention, make_of_heads])
def test_a_factory_whose_argument_begins_like_queries_stays_one(
    factory: Callable[..., nn.Module],
) -> None:
    assert find_one(factory).family == "multihead"


def with_heads_side_by_side(qkv: Tensor) -> Tensor:
    """(B, T, 3, H, D) -> (B, T, H * D)."""
    return all_in_one(qkv).flatten(2)


def of_places_alone(qkv: Tensor, mask: Tensor | None = None, /) -> Tensor:
    """Nothing is told by its name."""
    return all_in_one(qkv)


def of_one_key_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, H, T, D), (B, S, D) twice -> (B, H, T, D)."""
    return scaled_dot_product_attention(q, k[:, None], v[:, None])


def with_its_scale(module: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, H, T, D) three times -> (B, T, H, D); the module says by what scores are multiplied."""
    output = scaled_dot_product_attention(query, key, value, scale=module.scaling)
    return output.transpose(1, 2)


@pytest.mark.parametrize(
    "function", [with_heads_side_by_side, of_one_key_head, with_its_scale], ids=lambda f: f.__name__
)
def test_a_right_function_of_such_a_form_holds_its_laws(function: Callable[..., Any]) -> None:
    """An empty batch among them."""
    report = run(find_one(function), profile="quick", only=["oracle", "shape"])
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


def test_a_function_of_places_alone_is_refused_and_no_error_of_ours() -> None:
    with pytest.raises(QuestionError, match="What to do"):
        find_one(of_places_alone)
