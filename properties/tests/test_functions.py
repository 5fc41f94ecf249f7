"""Functions of queries, keys and values are called as they are meant to be, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from properties import Subject
from properties.basics.errors import QuestionError
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.tests.test_rights import accusations

TORCHS = {"error/keys-without-their-values", "error/scale-of-nan"}
"""What torch's kernel, which some of these call, does not refuse."""


def annotated(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: Any = None
) -> tuple[Tensor, Tensor]:
    """Its dropout is a module, and the weights are returned, too."""
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = scores.softmax(dim=-1)
    if dropout is not None:
        weights = dropout(weights)
    return torch.matmul(weights, value), weights


def weights_first(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The context comes second."""
    return annotated(query, key, value)[::-1]


def tokens_before_heads(q: Tensor, k: Tensor, v: Tensor, causal: bool = True) -> Tensor:
    """(B, T, H, D)."""
    parts = (part.transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(*parts, is_causal=causal).transpose(1, 2)


def unscaled_tokens_before_heads(q: Tensor, k: Tensor, v: Tensor, causal: bool = True) -> Tensor:
    """(B, T, H, D), and wrong."""
    return tokens_before_heads(q * q.shape[-1] ** 0.5, k, v, causal)


def three_axes(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, T, D), of one head."""
    scores = torch.bmm(q, k.transpose(1, 2))
    return torch.bmm((scores / q.shape[2] ** 0.5).softmax(-1), v)


def two_axes(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(T, D)."""
    return (torch.mm(q, k.T) / q.shape[1] ** 0.5).softmax(-1) @ v


def arrays(q: Any, k: Any, v: Any) -> Any:
    """NumPy's, which torch tensors turn into."""
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ np.asarray(v)


def elsewhere(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True) -> Tensor:
    """A kernel that this device lacks."""
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


def words(q: Any, k: Any, v: Any) -> str:
    """No array of anybody's."""
    return "attention"


def refuses(q: Any, k: Any, v: Any) -> Any:
    """As what is meant for a device refuses whatever lies elsewhere."""
    raise TypeError("Error interpreting argument 0")


def words_of_x(x: Any) -> str:
    """The same, of x alone."""
    return "attention"


def through_arrays(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Another library's result as a tensor."""
    return torch.from_numpy(arrays(*(part.detach().numpy() for part in (query, key, value))))


def detached(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's own, recorded by nobody."""
    with torch.no_grad():
        return F.scaled_dot_product_attention(query, key, value)


def gone(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """NumPy's again, with no thought of gradients."""
    return torch.from_numpy(arrays(query.numpy(), key.numpy(), value.numpy()))


def keys_detached(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Trains, but for one path."""
    return F.scaled_dot_product_attention(query, key.detach(), value)


def subject(target: Callable[..., Any]) -> Subject:
    [found] = find(target)
    return found


@pytest.mark.parametrize(
    ("target", "family", "note"),
    [
        (annotated, "self", "dropout is given a torch.nn.Dropout"),
        (annotated, "self", "of the tuple returned, part 0 is judged: the context"),
        (weights_first, "self", "of the tuple returned, part 1 is judged: the context"),
        (tokens_before_heads, "multihead", "query, key and value are handed over as (B, T, H, D)"),
        (three_axes, "self", "query, key and value are handed over as (B*H, T, D)"),
        (two_axes, "self", "query, key and value are handed over as (T, D)"),
    ],
)
def test_the_way_to_call_a_function_is_found(
    target: Callable[..., Any], family: str, note: str
) -> None:
    """By trial; it is noted, and nothing is held against it."""
    found = subject(target)
    assert found.family == family
    assert note in found.notes
    case = make_case(found, pinned_sizes(found)[0], "float64", "ordinary", True, 0.5, 1, 0)
    np.testing.assert_allclose(case.run(), case.trace.output, atol=1e-9)


@pytest.mark.parametrize("target", [annotated, tokens_before_heads])
def test_a_right_function_of_another_kind_is_not_accused(target: Callable[..., Any]) -> None:
    """With dropout by a module, and with tokens before heads."""
    assert accusations(subject(target)).keys() <= TORCHS


def test_a_wrong_function_is_accused_in_its_own_layout() -> None:
    """The layout is told by what is mixed, not by right numbers."""
    found = subject(unscaled_tokens_before_heads)
    assert "query, key and value are handed over as (B, T, H, D)" in found.notes
    accused = accusations(found)
    assert (
        "weights/scale-is-inverse-root-head-dim" in accused
        or "oracle/output-within-bound" in accused
    )
    assert "heads/split-equals-per-head-matmul" not in accused


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (words, "returned str, not a tensor"),
        (refuses, "raised TypeError: Error interpreting argument 0"),
        (words_of_x, "of the shape (B, T, d_in) it returned str, not a tensor"),
    ],
)
def test_a_function_without_an_output_cannot_be_asked(
    target: Callable[..., Any], said: str
) -> None:
    """What was tried and what came of it: exit code 2, never an accusation."""
    with pytest.raises(QuestionError) as refused:
        find(target)
    assert said in str(refused.value)
    assert "What to do: name a function that turns the tensor" in str(refused.value)


def test_a_function_that_wants_another_device_is_to_be_run_there() -> None:
    """No function around it would help."""
    with pytest.raises(QuestionError) as refused:
        find(elsewhere)
    assert "raised RuntimeError: CUDA error: no kernel image is available" in str(refused.value)
    assert str(refused.value).endswith(
        "What to do: run it where the device or package is there that it asks for"
    )


@pytest.mark.parametrize("target", [through_arrays, detached, gone])
def test_a_function_without_gradients_is_not_asked_for_any(target: Callable[..., Any]) -> None:
    """The reason is said, and the rest is asked."""
    found = subject(target)
    assert not found.has("gradients")
    assert found.lacking["gradients"]
    accused = accusations(found).keys() - TORCHS
    assert [id for id in accused if clauses()[id].level == "MUST"] == []


def test_a_function_that_cuts_one_path_is_accused() -> None:
    """Its output has a gradient, so it is meant to have the right one."""
    found = subject(keys_detached)
    assert found.has("gradients")
    assert "gradient/gradcheck" in accusations(found)


def test_what_a_function_is_not_given_is_named() -> None:
    """Both are asked about everything; a fill that float16 does not have is told."""
    found = subject(annotated)
    assert found.unasked == {}
    assert "float16" not in found.dtypes
    assert "not asked in float16: there a call with mask raises" in found.notes
    assert subject(F.scaled_dot_product_attention).unasked == {}


def flag_or_mask(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """As torch documents it: the flag beside a mask is refused."""
    if is_causal and attn_mask is not None:
        raise RuntimeError("attn_mask should not be set when is_causal=True")
    return F.scaled_dot_product_attention(query, key, value, attn_mask, is_causal=is_causal)


def mask_upside_down(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """The same, which turns the rows of a mask round."""
    attn_mask = None if attn_mask is None else attn_mask.flip(-2)
    return flag_or_mask(query, key, value, attn_mask, is_causal)


MASKED = ["mask/shows-what-it-shows", "mask/joins-the-causal-flag"]


@pytest.mark.parametrize(("target", "wrong"), [(flag_or_mask, []), (mask_upside_down, MASKED[:1])])
def test_a_flag_that_no_mask_may_stand_beside_is_put_into_the_mask(
    target: Callable[..., Any], wrong: list[str]
) -> None:
    """It is told, and what the mask then hides is asked all the same."""
    [found] = find(target)
    assert "is_causal beside a mask is refused: the mask hides the future" in found.notes
    assert run(found, profile="quick", only=MASKED).failed == wrong


def heads_in_another_order(q: Tensor, k: Tensor, v: Tensor, causal: bool = True) -> Tensor:
    """(B, T, H, D), and wrong."""
    return tokens_before_heads(q, k, v.flip(2), causal)


def test_heads_in_another_order_are_no_reason_to_take_them_for_tokens() -> None:
    """The fault is told in the order of axes that the function has."""
    [found] = find(heads_in_another_order)
    assert found.layout == "B T H D"
