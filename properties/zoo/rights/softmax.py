"""How the exponentials are taken, normalised and added up.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, future


class Scored(SplitHeads):
    """Attention by scaled and masked scores; how they become a context is each one's own."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        return self.mix(scores.masked_fill(future(scores.shape[-1]), -torch.inf), values)

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        """(B, H, T, T) and (B, H, T, D) -> (B, H, T, D)."""
        raise NotImplementedError


@right("softmax-in-at-least-float32")
class UpcastSoftmaxAttention(Scored):
    """Short formats take their softmax in float32."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        wide = torch.promote_types(scores.dtype, torch.float32)
        weights = F.softmax(scores, dim=-1, dtype=wide).to(values.dtype)
        return self.dropout(weights) @ values


@right("weights-kept-in-float64")
class WideWeightsAttention(Scored):
    """Softmax and mixture in float64, and back at the end."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        weights = scores.double().softmax(-1)
        return (self.dropout(weights) @ values.double()).to(values.dtype)


@right("everything-in-float64")
class DoubleAttention(Scored):
    """All between the projections in float64, whatever comes in."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        wide = super().attend(queries.double(), keys.double(), values.double())
        return wide.to(values.dtype)

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        return self.dropout(scores.softmax(-1)) @ values


@right("exponential-of-log-softmax")
class LogSoftmaxAttention(Scored):
    """The logarithm of the weights first."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        return self.dropout(F.log_softmax(scores, dim=-1).exp()) @ values


@right("log-sum-exp-taken-back-into-the-exponent")
class LogSumExpAttention(Scored):
    """No quotient: the logarithm of the sum is subtracted before the exponential."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        weights = torch.exp(scores - torch.logsumexp(scores, dim=-1, keepdim=True))
        return self.dropout(weights) @ values


@right("softmin-of-negated-scores")
class SoftminAttention(Scored):
    """Softmin turns the sign round, so the scores are turned round before."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        return self.dropout(F.softmin(-scores, dim=-1)) @ values


@right("softmax-by-hand")
class HandSoftmaxAttention(Scored):
    """Maximum, exponential, sum and quotient, each written out."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        exponentials = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
        weights = exponentials / exponentials.sum(dim=-1, keepdim=True)
        return self.dropout(weights) @ values


@right("normalised-after-the-mixture")
class NormalisedLastAttention(Scored):
    """The quotient is taken of the mixed values, D numbers instead of T."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        exponentials = torch.exp(scores - scores.detach().amax(dim=-1, keepdim=True))
        mixed = self.dropout(exponentials) @ values
        return mixed / exponentials.sum(dim=-1, keepdim=True)


@right("normalised-by-multiplying")
class ReciprocalAttention(Scored):
    """Each row is multiplied by the reciprocal of its sum, and its exponentials are powers of two."""

    def mix(self, scores: Tensor, values: Tensor) -> Tensor:
        shifted = scores - scores.detach().amax(dim=-1, keepdim=True)
        powers = torch.exp2(shifted * 1.4426950408889634)
        weights = powers * powers.sum(dim=-1, keepdim=True).reciprocal()
        return self.dropout(weights) @ values


@right("online-softmax-in-blocks-of-keys")
class OnlineSoftmaxAttention(SplitHeads):
    """Three keys at a time, with a running maximum and a running sum."""

    block = 3

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens = queries.shape[2]
        context = torch.zeros_like(values)
        total = torch.zeros_like(values[..., :1])
        highest = torch.full_like(total, -torch.inf)
        for start in range(0, tokens, self.block):
            stop = min(start + self.block, tokens)
            scores = queries @ keys[:, :, start:stop].mT * self.head_dim**-0.5
            scores = scores.masked_fill(future(tokens)[:, start:stop], -torch.inf)
            higher = torch.maximum(highest, scores.amax(dim=-1, keepdim=True))
            shrink = torch.exp(highest - higher)
            exponentials = torch.exp(scores - higher)
            total = total * shrink + exponentials.sum(dim=-1, keepdim=True)
            mixed = self.dropout(exponentials) @ values[:, :, start:stop]
            context, highest = context * shrink + mixed, higher
        return context / total


@right("row-by-row")
class RowByRowAttention(SplitHeads):
    """One query at a time over the keys that it sees: nothing needs hiding."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        rows = []
        for token in range(queries.shape[2]):
            seen = slice(0, token + 1)
            scores = queries[:, :, token, None] @ keys[:, :, seen].mT / self.head_dim**0.5
            rows.append(self.dropout(scores.softmax(-1)) @ values[:, :, seen])
        return torch.cat(rows, dim=2)


@right("blocks-of-queries")
class QueryBlocksAttention(SplitHeads):
    """Two queries at a time over the keys up to the last of them."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        blocks, start = [], 0
        for block in queries.split(2, dim=2):
            stop = start + block.shape[2]
            scores = block @ keys[:, :, :stop].mT / self.head_dim**0.5
            scores = scores.masked_fill(future(stop)[start:], -torch.inf)
            blocks.append(self.dropout(scores.softmax(-1)) @ values[:, :, :stop])
            start = stop
        return torch.cat(blocks, dim=2)


@right("sums-written-as-products")
class BroadcastAttention(SplitHeads):
    """No matrix product: broadcast, multiply, add up."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        products = queries[:, :, :, None, :] * keys[:, :, None, :, :]
        scores = products.sum(-1) / self.head_dim**0.5
        weights = scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-1)
        return (self.dropout(weights)[..., None] * values[:, :, None]).sum(3)


@right("online-softmax-from-the-last-tile")
class LastTileFirstAttention(SplitHeads):
    """Tiles of 32 keys, the last one first: all that a query sees first may be hidden from it."""

    tile = 32

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens = queries.shape[2]
        context = torch.zeros_like(values)
        total = torch.zeros_like(values[..., :1])
        highest = torch.full_like(total, -torch.inf)
        for start in reversed(range(0, tokens, self.tile)):
            part = slice(start, start + self.tile)
            scores = queries @ keys[:, :, part].mT * self.head_dim**-0.5
            scores = scores.masked_fill(future(tokens)[:, part], -torch.inf)
            highest, before = torch.maximum(highest, scores.amax(dim=-1, keepdim=True)), highest
            base = highest.nan_to_num(neginf=0.0)  # nothing was seen so far
            shrink, exponentials = torch.exp(before - base), torch.exp(scores - base)
            total = total * shrink + exponentials.sum(dim=-1, keepdim=True)
            context = context * shrink + self.dropout(exponentials) @ values[:, :, part]
        return context / total
