"""Attention by PyTorch's own kernels and layers, and with a backward pass of its own.

`flex_attention` is not among them: on a CPU it has no backward pass.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from properties.zoo.rights import right
from properties.zoo.rights.common import (
    SplitHeads,
    future,
    require,
    require_batch,
    require_divisible,
    require_probability,
)


class KernelAttention(SplitHeads):
    """Kernels divide by 1 - p, so p stays below 1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        require(self.dropout.p < 1.0, f"dropout is {self.dropout.p}, expected less than 1")

    @property
    def p(self) -> float:
        """The probability of dropout in the present mode."""
        return self.dropout.p if self.training else 0.0


@right("kernel-told-to-be-causal")
class CausalKernelAttention(KernelAttention):
    """`scaled_dot_product_attention` with is_causal."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return scaled_dot_product_attention(queries, keys, values, dropout_p=self.p, is_causal=True)


@right("kernel-with-a-boolean-mask")
class BooleanMaskKernelAttention(KernelAttention):
    """`scaled_dot_product_attention` with a mask that is true where a key may be seen."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens = queries.shape[2]
        visible = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        return scaled_dot_product_attention(queries, keys, values, visible, self.p)


@right("kernel-with-an-added-mask-and-a-scale")
class AddedMaskKernelAttention(KernelAttention):
    """Scaled queries, a scale of one, and a mask of minus infinities in the scores' format."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens = queries.shape[2]
        mask = torch.zeros(tokens, tokens, dtype=queries.dtype)
        mask = mask.masked_fill(future(tokens), -torch.inf)
        queries = queries / self.head_dim**0.5
        return scaled_dot_product_attention(queries, keys, values, mask, self.p, scale=1.0)


@right("layer-of-pytorch-with-a-mask")
class MaskedLayerAttention(nn.Module):
    """`nn.MultiheadAttention` with the mask that it does not make by itself."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__()
        require_divisible(embed_dim, num_heads)
        require_probability(dropout)
        self.mha = nn.MultiheadAttention(embed_dim, num_heads, dropout, bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W), for any number of tokens."""
        require_batch(x, self.mha.embed_dim)
        output, _ = self.mha(x, x, x, attn_mask=future(x.shape[1]), need_weights=False)
        return output


class Mixture(torch.autograd.Function):
    """softmax(scores) @ values with the derivative written out."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The context and the weights, which the way back needs."""
        weights = scores.softmax(-1)
        return weights @ values, weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep weights and values."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], inputs[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, unused: Tensor) -> tuple[Tensor, Tensor]:
        """Through the quotient: w (g - sum(w g)), where g is the gradient of the weights."""
        weights, values = ctx.saved_tensors
        of_weights = upstream @ values.mT
        along = (weights * of_weights).sum(-1, keepdim=True)
        return weights * (of_weights - along), weights.mT @ upstream


@right("derivative-by-hand")
class HandBackwardAttention(SplitHeads):
    """An autograd function where nothing is dropped, the ordinary way in training."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        if self.training and self.dropout.p:
            return self.dropout(scores.softmax(-1)) @ values
        context: Tensor = Mixture.apply(scores, values)[0]
        return context


# A function has no constructor: it hears of its p when it is called.
@right("function-of-queries-keys-values")
def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = True, dropout_p: float = 0.0
) -> Tensor:
    """A function, with everything around it the suite's."""
    require_probability(dropout_p)
    scores = query @ key.mT / key.shape[-1] ** 0.5
    if is_causal:
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
    return nn.functional.dropout(scores.softmax(-1), dropout_p) @ value
