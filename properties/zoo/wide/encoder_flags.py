"""Modules of tokens alone whose forward hides the future by a flag: right ones and wrong ones.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import held, sound
from properties.zoo.wide.encoder import PlainEncoder

right = partial(sound, kind="encoder")
wrong = partial(held, kind="encoder")


class PlainFlag(PlainEncoder):
    """The future is hidden where the flag says so. A step is a method."""

    causal = False

    def forward(  # type: ignore[override]
        self, x: Tensor, is_causal: bool = False
    ) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        self.causal = is_causal
        return super().forward(x)

    def weigh(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        """Weights of scores, (B, H, T, T)."""
        return super().weigh(scores, self.past(scores[0, 0]) if self.causal else seen)

    def past(self, scores: Tensor) -> Tensor:
        """(T, T), true where a key is seen."""
        return torch.ones_like(scores, dtype=torch.bool).tril()


@right("encoder-flag-of-the-kernel")
class FlagOfTheKernel(nn.Module):
    """The flag is handed to torch's function."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, is_causal: bool = False) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        context = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        output: Tensor = self.proj(context.transpose(1, 2).flatten(2))
        return output


@right("encoder-flag-on-by-default", causal="default")
class FlagOnByDefault(FlagOfTheKernel):
    """A decoder, unless it is told otherwise."""

    def forward(self, x: Tensor, is_causal: bool = True) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return super().forward(x, is_causal)


@right("encoder-flag-with-a-buffer")
class FlagWithABuffer(PlainFlag):
    """The triangle is kept, and used where it is asked for."""

    past_of_all: Tensor

    def __init__(self, d_model: int, n_heads: int, context_length: int) -> None:
        super().__init__(d_model, n_heads)
        triangle = torch.ones(context_length, context_length, dtype=torch.bool).tril()
        self.register_buffer("past_of_all", triangle)

    def forward(  # type: ignore[override]
        self, x: Tensor, use_causal_mask: bool = False
    ) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return super().forward(x, use_causal_mask)

    def past(self, scores: Tensor) -> Tensor:
        return self.past_of_all[: len(scores), : len(scores)]


@right("encoder-flag-beside-padding", mask="attends", masks="keys", empty="uniform")
class FlagBesidePadding(PlainEncoder):
    """A mask made anew; both hide."""

    causal = False

    def forward(
        self, x: Tensor, padding_mask: Tensor | None = None, causal_mask: bool = False
    ) -> Tensor:
        """(B, T, d_model), (B, T) -> (B, T, d_model)."""
        self.causal = causal_mask
        return super().forward(x, padding_mask)

    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        """The least number where a key is padding, or in the future."""
        if not self.causal:
            return super().hide(scores, seen)
        past = torch.ones_like(scores, dtype=torch.bool).tril()
        return super().hide(scores, past if seen is None else past & seen)


@right("encoder-flag-with-kept-masks")
class FlagWithKeptMasks(PlainFlag):
    """One mask for each length and each answer to the flag."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        self.kept: dict[object, Tensor] = {}

    def weigh(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        everything = torch.ones_like(scores[0, 0], dtype=torch.bool)
        seen = self.past(scores[0, 0]) if self.causal else everything
        return PlainEncoder.weigh(self, scores, self.kept.setdefault(self.key(len(seen)), seen))

    def key(self, tokens: int) -> object:
        """By what a mask is kept."""
        return tokens, self.causal


@wrong(
    "encoder-flag-mask-kept-by-length",
    area="memory",
    named="mask of an earlier call",
    how="causal after a call without",
    symptom="the mask of the first call of a length serves all others, whatever the flag says",
)
class MaskKeptByLength(FlagWithKeptMasks):
    def key(self, tokens: int) -> object:
        return tokens


@wrong(
    "encoder-flag-ignored",
    area="mask",
    named="causal ignored",
    how="causal",
    symptom="taken and handed to nobody",
)
class FlagIgnored(PlainFlag):
    def past(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool)


@wrong(
    "encoder-flag-one-late",
    area="mask",
    named="causal shows the next token",
    how="causal",
    symptom="the diagonal above the main one is seen as well",
)
class FlagOneLate(PlainFlag):
    def past(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).tril(1)


@wrong(
    "encoder-flag-shows-the-future",
    area="mask",
    named="causal shows the future alone",
    how="causal",
    symptom="the triangle was turned over: the past is hidden",
)
class FlagShowsTheFuture(PlainFlag):
    def past(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).triu()


@wrong(
    "encoder-flag-cannot-be-switched-off",
    area="mask",
    named="causal where nothing is hidden",
    how="not causal",
    symptom="on by default, and on where it is given as False",
    causal="default",
)
class FlagCannotBeSwitchedOff(FlagOnByDefault):
    def forward(self, x: Tensor, is_causal: bool = True) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return super().forward(x)
