"""What is refused is told the true reason, and advice that runs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.targets import find, find_one
from properties.runs.runner import run

ORACLE = "oracle/output-within-bound"


def normed(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Each row by itself."""
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def mixed(x: Tensor) -> Tensor:
    """Simplified self-attention by another name."""
    return (x @ x.mT).softmax(-1) @ x


def mha(params: Mapping[str, Tensor], x: Tensor, n_heads: int) -> Tensor:
    """Attention with its matrices in a dict."""
    q, k, v = (
        (x @ params[n]).unflatten(-1, (n_heads, -1)).transpose(1, 2) for n in ("wq", "wk", "wv")
    )
    scores = q @ k.mT / q.shape[-1] ** 0.5
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    context = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
    return context.transpose(1, 2).flatten(2) @ params["wo"]


class Latent(nn.Module):
    """Keys and values through few numbers, by names that nobody knows."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.W_q, self.W_o = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.W_down = nn.Linear(d_model, 3)
        self.W_up1, self.W_up2 = nn.Linear(3, d_model), nn.Linear(3, d_model)

    def forward(self, x: Tensor) -> Tensor:
        latent = self.W_down(x)
        parts = self.W_q(x), self.W_up1(latent), self.W_up2(latent)
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts)
        weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        output: Tensor = self.W_o((weights @ v).transpose(1, 2).flatten(2))
        return output


def advice(target: Any) -> str:
    """The code at the end of a refusal."""
    with pytest.raises(QuestionError) as refused:
        find(target)
    lines = str(refused.value).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("What to do"))
    return textwrap.dedent("\n".join(lines[first + 1 :]))


def test_a_function_that_mixes_no_tokens_is_no_attention() -> None:
    with pytest.raises(QuestionError, match="changes no row of its output but the first"):
        find(normed)


def test_a_function_of_x_that_mixes_them_is_asked_whatever_its_name() -> None:
    report = run(find_one(mixed), profile="quick", only=[ORACLE])
    assert {r.status for r in report.results} == {"pass"}


def test_a_function_that_takes_its_matrices_is_held_by_the_module_of_the_advice() -> None:
    """As it is printed, and the check of it is right."""
    text = advice(mha)
    assert "return mha(x=x, params=held, n_heads=self.num_heads)" in text
    written: dict[str, Any] = {"mha": mha}
    exec(text, written)
    report = run(find_one(written["Attention"]), profile="quick", only=[ORACLE])
    assert [r.status for r in report.results if r.clause == ORACLE] == ["pass"]


def test_who_calls_softmax_is_told_that_it_may_be_attention() -> None:
    """And what the refusal says to do is asked."""
    with pytest.raises(QuestionError, match=r"calls softmax and may be attention.*") as refused:
        find(Latent)
    assert "--family multihead, or encoder where nothing is hidden" in str(refused.value)
    assert find_one(Latent, "encoder").family == "encoder"
