"""Where the scale goes, and how the future is hidden.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, future


@right("queries-scaled-first")
class QueriesScaledAttention(SplitHeads):
    """The queries are divided by the root, not the scores."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = (queries * self.head_dim**-0.5) @ keys.mT
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values


@right("both-scaled-by-the-fourth-root")
class BothScaledAttention(SplitHeads):
    """Queries and keys each take half of the scale, as kernels for short formats do."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        part = self.head_dim**-0.25
        scores = (queries * part) @ (keys * part).mT
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values


@right("scaled-by-a-tensor")
class TensorScaleAttention(SplitHeads):
    """The root is a tensor made for each call in the scores' own format."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = torch.matmul(queries, keys.transpose(2, 3))
        scores = scores / torch.sqrt(torch.tensor(self.head_dim, dtype=scores.dtype))
        allowed = torch.tril(torch.ones_like(scores))
        scores = scores.masked_fill(allowed == 0, float("-inf"))
        return torch.matmul(self.dropout(torch.softmax(scores, dim=3)), values)


@right("scaled-after-the-mask")
class ScaledAfterMaskAttention(SplitHeads):
    """Minus infinity is divided by the root along with the rest."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT
        scores = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        return self.dropout((scores / self.head_dim**0.5).softmax(-1)) @ values


@right("filled-with-the-most-negative-number")
class FiniteMaskAttention(SplitHeads):
    """Hidden scores become the most negative number, whose exponential is zero."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        scores = scores.masked_fill(future(scores.shape[-1]), torch.finfo(scores.dtype).min)
        return self.dropout(scores.softmax(-1)) @ values


@right("most-negative-number-added")
class AddedFiniteMaskAttention(SplitHeads):
    """The most negative number is added to hidden scores; what is left of them is far below."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        lowest = torch.finfo(scores.dtype).min
        scores = scores + future(scores.shape[-1]).to(scores.dtype) * lowest
        return self.dropout(scores.softmax(-1)) @ values


@right("minus-infinity-added")
class AddedMaskAttention(SplitHeads):
    """A mask of zeros and minus infinities, made for each call."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        tokens = scores.shape[-1]
        mask = torch.full((tokens, tokens), -torch.inf, dtype=scores.dtype).triu(1)
        return self.dropout((scores + mask).softmax(-1)) @ values


@right("chosen-by-where")
class WhereAttention(SplitHeads):
    """`torch.where` between the score and minus infinity, by comparing positions."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        place = torch.arange(scores.shape[-1])
        visible = place[None, :] <= place[:, None]
        scores = torch.where(visible, scores, -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values


@right("hidden-by-index")
class HiddenByIndexAttention(SplitHeads):
    """Minus infinity is written at the places above the diagonal."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        rows, columns = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1)
        scores[..., rows, columns] = -torch.inf
        return self.dropout(scores.softmax(-1)) @ values


@right(
    "mask-buffer-outside-the-state-dict",
    unmet=("state/survives-deferred-construction",),  # checkpoints stay small
)
class BufferedMaskAttention(SplitHeads):
    """The mask is a buffer of four axes that holds ones where a key may be seen."""

    def __init__(self, *args: int, **kwargs: int) -> None:
        super().__init__(*args, **kwargs)
        length = self.context_length
        visible = torch.tril(torch.ones(length, length)).view(1, 1, length, length)
        self.register_buffer("visible", visible, persistent=False)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        tokens = scores.shape[-1]
        scores = scores.masked_fill(self.visible[:, :, :tokens, :tokens] == 0, -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values


@right("mask-and-scale-inside-the-product")
class BaddbmmAttention(SplitHeads):
    """One call multiplies, scales and adds the mask; the heads lie in the batch."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        batch, heads, tokens, width = queries.shape
        queries, keys, values = (
            part.reshape(batch * heads, tokens, width) for part in (queries, keys, values)
        )
        mask = queries.new_full((tokens, tokens), -torch.inf).triu(1)
        scores = torch.baddbmm(
            mask.expand(batch * heads, -1, -1), queries, keys.mT, alpha=width**-0.5
        )
        context = torch.bmm(self.dropout(scores.softmax(-1)), values)
        return context.reshape(batch, heads, tokens, width)


@right("keys-first")
class KeysFirstAttention(SplitHeads):
    """Scores lie as (keys, queries): the softmax runs down the columns."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = keys @ queries.mT / self.head_dim**0.5
        scores = scores.masked_fill(future(scores.shape[-1]).T, -torch.inf)
        weights = self.dropout(scores.softmax(dim=-2))
        return (values.mT @ weights).mT


@right("mask-made-again-by-reset-parameters")
class ResetMaskAttention(SplitHeads):
    """The mask is a buffer outside the state_dict; deferred construction calls for it again."""

    future: Tensor

    def __init__(self, *args: int, **kwargs: int) -> None:
        super().__init__(*args, **kwargs)
        length = self.context_length
        empty = torch.empty(length, length, dtype=torch.bool)
        self.register_buffer("future", empty, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """What is not saved, from nothing."""
        self.future.copy_(torch.ones_like(self.future).triu(1))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        tokens = scores.shape[-1]
        scores = scores.masked_fill(self.future[:tokens, :tokens], -torch.inf)
        return self.dropout(scores.softmax(-1)) @ values
