"""torch's backends of scaled_dot_product_attention, each by itself: targets for docs/accuracy.md.

attention-properties accuracy benchmarks/backends.py
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def sdpa_math(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
    """Step by step."""
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(query, key, value, is_causal=is_causal)


def sdpa_flash(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
    """Block by block, with a running maximum and sum."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(query, key, value, is_causal=is_causal)
