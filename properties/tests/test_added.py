"""What a forward requires in order to add it is zero: slopes of positions, a residual."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_needed import LAWS, ODDS, Heads, Unscaled


class Slopes(Heads):
    """Adds slopes (B * H, 1, T) to the scores, and a residual to the output."""

    def forward(
        self, hidden_states: Tensor, residual: Tensor, alibi: Tensor, attention_mask: Tensor | None
    ) -> Tensor:
        items, tokens, _ = hidden_states.shape

        def hide(scores: Tensor) -> Tensor:
            flat = scores.reshape(-1, tokens, tokens)
            scores = alibi.baddbmm(flat, torch.eye(tokens).to(flat).expand(len(flat), -1, -1))
            scores = scores.view(items, -1, tokens, tokens)
            return scores if attention_mask is None else scores + attention_mask

        return residual + self.attend([hidden_states] * 3, hide)


class SlopesOrAngles(nn.Module):
    """Turns queries and keys where there are no slopes; all heads read one head of keys and values."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        if self.head_dim * num_heads != d_model or self.head_dim % 2:
            raise ValueError(f"{d_model} over {num_heads} heads of an even head_dim")
        self.q_proj, self.o_proj = (nn.Linear(d_model, d_model) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(d_model, self.head_dim) for _ in range(2))

    def forward(
        self,
        hidden_states: Tensor,
        alibi: Tensor | None,
        attention_mask: Tensor,
        position_embeddings: Any = None,
    ) -> Tensor:
        layers = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (
            layer(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for layer in layers
        )
        if alibi is None:
            cos, sin = position_embeddings
            query, key = (self.turned(part, cos, sin) for part in (query, key))
        scores = self.scores(query, key) + attention_mask
        scores = scores if alibi is None else scores + alibi
        return self.o_proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))

    def turned(self, part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = part.chunk(2, dim=-1)
        return part * cos + torch.cat([-second, first], dim=-1) * sin

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT / self.head_dim**0.5


class AnglesOrContext(SlopesOrAngles):
    """Turns queries and keys of one sequence, and not those that meet a context."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        position_embeddings: Any = None,
        key_value_states: Tensor | None = None,
    ) -> Tensor:
        if key_value_states is None:
            return super().forward(hidden_states, None, torch.zeros(()), position_embeddings)
        query = self.q_proj(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        key, value = (layer(key_value_states)[:, None] for layer in (self.k_proj, self.v_proj))
        context = self.scores(query, key).softmax(-1) @ value
        return self.o_proj(context.transpose(1, 2).flatten(2))


class UnscaledSlopes(Unscaled, Slopes):
    pass


class UnscaledAngles(Unscaled, SlopesOrAngles):
    pass


@pytest.mark.parametrize("kind", [Slopes, SlopesOrAngles])
def test_what_is_added_is_zero_or_none_and_the_laws_hold(kind: type[nn.Module]) -> None:
    report = run(find_one(kind), profile="quick", only=LAWS)
    assert [r.clause for r in report.results if r.status == "fail"] == []


@pytest.mark.parametrize("kind", [UnscaledSlopes, UnscaledAngles])
def test_a_scale_that_is_lost_beside_it_is_told(kind: type[nn.Module]) -> None:
    assert run(find_one(kind), profile="quick", only=[ODDS]).failed == [ODDS]


def test_a_script_makes_the_zeros_itself() -> None:
    law = clauses()[ODDS]
    case = next(c for c in pinned_cases(find_one(UnscaledSlopes)) if judge(law, c).status == "fail")
    found = script(law, case)
    assert found is not None
    with redirect_stdout(StringIO()):
        with pytest.raises(AssertionError):
            found.run(UnscaledSlopes)
        found.run(Slopes)


def test_what_is_zero_is_told_as_not_asked() -> None:
    told = find_one(Slopes).unasked
    assert told["alibi"] == "numbers added to the scores: they are zero"
    assert told["residual"] == "numbers added to the output: they are zero"


def test_angles_are_handed_over_before_a_context_is() -> None:
    found = find_one(AnglesOrContext)
    assert found.family == "encoder"
    assert found.positions is not None
    assert found.positions.known


def test_angles_are_asked_where_slopes_may_be_none_and_all_heads_read_one_of_keys() -> None:
    found = find_one(SlopesOrAngles)
    assert found.positions is not None
    assert (found.positions.pairing, found.positions.known) == ("halves", True)
    assert found.has("one group")
