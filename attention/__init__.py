"""Attention in PyTorch, one step at a time: plain, trainable, causal, multi-head, fused.

Read `functional` first (the mathematics), then `modules` (the parameters), then `fused` (the
last module again, on PyTorch's own kernel). `checks` holds the errors that they raise.
"""

from attention import functional
from attention.fused import FusedMultiHeadAttention
from attention.modules import (
    CausalAttention,
    MultiHeadAttention,
    MultiHeadAttentionWrapper,
    SelfAttention_v1,
    SelfAttention_v2,
    SimplifiedSelfAttention,
)

DISTRIBUTION = "attention-properties"  # which of the packages of this name it is

__all__ = [
    "CausalAttention",
    "FusedMultiHeadAttention",
    "MultiHeadAttention",
    "MultiHeadAttentionWrapper",
    "SelfAttention_v1",
    "SelfAttention_v2",
    "SimplifiedSelfAttention",
    "functional",
]
