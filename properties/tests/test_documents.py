"""A module of packed tokens is called with a batch: each item is a document."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_needed import LAWS, ODDS, Heads, Unscaled


class Packed(Heads):
    """Tokens (N, d_model) of all documents, and where these start; they may be turned."""

    def lengths(self, starts: Tensor) -> list[int]:
        found: list[int] = starts.diff().tolist()
        return found

    def forward(
        self, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any = None
    ) -> Tensor:
        cos, sin = position_embeddings
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (
            layer(hidden_states).unflatten(-1, (self.num_heads, -1)) for layer in layers
        )
        query, key = (self.turned(part, cos[:, None], sin[:, None]) for part in (query, key))
        parts = (
            part.transpose(0, 1).split(self.lengths(cu_seqlens), dim=1)
            for part in (query, key, value)
        )
        documents = [self.scores(q, k).softmax(-1) @ v for q, k, v in zip(*parts, strict=True)]
        return self.out_proj(torch.cat(documents, dim=1).transpose(0, 1).flatten(1))

    def turned(self, part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = part.chunk(2, dim=-1)
        return part * cos + torch.cat([-second, first], dim=-1) * sin


class UnscaledPacked(Unscaled, Packed):
    pass


class AllInOne(Packed):
    """A fault: where documents start is not looked at."""

    def lengths(self, starts: Tensor) -> list[int]:
        return [int(starts[-1])]


def failed(kind: type[nn.Module], *only: str) -> list[str]:
    report = run(find_one(kind), profile="quick", only=[*only])
    return [r.clause for r in report.results if r.status != "pass"]


def test_each_item_of_a_batch_is_a_document_and_the_laws_hold() -> None:
    found = find_one(Packed)
    assert failed(Packed, *LAWS, "position/start-changes-nothing") == []
    assert "each item is a document of packed tokens, by cu_seqlens" in found.notes
    assert found.positions is not None
    assert found.positions.known


def test_a_lost_scale_and_documents_that_see_each_other_are_told() -> None:
    assert failed(UnscaledPacked, ODDS) == [ODDS]
    cases = pinned_cases(find_one(AllInOne))
    law = clauses()["oracle/output-within-bound"]
    assert any(judge(law, case).status == "fail" for case in cases)
