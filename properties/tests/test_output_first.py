"""What a call returns may have weights, or what is kept, before the output: the output is judged all the
same, where its shape is that of the weights as well.

Legend: B items, T tokens, H heads, D head_dim, E = H * D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.spec.clauses.result import WEIGHTS
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

SHOWN = "mask/shows-what-it-shows"
ORACLE = "oracle/output-within-bound"


def weights_first(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
    """Three times (B, H, T, D); the weights (B, H, T, S) are as large as the output where S is D."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -math.inf)
    weights = scores.softmax(-1)
    return weights, weights @ v


def mask_of_the_first_item(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
    """Wrong: every item has the mask of the first."""
    return weights_first(q, k, v, None if mask is None else mask[:1])


def tokens_before_heads(query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """(B, T, H, D), in which the weights are not."""
    weights, context = weights_first(*(p.transpose(1, 2) for p in (query, key, value)))
    return [weights, context.transpose(1, 2)]


class OneHead(nn.Module):
    """The weights (B, T, T) have a row for each token, too."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query, self.W_key = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)
        self.W_value = nn.Linear(d_in, d_out)

    def forward(self, x: Tensor) -> Any:
        """(B, T, d_in) -> (B, T, T), (B, T, d_out)."""
        return weights_first(self.W_query(x), self.W_key(x), self.W_value(x))


class Named(OneHead):
    """The same by names."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return dict(zip(("weights", "output"), super().forward(x), strict=True))


class OtherWeights(OneHead):
    """Wrong: the weights are those of the token before."""

    def forward(self, x: Tensor) -> Any:
        weights, output = super().forward(x)
        return weights.roll(1, dims=1), output


class AddsATenth(OneHead):
    """Wrong: the rows sum to 1.1."""

    def forward(self, x: Tensor) -> Any:
        weights, output = super().forward(x)
        return weights, 1.1 * output


class Last(OneHead):
    """The output first, and something that is no weights."""

    scale = 1.0

    def __init__(self, d_in: int, d_out: int, dropout: float = 0.0) -> None:
        super().__init__(d_in, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """(B, T, d_in), (B, T, T) of ones and zeros -> (B, T, d_out), (B, T)."""
        q, k, v = self.W_query(x), self.W_key(x), self.W_value(x)
        weights, _ = weights_first(q, k, v, None if mask is None else self.of_items(mask))
        return self.scale * self.dropout(weights) @ v, x.norm(dim=-1)

    def of_items(self, mask: Tensor) -> Tensor:
        """The mask of each item."""
        return mask


class LastAddsATenth(Last):
    """Wrong: the rows sum to 1.1."""

    scale = 1.1


class LastDropsInEval(Last):
    """Wrong: dropout stays alive."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        self.dropout.training = True
        return super().forward(x, mask)


class LastMaskOfTheFirst(Last):
    """Wrong: every item has the mask of the first."""

    def of_items(self, mask: Tensor) -> Tensor:
        return mask[:1]


class OfThree(nn.Module):
    """Queries, keys and values are handed over."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.v_proj, self.out_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def heads(self, layer: nn.Module, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, H, T, D)."""
        part: Tensor = layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return part

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Any:
        """(B, H, T, S), (B, T, E)."""
        parts = (self.q_proj, query), (self.k_proj, key), (self.v_proj, value)
        weights, context = weights_first(*(self.heads(*part) for part in parts), mask)
        return weights, self.out_proj(context.transpose(1, 2).flatten(2))


class PastFirst(OfThree):
    """Keys and values of earlier tokens come before the output."""

    def forward(self, x: Tensor, past: Any = None) -> Any:  # type: ignore[override]
        """(B, T, E) -> (keys, values), (B, T, E)."""
        layers = self.q_proj, self.k_proj, self.v_proj
        q, k, v = (self.heads(layer, x) for layer in layers)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        seen = torch.ones(q.shape[2], k.shape[2]).tril(k.shape[2] - q.shape[2])
        _, context = weights_first(q, k, v, seen)
        return (k, v), self.out_proj(context.transpose(1, 2).flatten(2))


class PastOfOneToken(PastFirst):
    """Wrong: what is kept is the last token alone."""

    def forward(self, x: Tensor, past: Any = None) -> Any:
        kept, output = super().forward(x, past)
        return tuple(part[:, :, -1:] for part in kept), output


RIGHT = {
    weights_first: "weights",
    tokens_before_heads: "weights",
    OneHead: "weights",
    Named: "weights",
    OfThree: "weights",
    PastFirst: "cache",
}


@pytest.mark.parametrize(("target", "asked"), RIGHT.items())
def test_the_output_is_judged_wherever_it_stands(target: Callable[..., Any], asked: str) -> None:
    """And what comes before it is asked about."""
    subject = find_one(target)
    assert {"weights": asked in subject.takes, "cache": subject.has("cache")}[asked]
    areas = ["shape", "oracle", "weights", "result", "mask", "cache", "cross"]
    assert run(subject, profile="quick", only=areas).failed == []


@pytest.mark.parametrize(
    ("wrong", "law", "right"),
    [
        (mask_of_the_first_item, SHOWN, weights_first),
        (OtherWeights, WEIGHTS, OneHead),
        (AddsATenth, ORACLE, OneHead),
        (PastOfOneToken, "cache/any-split-equals-the-whole", PastFirst),
        (LastAddsATenth, ORACLE, Last),
        (LastDropsInEval, "dropout/inert-in-eval", Last),
        (LastMaskOfTheFirst, SHOWN, Last),
    ],
)
def test_what_is_wrong_behind_or_before_is_told_and_its_script_runs(
    wrong: Callable[..., Any], law: str, right: Callable[..., Any]
) -> None:
    """The script fails on the wrong one alone."""
    told = found(wrong, law)
    assert raised(told, wrong)
    assert not raised(told, right)
