"""torch's attention on a CUDA device, by each of its backends, as functions that can be checked:

    attention-properties check examples/cuda/backends.py:cudnn --profile quick

Tensors on the CPU are refused; so the check copies to the device and back. What a backend has no kernel
for is refused by torch, and not asked.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


class By:
    """The call by some backends alone, of CUDA tensors."""

    def __init__(self, *names: str) -> None:
        """names: of `SDPBackend`."""
        self.names = names

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """As torch's own function; RuntimeError for tensors elsewhere, and where there is no kernel."""
        if not query.is_cuda:
            raise RuntimeError("expected CUDA tensors")
        with sdpa_kernel([getattr(SDPBackend, name) for name in self.names]):
            return scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask,
                dropout_p,
                is_causal,
                scale=scale,
                enable_gqa=enable_gqa,
            )


cudnn = By("CUDNN_ATTENTION")
flash = By("FLASH_ATTENTION")
efficient = By("EFFICIENT_ATTENTION")
math = By("MATH")
dispatched = By("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
