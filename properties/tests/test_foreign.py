"""Functions of another library's arrays are asked as functions of tensors are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from properties import Subject, check
from properties.basics.errors import QuestionError
from properties.cases.strategies import FEW_SIZES, few, pinned_cases
from properties.recognition.foreign import finding, numpy_arrays
from properties.recognition.foreign.bridge import Bridge
from properties.recognition.targets import find
from properties.tests.test_rights import accusations


def attention(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """As it is written in NumPy; np.sqrt of a number widens float32."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def annotated(q: NDArray[Any], k: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """Of tokens before heads, with an einsum; it keeps its format."""
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) * q.dtype.type(q.shape[-1] ** -0.5)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def by_another(q: Any, k: Any, v: Any) -> Any:
    """Nothing in its code says whose arrays it takes."""
    if isinstance(q, torch.Tensor):
        raise TypeError("no tensors")
    return attention(q, k, v)


def of_x(x: Any) -> Any:
    """Simplified self-attention."""
    return attention(x * x.shape[-1] ** 0.5, x, x)


def unscaled(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    return attention(q * q.shape[-1] ** 0.5, k, v, mask)


def sees_the_next(q: Any, k: Any, v: Any, causal: bool = True) -> Any:
    see = np.tril(np.ones((q.shape[-2], k.shape[-2]), bool), 1)
    return attention(q, k, v, see if causal else None)


def heads_swapped(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    return attention(q, k, v[:, ::-1], mask)


def writes(q: Any, k: Any, v: Any) -> Any:
    q *= q.dtype.type(q.shape[-1] ** -0.5)
    scores = q @ k.swapaxes(-1, -2)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def subject(target: Callable[..., Any]) -> Subject:
    [found] = find(target)
    return found


@pytest.mark.parametrize(
    ("target", "family", "dtypes"),
    [
        (attention, "self", ("float64",)),
        (annotated, "self", ("float64", "float32", "float16")),
        (by_another, "self", ("float64",)),
        (of_x, "plain", ("float64",)),
    ],
)
def test_a_function_of_numpy_arrays_is_asked_in_what_it_has(
    target: Callable[..., Any], family: str, dtypes: tuple[str, ...]
) -> None:
    """In formats that it keeps, and about no gradient."""
    found = subject(target)
    assert (found.family, found.dtypes) == (family, dtypes)
    assert "it is asked in arrays of NumPy" in found.notes
    assert found.lacking["gradients"] == "NumPy has none"


@pytest.mark.parametrize("target", [attention, of_x])
def test_a_right_one_is_accused_of_nothing(target: Callable[..., Any]) -> None:
    """Nor of what torch alone can do."""
    assert accusations(subject(target)) == {}


@pytest.mark.parametrize(
    ("target", "law"),
    [
        (unscaled, "weights/log-odds-are-scaled-score-differences"),
        (sees_the_next, "causality/future-does-not-change-past"),
        (heads_swapped, "mask/shows-what-it-shows"),
        (writes, "state/queries-keys-and-values-untouched"),
    ],
)
def test_a_wrong_one_is_told(target: Callable[..., Any], law: str) -> None:
    """A scale, a diagonal, an order of heads, a write into what was handed over."""
    report = check(target, only=[law], profile="quick")
    assert law in report.failed


def test_torch_functions_are_not_bridged() -> None:
    """Naming NumPy for a number does not make a function NumPy's."""

    def torchs(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (q @ k.mT / np.sqrt(q.shape[-1])).softmax(-1) @ v

    def unannotated(q: Any, k: Any, v: Any) -> Any:
        return (q @ k.mT / np.sqrt(q.shape[-1])).softmax(-1) @ v

    for target in (torchs, unannotated):
        assert finding.bridged(target, 3) is None
        assert "other arrays" not in subject(target).capabilities


def test_a_bridge_shares_the_memory_of_numpy() -> None:
    """So that what is written into an input is seen, and what is a view of it."""
    bridge = Bridge(lambda x: x[::2], numpy_arrays.ARRAYS)
    x = torch.arange(6.0)
    output = bridge(x)
    output[0] = 7.0
    assert x[0] == 7.0


def test_what_is_compiled_for_each_shape_is_asked_in_few() -> None:
    """All that a shape follows from is told by which of the few it is."""
    found = subject(attention)
    found.compiled = True
    assert len(pinned_cases(found)) == len(FEW_SIZES)
    for number in range(len(FEW_SIZES)):
        one, other = (few(found, number, "ordinary", False, 0.5, seed) for seed in (1, 2))
        assert one.x.shape == other.x.shape
        assert one.call is not None
        assert other.call is not None
        assert one.call.numbers == other.call.numbers
        shapes = [{n: a.shape for n, a in c.call.arrays.items()} for c in (one, other) if c.call]
        assert shapes[0] == shapes[1]


def test_what_gives_no_array_is_refused_as_before() -> None:
    """The refusal tells what came of tensors."""

    def words(q: Any, k: Any, v: Any) -> Any:
        return str(np.shape(q))

    with pytest.raises(QuestionError, match="returned str"):
        find(words)


def test_a_function_that_pickle_does_not_find_is_accused_of_nothing() -> None:
    """What vmap makes has the name of what it was made of."""
    mapped = torch.vmap(torch.vmap(alone))
    assert check(mapped, only=["state/pickle"], profile="quick").findings == []


def alone(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention of one head."""
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
