"""Multi-head attention on PyTorch's fused kernel: another road to the same numbers.

Legend for shapes: B batch, T tokens, H heads, D head_dim.
"""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attention.modules import MultiHeadAttention


class FusedMultiHeadAttention(MultiHeadAttention):
    """`MultiHeadAttention` that never keeps the (B, H, T, T) weights, where a kernel allows it.

    Constructor, errors, shapes and state dict are those of the class that it refines; the
    buffer `mask` stays for the state dict's sake and for its length. Results agree up to
    rounding; dropout follows the same law but draws its own numbers. While dropping on a CPU,
    PyTorch adds its mask to the scores, so a hidden score that overflows leaves NaN behind.
    Source: 001 steps 7 to 9; 003 §3.6.2.
    """

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Causal attention within each head, three times (B, H, T, D) to (B, H, T, D)."""
        dropout_p = self.dropout.p if self.dropout.training else 0.0
        if dropout_p == 1.0:  # kernels divide by 1 - p, and some refuse
            return super().attend(queries, keys, values)
        return scaled_dot_product_attention(
            queries, keys, values, dropout_p=dropout_p, is_causal=True
        )
