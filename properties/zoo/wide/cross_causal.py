"""Modules that take a context and hide the future by a flag: right ones of each convention, and wrong ones.

Legend: B batch, T tokens of x, S tokens of the context, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import held, sound
from properties.zoo.wide.cross import PlainCross

right = partial(sound, kind="cross", empty="uniform")
wrong = partial(held, kind="cross", area="cross", empty="uniform")


class PlainDiagonal(PlainCross):
    """The future is hidden where `hides` says so, from the bottom right. A step is a method."""

    hides = crossed = False

    def ahead(self, tokens: int, keys: int) -> int:
        """How many tokens the first query sees besides the first one."""
        return keys - tokens

    def weigh(self, scores: Tensor) -> Tensor:
        """Weights of scores, (B, H, T, S)."""
        if not self.hides:
            return super().weigh(scores)
        past = torch.ones_like(scores, dtype=torch.bool).tril(self.ahead(*scores.shape[-2:]))
        return super().weigh(scores.masked_fill(~past, torch.finfo(scores.dtype).min))


@right("cross-flag-from-the-bottom-right", corner="bottom right")
class FlagFromTheBottomRight(PlainDiagonal):
    """The last query sees the last token."""

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        self.hides, self.crossed = causal, context is not None
        return super().forward(x, context)


@right("cross-flag-from-the-top-left", corner="top left")
class FlagFromTheTopLeft(nn.Module):
    """The context is required; its diagonal is that of torch's function."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(d_model, d_model)
        self.to_kv = nn.Linear(d_model, 2 * d_model)
        self.to_out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, context: Tensor, is_causal: bool = False) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), *self.to_kv(context).chunk(2, dim=-1))
        )
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        output: Tensor = self.to_out(out.transpose(1, 2).flatten(2))
        return output


@right("cross-flag-of-x-alone", corner="x alone")
class FlagOfXAlone(FlagFromTheBottomRight):
    """A decoder's flag: what an encoder has read lies in no future."""

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        return super().forward(x, context, causal and context is None)


@right("cross-flag-of-the-constructor", corner="bottom right")
class FlagOfTheConstructor(PlainDiagonal):
    """Said once: x and the context alike."""

    def __init__(self, d_model: int, num_heads: int, causal: bool = False) -> None:
        super().__init__(d_model, num_heads)
        self.hides = causal


@right("cross-flag-of-the-constructor-for-x-alone", corner="x alone")
class FlagOfTheConstructorForXAlone(PlainDiagonal):
    """Said once: nothing of a context is hidden."""

    def __init__(self, d_model: int, num_heads: int, causal: bool = False) -> None:
        super().__init__(d_model, num_heads)
        self.causal = causal

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        self.hides = self.causal and context is None
        return super().forward(x, context)


@right("cross-flag-beside-a-mask", mask="attends", corner="bottom right")
class FlagBesideAMask(FlagFromTheBottomRight):
    """What either hides is hidden."""

    real: Tensor | None = None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        causal: bool = False,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); mask (B, S)."""
        self.real = None if context is None else context_mask
        return super().forward(x, context, causal)

    def weigh(self, scores: Tensor) -> Tensor:
        if self.real is not None:
            hidden = ~self.real[:, None, None, :].bool()
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return super().weigh(scores)


@wrong(
    "cross-flag-corner-changes-with-more-queries",
    named="causal corner changes with more queries than keys",
    how="cross, causal, more queries",
    symptom="a negative offset is cut: the last queries see the whole context",
    corner="bottom right",
)
class CornerChangesWithMoreQueries(FlagFromTheBottomRight):
    def ahead(self, tokens: int, keys: int) -> int:
        return max(keys - tokens, 0)


@wrong(
    "cross-flag-corner-changes-with-the-batch",
    named="causal corner changes",
    how="cross, causal",
    symptom="one item is answered from one corner, several from the other: two kernels",
    corner="bottom right",
)
class CornerChangesWithTheBatch(FlagFromTheBottomRight):
    def weigh(self, scores: Tensor) -> Tensor:
        self.alone = len(scores) == 1
        return super().weigh(scores)

    def ahead(self, tokens: int, keys: int) -> int:
        return keys - tokens if self.alone else 0


@wrong(
    "cross-flag-ignored-for-other-lengths",
    named="causal ignored where keys and queries differ in number",
    how="cross, causal",
    symptom="a context as long as x is masked, one of any other length is not",
    corner="top left",
)
class FlagIgnoredForOtherLengths(FlagFromTheBottomRight):
    def ahead(self, tokens: int, keys: int) -> int:
        return 0 if tokens == keys else keys


@wrong(
    "cross-flag-ignored",
    named="causal ignored",
    how="plain, causal",
    symptom="taken and handed to nobody",
    corner="top left",
)
class FlagIgnored(FlagFromTheBottomRight):
    def ahead(self, tokens: int, keys: int) -> int:
        return keys


@wrong(
    "cross-flag-one-late-in-a-context",
    named="causal shows the next token where there is a context",
    how="cross, causal",
    symptom="as for a cache that holds the token itself: each query sees one token more",
    corner="bottom right",
)
class OneLateInAContext(FlagFromTheBottomRight):
    def ahead(self, tokens: int, keys: int) -> int:
        return super().ahead(tokens, keys) + self.crossed


@wrong(
    "cross-mask-replaces-the-flag",
    named="mask replaces causal",
    how="cross, causal, padding of the context",
    symptom="beside a padded context every query sees the future",
    mask="attends",
    corner="bottom right",
)
class MaskReplacesTheFlag(FlagBesideAMask):
    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        causal: bool = False,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        masked = context is not None and context_mask is not None
        return super().forward(x, context, causal and not masked, context_mask)
