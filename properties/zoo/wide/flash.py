"""Functions like flash_attn_func: the steps that wrong ones change, and right ones.

Legend: B batch, T queries, S keys, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.wide import sound

Both = Tensor | tuple[Tensor, Tensor]


class Flash:
    """Bottom right, zero where a query sees nothing, window of others. A step is a method."""

    causal: bool
    asked: bool

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        dropout_p: float,
        scale: float | None,
        causal: bool,
        window: tuple[int, int],
        softcap: float,
        slopes: Tensor | None,
        asked: bool,
    ) -> Both:
        """(B, T, H, D), (B, S, G, D) twice -> (B, T, H, D), and (B, H, T) if asked."""
        self.causal, self.asked = causal, asked
        keys, values = (self.repeat(part, q.shape[2] // part.shape[2]) for part in (k, v))
        scores = torch.einsum("bthd,bshd->bhts", q, keys)
        scores = self.finish_scores(scores, self.factor(q, scale), softcap, slopes)
        hidden = self.hidden(scores, causal, window)
        lse = self.lse(scores, hidden)
        weights = self.weigh(scores, hidden)
        weights = functional.dropout(weights, dropout_p)
        out = torch.einsum("bhts,bshd->bthd", weights, values)
        return (out, lse) if asked else out

    def repeat(self, heads: Tensor, times: int) -> Tensor:
        """(B, S, G, D) -> (B, S, G * times, D)."""
        return heads.repeat_interleave(times, dim=2)

    def factor(self, q: Tensor, scale: float | None) -> float:
        """What scores are multiplied by."""
        return float(q.shape[-1] ** -0.5) if scale is None else scale

    def finish_scores(
        self, scores: Tensor, factor: float, softcap: float, slopes: Tensor | None
    ) -> Tensor:
        """Scale, cap and bias, in that order."""
        scores = self.cap(scores * factor, softcap)
        return scores if slopes is None else scores + self.bias(scores, slopes)

    def cap(self, scores: Tensor, softcap: float) -> Tensor:
        """Scores between -softcap and softcap; 0 is no cap."""
        return softcap * torch.tanh(scores / softcap) if softcap > 0 else scores

    def behind(self, scores: Tensor) -> Tensor:
        """(T, S), how far a key lies behind its query; the last of both are together."""
        queries, keys = scores.shape[-2:]
        last = torch.arange(queries, device=scores.device)[:, None] + keys - queries
        return last - torch.arange(keys, device=scores.device)

    def bias(self, scores: Tensor, slopes: Tensor) -> Tensor:
        """(H, T, S), slopes times the distance, negative."""
        return -slopes[:, None, None].to(scores) * self.behind(scores).abs()

    def hidden(self, scores: Tensor, causal: bool, window: tuple[int, int]) -> Tensor:
        """(T, S), true where a key is hidden."""
        behind = self.behind(scores)
        left, right = window[0], 0 if causal else window[1]
        hidden = torch.zeros_like(behind, dtype=torch.bool)
        if left >= 0:
            hidden |= behind > left
        if right >= 0:
            hidden |= behind < -right
        return hidden

    def lse(self, scores: Tensor, hidden: Tensor) -> Tensor:
        """(B, H, T), the natural logarithm of the denominator."""
        return scores.masked_fill(hidden, -torch.inf).logsumexp(dim=-1)

    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        """Softmax over the keys that are seen."""
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return weights.masked_fill(hidden, 0.0)


def as_function(steps: type[Flash]) -> Callable[..., Both]:
    """The function, with flash_attn_func's signature, that takes these steps."""

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        softcap: float = 0.0,
        alibi_slopes: Tensor | None = None,
        return_lse: bool = False,
    ) -> Both:
        return steps().attend(
            q,
            k,
            v,
            dropout_p,
            softmax_scale,
            causal,
            window_size,
            softcap,
            alibi_slopes,
            return_lse,
        )

    attention.__doc__, attention.__module__ = steps.__doc__, steps.__module__
    attention.__name__ = attention.__qualname__ = steps.__name__
    return attention


