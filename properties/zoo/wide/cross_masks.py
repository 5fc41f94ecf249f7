"""Modules with a context that ignore its mask, or read it of another item of the batch.

Legend: B batch, T tokens of x, S tokens of the context, H heads.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import held, sound
from properties.zoo.wide.cross import CrossWithTwoMasks

right = partial(sound, kind="cross", empty="uniform", mask="attends")
wrong = partial(held, kind="cross", area="cross", empty="uniform", mask="attends")


class PlainRequired(nn.Module):
    """Queries from x, keys and values from a context that has to be given."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(d_model, d_model)
        self.to_k, self.to_v = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.to_out = nn.Linear(d_model, d_model)

    def attend(self, x: Tensor, context: Tensor, seen: Tensor | None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); seen: broadcast to (B, H, T, S)."""
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, seen)
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output


@right("cross-padding-of-a-required-context")
class PaddingOfARequiredContext(PlainRequired):
    """The mask is of the context, (B, S), whatever it is called. A step is a method."""

    def forward(self, x: Tensor, context: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        seen = None if attention_mask is None else self.widen(attention_mask.bool())
        return self.attend(x, context, seen)

    def widen(self, mask: Tensor) -> Tensor:
        """(B, 1, 1, S), or (B, H, 1, S)."""
        return mask[:, None, None]


@right("cross-mask-that-zeroes-rows-of-x")
class MaskThatZeroesRowsOfX(PlainRequired):
    """Of padding in x nothing is left in the output; no token of the context is hidden."""

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); mask (B, T)."""
        output = self.attend(x, context, None)
        return output if mask is None else output * mask[..., None]


@wrong(
    "cross-mask-of-a-required-context-ignored",
    named="mask ignored",
    how="padding of a required context",
    symptom="taken, and deleted: padding of the context takes part",
)
class MaskOfARequiredContextIgnored(PaddingOfARequiredContext):
    def forward(self, x: Tensor, context: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        del attention_mask
        return self.attend(x, context, None)


@wrong(
    "cross-mask-of-the-context-ignored",
    named="mask ignored where there is a context",
    how="padding of the context",
    symptom="x is masked, a padded context is read whole",
)
class MaskOfTheContextIgnored(CrossWithTwoMasks):
    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); masks (B, T), (B, S)."""
        return super().forward(x, context, mask, None)


@wrong(
    "cross-padding-of-the-first-item",
    named="mask of the first item for all",
    how="padding of a required context",
    symptom="right where all contexts of a batch are padded alike",
)
class PaddingOfTheFirstItem(PaddingOfARequiredContext):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask)[:1]


@wrong(
    "cross-padding-cut-to-the-first-item",
    named="mask of the first item for all",
    how="padding of a required context",
    symptom="the same before its axes are widened, where a mask of one item is read by its first row",
)
class PaddingCutToTheFirstItem(PaddingOfARequiredContext):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask[:1])


@wrong(
    "cross-padding-of-the-item-before",
    named="padding of another item",
    how="padding of a required context",
    symptom="contexts are shifted against their masks",
)
class PaddingOfTheItemBefore(PaddingOfARequiredContext):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask.roll(1, 0))


@wrong(
    "cross-padding-tiled-over-heads",
    named="padding of another item",
    how="padding of a required context",
    symptom="repeat(H, 1) for repeat_interleave(H): heads read the padding of other items",
)
class PaddingTiledOverHeads(PaddingOfARequiredContext):
    def widen(self, mask: Tensor) -> Tensor:
        batch, keys = mask.shape
        return mask.repeat(self.num_heads, 1).view(batch, self.num_heads, 1, keys)
