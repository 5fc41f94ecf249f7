"""Weights that a module always returns are held to what those are that a flag asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.scripts import script
from properties.recognition.targets import find
from properties.spec.clause import clauses
from properties.spec.clauses.result import WEIGHTS
from properties.subjects.card import conventions_of
from properties.tests.test_calls import broken_by
from properties.tests.test_rotary import failing


class Always(nn.Module):
    """The output and the weights, whatever is told."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """mask: (B, T, T), True attends."""
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        hidden = scores if mask is None else scores.masked_fill(~mask[:, None], -torch.inf)
        weights = hidden.softmax(dim=-1)
        output = self.o_proj((weights @ v).transpose(1, 2).flatten(2))
        return self.given(output, weights, scores)

    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        """What is returned."""
        return output, weights


class Averaged(Always):
    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        return {"context": output, "attention": weights.mean(dim=1)}


class BehindScores(Always):
    """The scores come first, which are no weights."""

    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        return output, scores, weights


class ScoresAlone(Always):
    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        return output, scores


class NextHeads(Always):
    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        return output, weights.roll(1, dims=1)


class BeforeTheMask(Always):
    def given(self, output: Tensor, weights: Tensor, scores: Tensor) -> Any:
        return output, scores.softmax(dim=-1)


@pytest.mark.parametrize(
    ("module", "kind"),
    [(Always, "per head"), (Averaged, "averaged"), (BehindScores, "per head")],
)
def test_weights_that_always_come_are_asked(module: type[nn.Module], kind: str) -> None:
    """What comes beside them is told as left out."""
    asked = find(module)[0]
    assert asked.takes["weights"] == ""
    assert conventions_of(asked)["weights"]["answer"] == kind
    assert ("further results" in asked.unasked) == (module is BehindScores)
    assert broken_by(asked, pinned_cases(asked)) == set()


class Routed(Always):
    """Beside the output stand the shares of four experts, one for each token."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        self.router = nn.Linear(d_model, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d_model) -> the same, and (B, T, 4)."""
        return super().forward(x)[0], self.router(x).softmax(dim=-1)


@pytest.mark.parametrize("module", [ScoresAlone, Routed])
def test_what_is_no_weights_is_not_taken_for_them(module: type[nn.Module]) -> None:
    """Rows may sum to one in a number of columns that is not that of keys."""
    asked = find(module)[0]
    assert "weights" not in asked.takes
    assert "further results" in asked.unasked


@pytest.mark.parametrize(
    ("module", "names"),
    [(NextHeads, []), (BeforeTheMask, ["weights before the mask"])],
)
def test_wrong_weights_are_told(module: type[nn.Module], names: list[str]) -> None:
    """By name where there is one, and by a script that fails on them alone."""
    asked = find(module)[0]
    case = failing(asked, WEIGHTS)[0]
    assert [name.partition("; look for ")[0] for name in behaves_like(WEIGHTS, case)] == names
    written = script(clauses()[WEIGHTS], case)
    assert written is not None
    assert written.fails()
    written.run(Always)