right = partial(sound, kind="flash-like", corner="bottom right")


@right("flash-in-one-matrix", empty="zero", window="others", lse="natural", heads="(B, H, T)")
@as_function
class flash_in_one_matrix(Flash):
    """All scores at once."""


@right("flash-block-by-block", empty="zero", window="others", lse="base 2", heads="(B, H, T)")
def flash_block_by_block(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    return_attn_probs: bool = False,
) -> Tensor | tuple[Tensor, Tensor, None]:
    """Blocks of four keys, each rescaling what came before; powers and logarithms of two."""
    if dropout_p:
        raise NotImplementedError(f"dropout_p {dropout_p}: block by block takes 0.0 alone")
    queries, keys, heads, groups = q.shape[1], k.shape[1], q.shape[2], k.shape[2]
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    right_end = 0 if causal else window_size[1]
    reader = torch.arange(heads, device=q.device) // (heads // groups)
    position = torch.arange(keys - queries, keys, device=q.device)
    total = q.new_zeros(q.shape[0], heads, queries)
    highest = torch.full_like(total, torch.finfo(q.dtype).min)
    out = torch.zeros_like(q).transpose(1, 2)
    for start in range(0, keys, 4):
        some = k[:, start : start + 4, reader]
        scores = torch.einsum("bthd,bshd->bhts", q, some) * scale
        if softcap:
            scores = (scores / softcap).tanh() * softcap
        ahead = torch.arange(start, start + some.shape[1], device=q.device) - position[:, None]
        if alibi_slopes is not None:
            scores = scores - alibi_slopes.to(q)[:, None, None] * ahead.abs()
        seen = torch.ones_like(ahead, dtype=torch.bool)
        if window_size[0] >= 0:
            seen &= ahead >= -window_size[0]
        if right_end >= 0:
            seen &= ahead <= right_end
        scores = (scores / math.log(2)).masked_fill(~seen, torch.finfo(q.dtype).min)
        higher = torch.maximum(highest, scores.amax(-1))
        powers = torch.exp2(scores - higher[..., None]).masked_fill(~seen, 0.0)
        rescaled = torch.exp2(highest - higher)
        total = total * rescaled + powers.sum(-1)
        out = out * rescaled[..., None] + torch.einsum(
            "bhts,bshd->bhtd", powers, v[:, start : start + 4, reader]
        )
        highest = higher
    out = (out / total.masked_fill(total == 0, 1.0)[..., None]).transpose(1, 2)
    lse = torch.where(total == 0, -torch.inf, highest + total.clamp_min(1e-30).log2())
    return (out, lse, None) if return_attn_probs else out


@right(
    "flash-query-by-query", empty="zero", window="counts oneself", lse="natural", heads="(B, T, H)"
)
def flash_query_by_query(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    return_lse: bool = False,
) -> Both:
    """Keys of a query are a slice: on each side window_size of them, the query's own among them."""
    times, offset = q.shape[2] // k.shape[2], k.shape[1] - q.shape[1]
    keys, values = k.repeat_interleave(times, 2), v.repeat_interleave(times, 2)
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    left, right = window_size[0], 1 if causal else window_size[1]
    rows, sums = [], []
    for query in range(q.shape[1]):
        here = query + offset
        start = max(0, here - left + 1) if left >= 0 else 0
        stop = max(start, min(k.shape[1], here + right)) if right >= 0 else k.shape[1]
        start = min(start, stop)
        scores = scale * (keys[:, start:stop] * q[:, query, None]).sum(-1)
        scores = softcap * (scores / softcap).tanh() if softcap else scores
        if alibi_slopes is not None:
            away = (torch.arange(start, stop, device=q.device) - here).abs()
            scores = scores - away[:, None] * alibi_slopes.to(q)
        weights = functional.dropout(scores.softmax(dim=1), dropout_p)
        rows.append((weights[..., None] * values[:, start:stop]).sum(1))
        sums.append(scores.logsumexp(dim=1))
    out = torch.stack(rows, dim=1)
    return (out, torch.stack(sums, dim=1)) if return_lse else out
