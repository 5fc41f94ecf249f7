"""torchtune: its module is handed its layers by the caller."""

from __future__ import annotations

from typing import Any

from properties.survey.lines import Line
from properties.survey.masks import of_the_past

LINES = (
    Line(
        "torchtune",
        "MultiHeadAttention of linear layers",
        f"{__name__}:attention",
        needs=("torchao",),
    ),
)


def attention(
    embed_dim: int,
    num_heads: int,
    num_kv_heads: int,
    qkv_bias: bool = False,
    attn_dropout: float = 0.0,
) -> Any:
    """The module, called on x as its own context; a mask goes with the causal one, whose place it takes."""
    from torch import nn
    from torchtune.modules import MultiHeadAttention

    class OnItself(MultiHeadAttention):  # type: ignore[misc]
        def forward(self, x: Any, mask: Any = None) -> Any:
            return super().forward(x, x, mask=of_the_past(mask, x.shape[1]))

    head_dim = embed_dim // num_heads
    shared = num_kv_heads * head_dim
    return OnItself(
        embed_dim=embed_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        q_proj=nn.Linear(embed_dim, embed_dim, bias=qkv_bias),
        k_proj=nn.Linear(embed_dim, shared, bias=qkv_bias),
        v_proj=nn.Linear(embed_dim, shared, bias=qkv_bias),
        output_proj=nn.Linear(embed_dim, embed_dim, bias=False),
        attn_dropout=attn_dropout,
    )
