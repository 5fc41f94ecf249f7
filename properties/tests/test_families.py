"""A family is what a class is meant to be; a fault, or a number too large, does not move it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties import Subject
from properties.recognition.adapters.families import says_causal
from properties.recognition.targets import find
from properties.runs.runner import Run
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES


class Base(nn.Module):
    """One head; `hide` is each class's own."""

    size = 1.0

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query, self.W_key, self.W_value = (
            nn.Parameter(self.size * torch.randn(d_in, d_out)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = x @ self.W_query, x @ self.W_key, x @ self.W_value
        scores = queries @ keys.mT / keys.shape[-1] ** 0.5
        return self.hide(scores).softmax(-1) @ values

    def hide(self, scores: Tensor) -> Tensor:
        return scores


def masked(scores: Tensor, first: int) -> Tensor:
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(first)
    return scores.masked_fill(future, -torch.inf)


def near_sighted(scores: Tensor) -> Tensor:
    hidden = torch.zeros_like(scores, dtype=torch.bool)
    hidden[..., 0, 2:] = True
    return scores.masked_fill(hidden, -torch.inf)


class SelfAttention(Base):
    """Nothing hidden."""


class SaturatedAttention(Base):
    """Scores so large that a softmax gives all to one key."""

    size = 30.0


class OverflowingAttention(Base):
    """NaN for the last token."""

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        return torch.cat([output[..., :-1, :], output[..., -1:, :] * torch.nan], dim=-2)


class NearSightedAttention(Base):
    """Some of the future is hidden, and no name says why."""

    def hide(self, scores: Tensor) -> Tensor:
        return near_sighted(scores)


class UnnamedAttention(Base):
    """The future hidden, whatever it is called."""

    def hide(self, scores: Tensor) -> Tensor:
        return masked(scores, 1)


class InlineAttention(Base):
    """Lets each token see the next one; its code says what is meant."""

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = x @ self.W_query, x @ self.W_key, x @ self.W_value
        scores = queries @ keys.mT / keys.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(2)
        return scores.masked_fill(future, -torch.inf).softmax(-1) @ values


class InlineDiscardingAttention(Base):
    """Makes a mask and throws the result away."""

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = x @ self.W_query, x @ self.W_key, x @ self.W_value
        scores = queries @ keys.mT / keys.shape[-1] ** 0.5
        scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
        return scores.softmax(-1) @ values


class CasualAttention(Base):
    """Two letters exchanged, and the mask thrown away."""

    def hide(self, scores: Tensor) -> Tensor:
        masked(scores, 1)
        return scores


class CausalLeakingAttention(Base):
    """Sees one token ahead."""

    def hide(self, scores: Tensor) -> Tensor:
        return masked(scores, 2)


class SwitchedAttention(Base):
    """May hide the future, and does not unless it is told."""

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        queries, keys, values = x @ self.W_query, x @ self.W_key, x @ self.W_value
        scores = queries @ keys.mT / keys.shape[-1] ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
        return scores.softmax(-1) @ values


class Heads(nn.Module):
    """Heads that split the width; `hide` is each class's own."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = self.hide(queries @ keys.mT / keys.shape[-1] ** 0.5).softmax(-1)
        output: Tensor = self.out_proj((weights @ values).transpose(1, 2).flatten(2))
        return output

    def hide(self, scores: Tensor) -> Tensor:
        return scores


class MultiHeadAttention(Heads):
    """Nothing hidden, and nothing says that anything should be."""


class CausalMultiHeadAttention(Heads):
    """The mask is missing."""


class UnnamedMultiHeadAttention(Heads):
    """The future hidden, whatever it is called."""

    def hide(self, scores: Tensor) -> Tensor:
        return masked(scores, 1)


class NearSightedMultiHeadAttention(Heads):
    """Some of the future is hidden, and no name says why."""

    def hide(self, scores: Tensor) -> Tensor:
        return near_sighted(scores)


class BlockedMultiHeadAttention(Heads):
    """Keeps a mask and does not use it."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.register_buffer("mask", torch.ones(128, 128).tril())


class SwitchedMultiHeadAttention(Heads):
    """Its constructor is told whether the future is hidden, and forgets it."""

    def __init__(self, d_model: int, num_heads: int, is_causal: bool = False) -> None:
        super().__init__(d_model, num_heads)


def attention_of_the_past(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """A function that makes a mask and loses it."""
    scores = query @ key.mT / key.shape[-1] ** 0.5
    scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
    return scores.softmax(-1) @ value


def subject(target: Callable[..., Any], family: str | None = None) -> Subject:
    [found] = find(target, family)
    return found


@pytest.mark.parametrize(
    ("target", "family", "why"),
    [
        (SelfAttention, "self", ""),
        (SaturatedAttention, "self", ""),
        (OverflowingAttention, "self", ""),
        (NearSightedAttention, "self", "some of the future is seen, and nothing says"),
        (UnnamedAttention, "causal", ""),
        (InlineAttention, "causal", "its code calls triu"),
        (InlineDiscardingAttention, "causal", "its code calls triu"),
        (
            CasualAttention,
            "causal",
            "it is called CasualAttention, though all of the future is seen",
        ),
        (CausalLeakingAttention, "causal", "though some of the future is seen"),
        (SwitchedAttention, "self", ""),
        (MultiHeadAttention, "encoder", ""),
        (CausalMultiHeadAttention, "multihead", "--family encoder asks for the other"),
        (UnnamedMultiHeadAttention, "multihead", ""),
        (NearSightedMultiHeadAttention, "encoder", "--family multihead asks for the other"),
        (BlockedMultiHeadAttention, "multihead", "it keeps a mask"),
        (SwitchedMultiHeadAttention, "multihead", "it is told is_causal"),
        (attention_of_the_past, "multihead", "its code calls triu"),
    ],
)
def test_what_is_meant_counts_before_what_is_seen(
    target: Callable[..., Any], family: str, why: str
) -> None:
    """And where they do not agree a note says which was taken, and why."""
    found = subject(target)
    assert found.family == family
    doubts = [note for note in found.notes if note.startswith("taken as")]
    assert bool(doubts) == bool(why)
    assert why in "".join(doubts)


def test_the_option_decides_without_a_remark() -> None:
    """Whoever names the family has no doubt."""
    found = subject(CasualAttention, "self")
    assert found.family == "self"
    assert not any("taken as" in note for note in found.notes)


def test_an_encoder_that_is_asked_as_multihead_sees_the_future() -> None:
    """The option says what is meant; then what is seen is a fault, and without it there is none."""
    law = [clauses()["causality/future-does-not-change-past"]]
    profile = PROFILES["quick"]
    accused = Run(subject(MultiHeadAttention, "multihead"), law, profile, 0).report().results
    assert [result.status for result in accused] == ["fail"]
    assert not law[0].concerns(subject(MultiHeadAttention))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CausalAttention", True),
        ("CasualAttention", True),
        ("CauslaSelfAttention", True),
        ("CausualAttn", True),
        ("causel_attention", True),
        ("CaualAttention", True),
        ("Attention_casual", True),
        ("MaskedAttention", True),
        ("NonCausalAttention", False),
        ("non_causal_attention", False),
        ("noncausal_attention", False),
        ("AcausalAttention", False),
        ("ClauseAttention", False),
        ("CasuallyNamed", False),
        ("SelfAttention", False),
    ],
)
def test_a_misspelt_causal_is_causal(name: str, said: bool) -> None:
    """One letter lost, added or changed, or two exchanged; as a word of the name."""
    assert says_causal(name) is said


class LengthMaskedAttention(nn.Module):
    """It is called masked by the lengths that it is given. A step is a method."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.out_proj = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind()
        scores = self.hide(queries @ keys.mT * queries.shape[-1] ** -0.5)
        if lengths is not None:
            hidden = torch.arange(x.shape[1]) >= lengths[:, None, None, None]
            scores = scores.masked_fill(hidden, -torch.inf)
        return self.out_proj((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))

    def hide(self, scores: Tensor) -> Tensor:
        return scores


class CausalLengthMaskedAttention(LengthMaskedAttention):
    """Its name says that it hides the future, and it does not."""


class UnusedTriangleMaskedAttention(LengthMaskedAttention):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        future = torch.ones(x.shape[1], x.shape[1]).triu(1)
        return super().forward(x + 0.0 * future.sum(), lengths)


def test_what_is_called_masked_by_its_lengths_need_not_hide_the_future() -> None:
    assert find(LengthMaskedAttention)[0].family == "encoder"


@pytest.mark.parametrize("kind", [CausalLengthMaskedAttention, UnusedTriangleMaskedAttention])
def test_beside_lengths_what_is_meant_to_be_causal_stays_so(kind: type[nn.Module]) -> None:
    assert find(kind)[0].family == "multihead"
