"""Functions like torch's scaled_dot_product_attention: the steps that wrong ones change, and right ones.

Legend: B batch, H heads, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.wide import sound


class DotProduct:
    """True attends, causal from the top left, NaN where a query sees nothing. A step is a method."""

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        p: float,
        causal: bool,
        scale: float | None,
        groups: bool,
    ) -> Tensor:
        """(B, H, T, D), (B, G, S, D) twice -> (B, H, T, D)."""
        if groups:
            key = self.repeat(key, query.shape[-3] // key.shape[-3])
            value = self.repeat(value, query.shape[-3] // value.shape[-3])
        scores = self.hide(self.score(query, key, self.factor(query, scale)), mask, causal)
        weights = self.normalise(scores)
        return functional.dropout(weights, p) @ value

    def repeat(self, heads: Tensor, times: int) -> Tensor:
        """(B, G, S, D) -> (B, G * times, S, D)."""
        return heads.repeat_interleave(times, dim=-3)

    def factor(self, query: Tensor, scale: float | None) -> float:
        """What scores are multiplied by."""
        return float(query.shape[-1] ** -0.5) if scale is None else scale

    def score(self, query: Tensor, key: Tensor, factor: float) -> Tensor:
        """Scaled scores, (B, H, T, S)."""
        return query @ key.transpose(-2, -1) * factor

    def past(self, scores: Tensor) -> Tensor:
        """(T, S), true where a key is not in the future."""
        return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()

    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Scores after the causal triangle and the caller's mask."""
        if causal:
            scores = scores.masked_fill(~self.past(scores), -torch.inf)
        return scores if mask is None else self.masked(scores, mask)

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores after the caller's mask: minus infinity where it is False, or the sum with it."""
        if mask.dtype == torch.bool:
            return scores.masked_fill(~mask, -torch.inf)
        return scores + mask

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys."""
        return scores.softmax(dim=-1)


def as_function(steps: type[DotProduct]) -> Callable[..., Tensor]:
    """The function, with torch's signature, that takes these steps."""

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        return steps().attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)

    attention.__doc__, attention.__module__ = steps.__doc__, steps.__module__
    attention.__name__ = attention.__qualname__ = steps.__name__
    return attention


right = partial(sound, kind="sdpa-like")


@right("sdpa-as-documented", mask="attends", corner="top left", empty="nan")
def attention_as_documented(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """One bias that gathers what is hidden, as in torch's documentation."""
    queries, keys = query.shape[-2], key.shape[-2]
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    bias = torch.zeros(queries, keys, dtype=query.dtype, device=query.device)
    if is_causal:
        seen = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(diagonal=0)
        bias = bias.masked_fill(seen.logical_not(), float("-inf"))
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        bias = bias.expand(torch.broadcast_shapes(bias.shape, attn_mask.shape))
        bias = bias.masked_fill(attn_mask.logical_not(), float("-inf"))
    elif attn_mask is not None:
        bias = attn_mask + bias
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    weight = torch.softmax(query @ key.transpose(-2, -1) * factor + bias, dim=-1)
    return torch.dropout(weight, dropout_p, train=True) @ value


@right("sdpa-true-hides-by-exponentials", mask="hides", corner="bottom right", empty="zero")
def attention_by_exponentials(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """True hides; keys of a group are read in place; exponentials are divided by their sum."""
    batch, heads, queries, width = query.shape
    groups = key.shape[1] if enable_gqa else heads
    grouped = query.reshape(batch, groups, heads // groups, queries, width)
    scores = torch.einsum("bghtd,bgsd->bghts", grouped, key).flatten(1, 2)
    scores = scores * (width**-0.5 if scale is None else scale)
    hidden = torch.zeros_like(scores, dtype=torch.bool)
    if is_causal:
        steps = torch.arange(key.shape[2], device=query.device)
        last = torch.arange(queries, device=query.device)[:, None] + key.shape[2] - queries
        hidden = hidden | (steps > last)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        hidden = hidden | attn_mask
    elif attn_mask is not None:
        scores = scores + attn_mask
        hidden = hidden | (scores == -torch.inf)
    highest = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).amax(-1, keepdim=True)
    exponentials = (scores - highest).masked_fill(hidden, -torch.inf).exp()
    total = exponentials.sum(-1, keepdim=True)
    weights = exponentials / total.masked_fill(total == 0, 1.0)
    weights = functional.dropout(weights, dropout_p).unflatten(1, (groups, heads // groups))
    return torch.einsum("bghts,bgsd->bghtd", weights, value).flatten(1, 2)


@right("sdpa-with-the-least-number", mask="attends", corner="bottom right", empty="uniform")
def attention_with_the_least_number(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """What is hidden gets the least number that the format has, in one place and once."""
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key = key[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2)
        value = value[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * factor) @ key.mT
    seen = torch.ones_like(scores, dtype=torch.bool)
    if is_causal:
        seen = seen.tril(diagonal=key.shape[-2] - query.shape[-2])
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        seen = seen & attn_mask
    elif attn_mask is not None:
        scores = scores + attn_mask
        seen = seen & (attn_mask > -torch.inf)
    scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
    return functional.dropout(functional.softmax(scores, dim=-1), dropout_p) @ value


@right("sdpa-over-the-kernel", mask="attends", corner="top left", empty="zero")
def attention_over_the_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Torch's kernel, which takes a mask or the causal flag: both become one mask first."""
    if is_causal and attn_mask is not None:
        past = query.new_ones(query.shape[-2], key.shape[-2]).tril().bool()
        if attn_mask.dtype == torch.bool:
            attn_mask = attn_mask & past
        else:
            attn_mask = attn_mask.masked_fill(~past, -torch.inf)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attn_mask,
        dropout_p=dropout_p,
        is_causal=is_causal and attn_mask is None,
        scale=scale,
        enable_gqa=enable_gqa,
    )
