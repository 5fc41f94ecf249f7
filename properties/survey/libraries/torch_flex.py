"""torch's flex_attention without a compiler: its scores are changed by a function of the caller's."""

from __future__ import annotations

from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from properties.survey.lines import Line

LINES = (Line("torch", "flex_attention, eager", f"{__name__}:eager_attention"),)


def eager_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    is_causal: bool = False,
    softcap: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """With a score_mod of these: a cap, then a bias (B, H, T, S), then the past alone."""
    shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    added = None if bias is None else bias.expand(shape)

    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if softcap:
            score = softcap * (score / softcap).tanh()
        if added is not None:
            score = score + added[b, h, i, j]
        return score.where(i >= j, -float("inf")) if is_causal else score

    context: Tensor = flex_attention(
        query, key, value, score_mod=score_mod, scale=scale, enable_gqa=enable_gqa
    )
    return context
