"""A flag by which a module of tokens returns its weights, too, is asked about, whatever they come in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.findings.names import behaves_like
from properties.recognition.targets import find
from properties.spec.clauses.result import WEIGHTS
from properties.subjects.card import conventions_of
from properties.tests.test_rotary import failing


class InATuple(nn.Module):
    """Always a tuple, of one thing or two."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(
        self, x: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> Any:
        """attention_mask: (B, T, T), True attends."""
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if attention_mask is not None:
            scores = self.masked(scores, attention_mask[:, None], output_attentions)
        weights = scores.softmax(dim=-1)
        output = self.o_proj((weights @ v).transpose(1, 2).flatten(2))
        return self.given(output, weights, output_attentions)

    def masked(self, scores: Tensor, mask: Tensor, wanted: bool) -> Tensor:
        return scores.masked_fill(~mask, -torch.inf)

    def given(self, output: Tensor, weights: Tensor, wanted: bool) -> Any:
        return (output, weights) if wanted else (output,)


class OrNone(InATuple):
    """None where they are not wanted."""

    def given(self, output: Tensor, weights: Tensor, wanted: bool) -> Any:
        return output, weights.mean(dim=1) if wanted else None


class OrAlone(InATuple):
    """A tensor, or a list of two."""

    def given(self, output: Tensor, weights: Tensor, wanted: bool) -> Any:
        return [output, weights] if wanted else output


class NeverGiven(InATuple):
    """The flag is there for others, and does nothing."""

    def given(self, output: Tensor, weights: Tensor, wanted: bool) -> Any:
        return output


class MaskLostWhereWanted(InATuple):
    """Another branch makes the output where weights are wanted."""

    def masked(self, scores: Tensor, mask: Tensor, wanted: bool) -> Tensor:
        return scores if wanted else super().masked(scores, mask, wanted)


class NextHeads(InATuple):
    """The weights of the next head."""

    def given(self, output: Tensor, weights: Tensor, wanted: bool) -> Any:
        return super().given(output, weights.roll(1, dims=1), wanted)


@pytest.mark.parametrize(
    ("module", "kind"), [(InATuple, "per head"), (OrNone, "averaged"), (OrAlone, "per head")]
)
def test_weights_that_come_are_asked_for(module: type[nn.Module], kind: str) -> None:
    """As a convention: for each head, or their mean."""
    subject = find(module, "encoder")[0]
    assert subject.takes["weights"] == "output_attentions"
    assert "output_attentions" not in subject.unasked
    assert conventions_of(subject)["weights"]["answer"] == kind
    assert failing(subject, WEIGHTS) == failing(subject, "result/asking-changes-nothing") == []


def test_a_flag_that_does_nothing_stays_named_as_not_asked() -> None:
    subject = find(NeverGiven, "encoder")[0]
    assert "weights" not in subject.takes
    assert set(subject.unasked) == {"output_attentions"}


def test_what_is_wrong_where_weights_are_wanted_is_told() -> None:
    """The output that comes with them, and they themselves."""
    subject = find(MaskLostWhereWanted, "encoder")[0]
    law = "result/asking-changes-nothing"
    names = behaves_like(law, failing(subject, law)[0])
    told = [name.partition("; look for ")[0] for name in names]
    assert told == ["mask ignored when the weights are asked for"]
    assert failing(find(NextHeads, "encoder")[0], WEIGHTS)
