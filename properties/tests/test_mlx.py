"""MLX's arrays, where MLX is installed; that a function wants them is known without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from properties.recognition.foreign import finding, mlx_arrays
from properties.survey.libraries import mlx


def test_whose_arrays_it_takes_is_read_from_its_annotations() -> None:
    """Nothing of the library is imported for that."""
    assert finding.said(mlx.attention) is mlx_arrays.ARRAYS


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16", "bool", "int64"])
def test_numbers_cross_as_they_are(dtype: str) -> None:
    """In each format, there and back."""
    pytest.importorskip("mlx.core")
    tensor = torch.tensor([[0.0, 1.0], [3.0, 0.1]]).to(getattr(torch, dtype))
    with mlx_arrays.ARRAYS.within():
        back = mlx_arrays.ARRAYS.tensor(mlx_arrays.ARRAYS.array(tensor))
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor)


def test_its_derivatives_are_the_librarys_own() -> None:
    """They are those that torch has of the same formula, masks without any."""
    pytest.importorskip("mlx.core")
    bridge = finding.bridged(mlx.attention, 3)
    assert bridge is not None
    mask = torch.ones(3, 3, dtype=torch.bool).tril()
    found = [gradients(call, mask) for call in (bridge, functional.scaled_dot_product_attention)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def gradients(call: Callable[..., Tensor], mask: Tensor) -> tuple[Tensor, ...]:
    """By queries, keys and values."""
    rng = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 2, 3, 4, generator=rng).requires_grad_() for _ in range(3)]
    return torch.autograd.grad(call(*parts, mask).square().sum(), parts)
