"""A forward of x alone may take its tokens before its items, (T, B, C): where it says so, x is handed over
likewise. Where it does not, items that attend to each other are a fault.

Legend: B items, T tokens, H heads, D head_dim, C = H * D.
"""

from __future__ import annotations

import math

import pytest
from torch import Tensor, nn

from properties.findings.names import behaves_like
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found
from properties.tests.test_rotary import failing

ORACLE = "oracle/output-within-bound"
REAL = "mask/padding-shows-what-is-real"


class SequenceFirstAttention(nn.Module):
    """As in fairseq."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.out_proj = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """True in key_padding_mask (B, T) is padding."""
        seq_len, bsz, width = x.shape
        parts = self.qkv(x).view(seq_len, bsz, 3, self.num_heads, -1).permute(2, 1, 3, 0, 4)
        scores = parts[0] @ parts[1].mT / math.sqrt(width // self.num_heads)
        if key_padding_mask is not None:
            scores = scores.masked_fill(self.of_items(key_padding_mask), -math.inf)
        context = scores.softmax(-1) @ parts[2]
        output: Tensor = self.out_proj(context.permute(2, 0, 1, 3).reshape(seq_len, bsz, width))
        return output

    def of_items(self, mask: Tensor) -> Tensor:
        """(B, T) -> (B, 1, 1, T)."""
        return mask[:, None, None]


class PaddingOfTheNextItemAttention(SequenceFirstAttention):
    """Wrong."""

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """X (T, B, C)."""
        return super().forward(x, key_padding_mask)

    def of_items(self, mask: Tensor) -> Tensor:
        return mask.roll(1, 0)[:, None, None]


class SaysNothingAttention(SequenceFirstAttention):
    """Wrong, for all that is known."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def test_tokens_come_first_where_the_code_says_so() -> None:
    """Masks of items keep their axes."""
    subject = find_one(SequenceFirstAttention)
    assert subject.family == "encoder"
    assert "x is handed over as (T B C)" in subject.notes
    assert subject.conventions.padding == "hide"
    areas = ["shape", "heads", "oracle", "symmetry", "mask"]
    assert run(subject, profile="quick", only=areas).failed == []


def test_a_script_hands_them_over_likewise() -> None:
    """It fails on the wrong one alone."""
    told = found(PaddingOfTheNextItemAttention, REAL)
    assert raised(told, PaddingOfTheNextItemAttention)
    assert not raised(told, SequenceFirstAttention)


def test_items_that_attend_to_each_other_are_a_fault_where_nobody_says_so() -> None:
    names = behaves_like(ORACLE, failing(find_one(SaysNothingAttention), ORACLE)[0])
    assert [name.partition("; look for ")[0] for name in names] == [
        "attention over the batch, not the tokens"
    ]


@pytest.mark.parametrize("batch_first", [False, True])
def test_who_takes_an_order_of_axes_is_told_that_items_come_first(batch_first: bool) -> None:
    """By the argument batch_first."""

    class Attention(nn.MultiheadAttention):
        def __init__(self, embed_dim: int, num_heads: int, batch_first: bool = batch_first) -> None:
            super().__init__(embed_dim, num_heads, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            """X (T, B, C), or (B, T, C) with batch_first."""
            output: Tensor = super().forward(x, x, x, need_weights=False)[0]
            return output

    subject = find_one(Attention)
    assert not any("handed over" in note for note in subject.notes)
    assert run(subject, profile="quick", only=["oracle"]).failed == []


class DeafAttention(SequenceFirstAttention):
    """Wrong: told that items come first, it takes tokens first all the same."""

    def __init__(self, d_model: int, num_heads: int, batch_first: bool = False) -> None:
        super().__init__(d_model, num_heads)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """X (T, B, C)."""
        return super().forward(x)


def test_who_does_not_listen_to_batch_first_is_told_so() -> None:
    """Whatever its documentation says."""
    subject = find_one(DeafAttention)
    assert not any("handed over" in note for note in subject.notes)
    law = "causality/every-past-token-is-seen"
    assert law in run(subject, profile="quick", only=[law]).failed
