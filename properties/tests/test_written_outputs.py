"""Functions that write their output into a tensor that they are handed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

LAWS = ["oracle", "cross", "memory", "transform", "gradient/gradcheck"]
FORMULA = "cross/as-many-keys-as-there-are"


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Heads before tokens."""
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def written(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
    """Nothing is returned."""
    out.copy_(attended(q, k, v))


def written_first(out: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As operators of C++ have it."""
    out[...] = attended(query, key, value)
    return out


def written_with_logarithm(
    q: Tensor, k: Tensor, v: Tensor, o: Tensor, sm_scale: float, causal: bool = False
) -> Tensor:
    """Tokens before heads, as kernels have it; what is returned is the logarithm of the sums."""
    scores = torch.einsum("bthd,bshd->bhts", q, k) * sm_scale
    if causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        scores = scores.masked_fill(~past, -torch.inf)
    o.copy_(torch.einsum("bhts,bshd->bthd", scores.softmax(-1).nan_to_num(), v))
    return scores.logsumexp(-1)


def written_in_numpy(q: Any, k: Any, v: Any, output: Any) -> None:
    """Into an array."""
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.matmul(weights / weights.sum(-1, keepdims=True), v, out=output)


def added(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
    """What was there stays: right where that is zero alone."""
    out += attended(q, k, v)


def scaled_twice(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
    """By the width, not its root."""
    written(q / math.sqrt(q.shape[-1]), k, v, out)


def last_query_left_out(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
    """As a grid of blocks that is one too small leaves it."""
    out[..., :-1, :] = attended(q, k, v)[..., :-1, :]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (written, "out"),
        (written_first, "out"),
        (written_with_logarithm, "o"),
        (written_in_numpy, "output"),
    ],
)
def test_a_function_that_writes_its_output_is_asked(
    function: Callable[..., Any], name: str
) -> None:
    subject = find_one(function)
    assert f"what is written into {name} is judged; infinity stands there before" in subject.notes
    report = run(subject, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


def test_what_is_returned_beside_a_written_output_is_asked() -> None:
    takes = find_one(written_with_logarithm).takes
    assert (takes["scale"], takes["lse"]) == ("sm_scale", "")


@pytest.mark.parametrize("function", [added, scaled_twice, last_query_left_out])
def test_what_adds_to_its_output_or_leaves_some_of_it_is_told(
    function: Callable[..., Any],
) -> None:
    assert FORMULA in run(find_one(function), profile="quick", only=["cross"]).failed


@pytest.mark.parametrize(
    ("wrong", "right"), [(added, written), (scaled_twice, written)], ids=["added", "scaled"]
)
def test_a_script_hands_the_tensor_over_too(
    wrong: Callable[..., Any], right: Callable[..., Any]
) -> None:
    told = found(wrong, FORMULA)
    assert raised(told, wrong)
    assert not raised(told, right)
