"""Functions in whatever order of axes are asked about what they may be told, not of their output alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.subject import Subject
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

MASK, PADDING = "mask/shows-what-it-shows", "mask/padding-shows-what-is-real"
KEYS, SEGMENTS = "cross/as-many-keys-as-there-are", "packed/a-segment-sees-itself-alone"
FORMULA = "oracle/output-within-bound"


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B * H, T, D); True is hidden in a mask (B * H, T, S)."""
    scores = torch.bmm(q, k.mT) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask, -torch.inf)
    return torch.bmm(scores.softmax(-1), v)


def folded_mask_is_lost(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """True is hidden, it says; what is filled is thrown away."""
    scores = torch.bmm(q, k.mT) * q.shape[-1] ** -0.5
    if mask is not None:
        scores.masked_fill(mask, -torch.inf)
    return torch.bmm(scores.softmax(-1), v)


def of_one_sequence(q: Tensor, k: Tensor, v: Tensor, segment_ids: Tensor | None = None) -> Tensor:
    """(T, H, D), keys of fewer heads; segments (T,)."""
    share = q.shape[1] // k.shape[1]
    k, v = (part.repeat_interleave(share, dim=1) for part in (k, v))
    return mixed(q, k, v, segment_ids)


def of_one_sequence_tiled(
    q: Tensor, k: Tensor, v: Tensor, segment_ids: Tensor | None = None
) -> Tensor:
    """Head h reads group h % G, and a segment sees those before it."""
    share = q.shape[1] // k.shape[1]
    k, v = (part.repeat(1, share, 1) for part in (k, v))
    return mixed(q, k, v, segment_ids, earlier=True)


def mixed(
    q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None, earlier: bool = False
) -> Tensor:
    """As many heads of keys as of queries."""
    scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
    if segments is not None:
        other = segments[:, None] < segments if earlier else segments[:, None] != segments
        scores = scores.masked_fill(other, -torch.inf)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)


def of_one_head(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """NumPy's, (T, D); a mask (T, S) shows where it is true."""
    scores = q @ k.T / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def of_one_head_filled_with_zero(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """A score of zero is one like any other."""
    scores = q @ k.T / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores * mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def tokens_first(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """(T, B, H, D); True attends."""
    scores = torch.einsum("tbhd,sbhd->bhts", q, k) * q.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return torch.einsum("bhts,sbhd->tbhd", scores.softmax(-1), v)


def tokens_first_one_mask(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """All items are masked like the first."""
    return tokens_first(q, k, v, attn_mask if attn_mask is None else attn_mask[:1])


def rows_of_tokens_first(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    key_padding_mask: Tensor | None = None,
) -> Tensor:
    """(T, B, H * D), as the function behind torch.nn.MultiheadAttention has it."""
    hidden = None if key_padding_mask is None else key_padding_mask[:, None, None]
    return padded(query, key, value, num_heads, hidden)


def rows_of_tokens_first_padded_by_heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    key_padding_mask: Tensor | None = None,
) -> Tensor:
    """Repeat for repeat_interleave: heads read the padding of other items."""
    hidden = None
    if key_padding_mask is not None:
        items, keys = key_padding_mask.shape
        hidden = key_padding_mask.repeat(num_heads, 1).view(items, num_heads, 1, keys)
    return padded(query, key, value, num_heads, hidden)


def padded(query: Tensor, key: Tensor, value: Tensor, heads: int, hidden: Tensor | None) -> Tensor:
    """hidden: broadcastable to (B, H, T, S)."""
    q, k, v = (part.unflatten(-1, (heads, -1)) for part in (query, key, value))
    return tokens_first(q, k, v, None if hidden is None else ~hidden).flatten(2)


def one_key_head(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, H, T, D) and twice (B, S, D); True attends."""
    scores = torch.einsum("bhtd,bsd->bhts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bhts,bsd->bhtd", scores.softmax(-1), v)


def one_key_head_masked_by_the_first(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """All heads are masked like the first."""
    return one_key_head(q, k, v, mask if mask is None else mask[:, :1])


PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[str]]] = {
    "B*H T D": (folded, folded_mask_is_lost, [MASK]),
    "T H D": (of_one_sequence, of_one_sequence_tiled, [KEYS, SEGMENTS]),
    "T D": (of_one_head, of_one_head_filled_with_zero, [MASK]),
    "T B H D": (tokens_first, tokens_first_one_mask, [MASK]),
    "B H T D": (rows_of_tokens_first, rows_of_tokens_first_padded_by_heads, [PADDING]),
    "B H T D and B S D": (one_key_head, one_key_head_masked_by_the_first, [MASK]),
}
"""By the order of axes: a right one, a wrong one, and the laws that this breaks."""


@pytest.mark.parametrize("layout", PAIRS)
def test_a_function_in_any_layout_is_asked_what_it_may_be_told(layout: str) -> None:
    right, wrong, laws = PAIRS[layout]
    subject = find_one(right)
    assert (subject.layout, dict(subject.unasked)) == (layout, {})
    assert fails(subject, [FORMULA, KEYS, *laws]) == []
    assert fails(find_one(wrong), laws) == laws


def fails(subject: Subject, laws: list[str]) -> list[str]:
    """Those of the laws that do not hold; all are asked."""
    report = run(subject, profile="quick", only=laws)
    assert set(laws) <= {r.clause for r in report.results if r.status in ("pass", "fail")}
    return [law for law in laws if law in report.failed]


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, H, T, D); True attends."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return mixed_by(scores if mask is None else scores.masked_fill(~mask, -torch.inf), v)


def mixed_by(scores: Tensor, v: Tensor) -> Tensor:
    """Scores (B, H, T, S)."""
    return scores.softmax(-1) @ v


def masked_causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The future is seen, whatever its name says."""
    return masked_attention(q, k, v, mask)


def test_a_function_that_is_called_masked_and_told_a_mask_is_not_taken_for_causal() -> None:
    assert find_one(masked_attention).family == "self"
    assert find_one(masked_causal_attention).family == "multihead"


@pytest.mark.parametrize("layout", ["B*H T D", "T H D", "T B H D", "B H T D and B S D"])
def test_scripts_hand_such_functions_what_they_take(layout: str) -> None:
    """They fail on the wrong one, and pass on the right one."""
    right, wrong, [law, *_] = PAIRS[layout]
    told = found(wrong, law)
    assert raised(told, wrong)
    assert not raised(told, right)
