"""torch's scaled_dot_product_attention as it is dispatched, and by each backend that a CPU has."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from properties.survey.lines import Line

LINES = (
    Line(
        "torch",
        "scaled_dot_product_attention, as dispatched",
        "torch.nn.functional:scaled_dot_product_attention",
    ),
    Line("torch", "scaled_dot_product_attention, math", f"{__name__}:math_attention"),
    Line("torch", "scaled_dot_product_attention, flash", f"{__name__}:flash_attention"),
)


def math_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By the backend that is written in torch's own operations."""
    options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, **options
        )


def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By the backend that goes through keys in blocks; on a CPU it has no dropout."""
    options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(
            query, key, value, attn_mask, is_causal=is_causal, **options
        )
