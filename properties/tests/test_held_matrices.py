"""A function of tokens and matrices, as lectures write attention, is asked as a module that holds them.

Legend: B items, T tokens, H heads, D head_dim, E = H * D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.errors import QuestionError
from properties.findings.names import behaves_like
from properties.recognition.adapters.held_matrices import holding
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found
from properties.tests.test_rotary import failing

ORACLE = "oracle/output-within-bound"
AREAS = ["shape", "weights", "causality", "heads", "oracle", "mask", "cross", "projection"]


def of_one_head(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, scale: bool = True) -> Tensor:
    """Three times (d_in, d_out)."""
    q, k, v = x @ W_q, x @ W_k, x @ W_v
    scores = q @ k.mT / (math.sqrt(k.shape[-1]) if scale else 1.0)
    return scores.softmax(-1) @ v


def unscaled(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    """Wrong."""
    return of_one_head(x, W_q, W_k, W_v, scale=False)


def rows_of_matrices(inputs: Tensor, wq: Tensor, wk: Tensor, wv: Tensor) -> tuple[Tensor, Tensor]:
    """Causal, of matrices (d_out, d_in), with the weights."""
    q, k, v = (inputs @ matrix.T for matrix in (wq, wk, wv))
    future = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
    weights = (q @ k.mT / math.sqrt(k.shape[-1])).masked_fill(future, -math.inf).softmax(-1)
    return weights @ v, weights


def heads_of_columns(
    x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, n_heads: int, n_kv_heads: int
) -> Tensor:
    """Groups of heads, and an output projection."""
    q = (x @ wq).unflatten(-1, (n_heads, -1)).transpose(1, 2)
    k, v = ((x @ w).unflatten(-1, (n_kv_heads, -1)).transpose(1, 2) for w in (wk, wv))
    k, v = (part.repeat_interleave(n_heads // n_kv_heads, dim=1) for part in (k, v))
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ wo


def groups_tiled(
    x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, n_heads: int, n_kv_heads: int
) -> Tensor:
    """Wrong: head h reads key head h modulo G."""
    times = n_heads // n_kv_heads
    tiled = [w.unflatten(-1, (n_kv_heads, -1)).repeat(1, times, 1).flatten(1) for w in (wk, wv)]
    return heads_of_columns(x, wq, *tiled, wo, n_heads, n_heads)


def like_gpt(  # one matrix for queries, keys and values, biases, and one width of all
    x: Tensor, c_attn_w: Tensor, c_attn_b: Tensor, c_proj_w: Tensor, c_proj_b: Tensor, n_head: int
) -> Tensor:
    """(B, T, E) -> (B, T, E), causal."""
    parts = (x @ c_attn_w + c_attn_b).split(x.shape[-1], dim=-1)
    q, k, v = (part.unflatten(-1, (n_head, -1)).transpose(1, 2) for part in parts)
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(future, -math.inf).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ c_proj_w + c_proj_b


def in_numpy(X: Any, Wq: Any, Wk: Any, Wv: Any) -> Any:
    """Of arrays."""
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    scores = Q @ np.swapaxes(K, -1, -2) / math.sqrt(Q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ V


def of_a_dict(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """With an output projection."""
    context = of_one_head(x, params["wq"], params["wk"], params["wv"])
    return context @ params["wo"] + params["bo"]


def unscaled_of_a_dict(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Wrong."""
    context = of_one_head(x, params["wq"], params["wk"], params["wv"], scale=False)
    return context @ params["wo"] + params["bo"]


def of_three(
    q: Tensor, k: Tensor, v: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, mask: Any = None
) -> Tensor:
    """Queries, keys and values of other tokens; True in the mask (B, T, S) attends."""
    return shown(q @ W_q, k @ W_k, v @ W_v, mask)


def mask_of_the_first_item(
    q: Tensor, k: Tensor, v: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, mask: Any = None
) -> Tensor:
    """Wrong."""
    return shown(q @ W_q, k @ W_k, v @ W_v, None if mask is None else mask[:1])


def shown(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """What is seen of the values."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


def feed_forward(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """No attention."""
    return (x @ w1).relu() @ w2


def with_a_table(x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, table: Tensor) -> Tensor:
    """Nobody knows what the table is."""
    return of_one_head(x + table, wq, wk, wv)


RIGHT = {
    of_one_head: ("self", set()),
    rows_of_matrices: ("causal", set()),
    heads_of_columns: ("encoder", {"groups", "out-projection"}),
    like_gpt: ("multihead", {"out-projection", "out-bias", "always-biased"}),
    in_numpy: ("self", {"other arrays"}),
    of_a_dict: ("self", {"out-projection", "out-bias"}),
    of_three: ("self", {"projections"}),
}


@pytest.mark.parametrize(("function", "told"), RIGHT.items())
def test_a_function_of_matrices_is_asked(
    function: Callable[..., Any], told: tuple[str, set[str]]
) -> None:
    """Whatever is called a matrix for queries, keys, values or the output, (in, out) or (out, in)."""
    subject = find_one(function)
    assert (subject.family, told[1] - subject.capabilities) == (told[0], set())
    assert any(note.endswith("held by a module, which is ours") for note in subject.notes)
    assert run(subject, profile="quick", only=AREAS).failed == []


def test_what_is_wrong_in_it_is_told_by_name() -> None:
    names = behaves_like(ORACLE, failing(find_one(unscaled), ORACLE)[0])
    assert [name.partition("; look for ")[0] for name in names] == ["scale absent"]


@pytest.mark.parametrize(
    ("wrong", "law", "right"),
    [
        (unscaled, ORACLE, of_one_head),
        (unscaled_of_a_dict, ORACLE, of_a_dict),
        (mask_of_the_first_item, "mask/shows-what-it-shows", of_three),
        (groups_tiled, "groups/each-head-reads-its-own-group", heads_of_columns),
    ],
)
def test_its_script_holds_the_matrices_likewise(
    wrong: Callable[..., Any], law: str, right: Callable[..., Any]
) -> None:
    """It fails on the wrong one alone."""
    told = found(wrong, law)
    assert raised(told, wrong)
    assert not raised(told, right)


@pytest.mark.parametrize("function", [feed_forward, with_a_table])
def test_what_takes_other_matrices_is_refused_with_a_way_out(function: Callable[..., Any]) -> None:
    assert holding(function) is None
    with pytest.raises(QuestionError, match="hold its parameters in a module"):
        find_one(function)
