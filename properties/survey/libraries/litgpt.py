"""litgpt: its module takes a config and the angles of its positions."""

from __future__ import annotations

from typing import Any

from properties.survey.lines import Line
from properties.survey.masks import of_the_past

LINES = (
    Line(
        "litgpt",
        "CausalSelfAttention, whole heads turned",
        f"{__name__}:attention",
        needs=("lightning",),
    ),
)


def attention(n_embd: int, n_head: int, n_query_groups: int, attn_bias: bool = False) -> Any:
    """The module of a config like Llama's; a mask goes with the causal one, whose place it takes."""
    from litgpt.config import Config
    from litgpt.model import CausalSelfAttention

    class Causal(CausalSelfAttention):  # type: ignore[misc]
        def forward(self, x: Any, cos: Any, sin: Any, mask: Any = None) -> Any:
            return super().forward(x, cos, sin, of_the_past(mask, x.shape[1]))

    config = Config(
        n_embd=n_embd,
        n_head=n_head,
        n_query_groups=n_query_groups,
        head_size=n_embd // n_head,
        rotary_percentage=1.0,
        bias=False,
        attn_bias=attn_bias,
    )
    return Causal(config, 0)
