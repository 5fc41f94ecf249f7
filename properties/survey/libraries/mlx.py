"""MLX: its fast attention, whose one argument is a mask, a bias or the word "causal"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from properties.survey.lines import Line

if TYPE_CHECKING:
    import mlx.core as mx

LINES = (Line("mlx", "core.fast.scaled_dot_product_attention", f"{__name__}:attention"),)


def attention(
    query: mx.array,
    key: mx.array,
    value: mx.array,
    mask: mx.array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    sinks: mx.array | None = None,
) -> mx.array:
    """With the usual scale where none is given, which it requires.

    Raises ValueError for a mask and the flag together: there is one argument for both.
    """
    import mlx.core as mx

    if mask is not None and is_causal:
        raise ValueError("a mask, or the causal flag")
    return mx.fast.scaled_dot_product_attention(
        query,
        key,
        value,
        scale=query.shape[-1] ** -0.5 if scale is None else scale,
        mask="causal" if is_causal else mask,
        sinks=sinks,
    )
