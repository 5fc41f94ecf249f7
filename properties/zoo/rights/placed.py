"""Functions without a causal flag, some of which always hide the future: where the diagonal lies is shown
by a window, by slopes, or by what is hidden.

Legend: B batch, T queries, S keys, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.zoo.rights import right
from properties.zoo.rights.common import require


def ahead(query: Tensor, key: Tensor, last_meet: bool) -> Tensor:
    """(T, S), how far each key is ahead of each query: the last ones stand together, or the first."""
    queries, keys = query.shape[-2], key.shape[-2]
    apart = torch.arange(keys) - torch.arange(queries)[:, None]
    return apart - (keys - queries) if last_meet else apart


@right("window-from-the-bottom-right", "self")
def window_from_the_bottom_right(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """A window of others on either side, besides a mask that is true where a key is seen."""
    apart, (left, right_) = ahead(query, key, last_meet=True), window_size
    seen = ((apart >= -left) | (left < 0)) & ((apart <= right_) | (right_ < 0))
    seen = seen if attn_mask is None else seen & attn_mask
    return scaled_dot_product_attention(query, key, value, seen)


@right(
    "window-that-counts-oneself-from-the-top-left",
    "self",
    unmet=("error/window-below-minus-one",),
)
def window_from_the_top_left(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """So many keys of the past, oneself among them."""
    apart = ahead(query, key, last_meet=False)
    seen = torch.ones_like(apart, dtype=torch.bool)
    seen = seen if window is None else (apart <= 0) & (apart > -window)
    return scaled_dot_product_attention(query, key, value, seen)


@right(
    "window-of-one-width-on-both-sides-from-the-bottom-right",
    "self",
    unmet=("error/window-below-minus-one",),
)
def window_on_both_sides(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """So many others before the query's own key, and as many after it."""
    apart = ahead(query, key, last_meet=True)
    seen = torch.ones_like(apart, dtype=torch.bool)
    seen = seen if window is None else apart.abs() <= window
    return scaled_dot_product_attention(query, key, value, seen)


@right("always-causal-from-the-bottom-right", unmet=("error/window-below-minus-one",))
def always_causal_from_the_bottom_right(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    window: int | None = None,
) -> Tensor:
    """Keys of the past, or of a window of it that counts oneself."""
    apart = ahead(query, key, last_meet=True)
    seen = apart <= 0 if window is None else (apart <= 0) & (apart > -window)
    return scaled_dot_product_attention(query, key, value, seen, dropout_p)


@right("always-causal-from-the-top-left")
def always_causal_from_the_top_left(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0
) -> Tensor:
    """By torch's kernel, which reads past the last value where there are fewer than keys."""
    require(key.shape[-2] == value.shape[-2], f"{key.shape[-2]} keys, {value.shape[-2]} values")
    return scaled_dot_product_attention(query, key, value, dropout_p=dropout_p, is_causal=True)


@right("slopes-from-the-bottom-right", "self")
def slopes_from_the_bottom_right(
    query: Tensor, key: Tensor, value: Tensor, alibi_slopes: Tensor | None = None
) -> Tensor:
    """(H,), taken from the scores for each step that a key is away."""
    return sloping(query, key, value, alibi_slopes, ahead(query, key, last_meet=True))


@right("slopes-from-the-top-left", "self")
def slopes_from_the_top_left(
    query: Tensor, key: Tensor, value: Tensor, alibi_slopes: Tensor | None = None
) -> Tensor:
    """The same, where the first query stands with the first key."""
    return sloping(query, key, value, alibi_slopes, ahead(query, key, last_meet=False))


def sloping(
    query: Tensor, key: Tensor, value: Tensor, slopes: Tensor | None, apart: Tensor
) -> Tensor:
    """Attention with slopes, or without."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if slopes is not None:
        scores = scores - slopes.to(scores)[:, None, None] * apart.abs()
    return scores.softmax(dim=-1) @ value


@right("window-of-128-by-default", unmet=("error/window-below-minus-one",))
def window_with_a_default(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window_size: int = 128,
    causal: bool = False,
    dropout_p: float = 0.0,
) -> Tensor:
    """So many others on both sides, of the past alone with the flag."""
    apart = ahead(query, key, last_meet=True)
    seen = apart.abs() <= window_size
    seen = seen & (apart <= 0) if causal else seen
    return scaled_dot_product_attention(query, key, value, seen, dropout_p)
