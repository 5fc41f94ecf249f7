"""Where a module is built to hide the future, a mask may take the place of that: the caller hides it then.

Legend: B items, T tokens, H heads, D head_dim, E = H * D.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.targets import find_one
from properties.runs.runner import run

LAWS = ["mask", "causality", "paths", "memory"]
FUTURE = "causality/future-does-not-change-past"
REAL = "mask/padding-shows-what-is-real"
SHOWN = "mask/shows-what-it-shows"


class FlagOrMask(nn.Module):
    """torch's function takes one of both: the mask, where there is one."""

    diagonal = 0

    def __init__(self, d_model: int, num_heads: int, is_causal: bool = False) -> None:
        super().__init__()
        self.num_heads, self.is_causal = num_heads, is_causal
        self.q_proj, self.k_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.v_proj, self.o_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, E), (B, 1, T, T) of which True attends -> (B, T, E)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        context = scaled_dot_product_attention(q, k, v, self.seen(attention_mask, x.shape[1]))
        output: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return output

    def seen(self, mask: Tensor | None, tokens: int) -> Tensor | None:
        """(T, T), or what the caller says."""
        if mask is not None:
            return mask
        past = torch.ones(tokens, tokens, dtype=torch.bool).tril(self.diagonal)
        return past if self.is_causal else None


class AlwaysOrMask(FlagOrMask):
    """Nothing says so."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads, is_causal=True)


class OfKeysAlone(FlagOrMask):
    """Wrong: by a mask of keys, (B, T), nobody can hide the future, and it is shown."""

    def seen(self, mask: Tensor | None, tokens: int) -> Tensor | None:
        return super().seen(None if mask is None else mask[:, None, None, :], tokens)


class OneLate(FlagOrMask):
    """Wrong: without a mask the next token is seen."""

    diagonal = 1


class MaskOfTheFirstItem(FlagOrMask):
    """Wrong: every item has the mask of the first."""

    def seen(self, mask: Tensor | None, tokens: int) -> Tensor | None:
        return super().seen(None if mask is None else mask[:1], tokens)


class BothHide(FlagOrMask):
    """The future is hidden beside a mask, too."""

    def seen(self, mask: Tensor | None, tokens: int) -> Tensor | None:
        past = super().seen(None, tokens)
        return past if mask is None else mask if past is None else mask & past


@pytest.mark.parametrize("target", [FlagOrMask, AlwaysOrMask])
def test_a_mask_in_place_of_hiding_the_future_is_told_and_accuses_nobody(
    target: type[nn.Module],
) -> None:
    asked = find_one(target)
    assert asked.family == "multihead"
    note = "attention_mask takes the place of hiding the future, which is hidden without"
    assert note in asked.notes
    assert run(asked, profile="quick", only=LAWS).failed == []


def test_a_module_in_which_both_hide_is_held_to_both() -> None:
    asked = find_one(BothHide)
    assert not asked.has("mask in place of the future")
    assert run(asked, profile="quick", only=LAWS).failed == []


@pytest.mark.parametrize(
    ("target", "law"),
    [(OneLate, FUTURE), (MaskOfTheFirstItem, SHOWN), (OfKeysAlone, REAL)],
)
def test_what_is_wrong_beside_either_is_told(target: type[nn.Module], law: str) -> None:
    assert run(find_one(target), profile="quick", only=[law]).failed == [law]
