"""torch's attention on a CUDA device, by each of its backends, as functions that can be checked:

    attention-properties check examples/cuda/backends.py:cudnn --profile quick

Tensors on the CPU are refused; so the check copies to the device and back.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

EVERY = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def by(backends: SDPBackend | list[SDPBackend], query: Tensor, *others: Any, **told: Any) -> Tensor:
    """The call by these backends alone."""
    if not query.is_cuda:
        raise RuntimeError("expected CUDA tensors")
    with sdpa_kernel(backends):
        return scaled_dot_product_attention(query, *others, **told)


def dispatched(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By the backend that torch chooses."""
    told = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    return by(EVERY, query, key, value, attn_mask, enable_gqa=enable_gqa, **told)


def cudnn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By cuDNN, in half precision."""
    told = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    backend = SDPBackend.CUDNN_ATTENTION
    return by(backend, query, key, value, attn_mask, enable_gqa=enable_gqa, **told)


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By flash attention, in half precision; it takes no mask."""
    told = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    return by(SDPBackend.FLASH_ATTENTION, query, key, value, enable_gqa=enable_gqa, **told)


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """By memory-efficient attention; it takes as many heads of keys as of queries."""
    told = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    return by(SDPBackend.EFFICIENT_ATTENTION, query, key, value, attn_mask, **told)


def math(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """In torch's own operations."""
    told = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    return by(SDPBackend.MATH, query, key, value, attn_mask, enable_gqa=enable_gqa, **told)
