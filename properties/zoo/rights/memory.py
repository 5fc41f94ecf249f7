"""How memory is used: in place, in pieces, strided, padded, or grown token by token.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, attend, future, require_batch


@right("scores-changed-in-place")
class InPlaceAttention(SplitHeads):
    """Scale and mask are written into the scores, dropout into the weights."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = torch.matmul(queries, keys.transpose(-2, -1))
        scores.mul_(self.head_dim**-0.5).masked_fill_(future(scores.shape[-1]), -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        return torch.matmul(F.dropout(weights, self.dropout.p, self.training), values)


@right("written-into-one-output")
class WrittenOutputAttention(SplitHeads):
    """Each head writes its columns into a tensor made before."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        context = torch.empty_like(values)
        for head in range(self.num_heads):
            scores = queries[:, head] @ keys[:, head].mT / self.head_dim**0.5
            weights = scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-1)
            context[:, head] = self.dropout(weights) @ values[:, head]
        return context


@right("output-not-contiguous")
class StridedOutputAttention(SplitHeads):
    """The output is a view whose columns do not lie side by side."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mT.contiguous().mT

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


@right("two-items-at-a-time")
class BatchPiecesAttention(StridedOutputAttention):
    """The batch in pieces of two, so that few scores exist at once."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        return torch.cat([super(BatchPiecesAttention, self).forward(part) for part in x.split(2)])


@right("padded-to-the-context-length")
class PaddedAttention(SplitHeads):
    """Every sequence is filled up with zeros, which lie in the future, and cut at the end."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens, length = queries.shape[2], self.context_length
        padding = (0, 0, 0, length - tokens)
        queries, keys, values = (F.pad(part, padding) for part in (queries, keys, values))
        scores = queries @ keys.mT / self.head_dim**0.5
        weights = scores.masked_fill(future(length), -torch.inf).softmax(-1)
        return (self.dropout(weights) @ values)[:, :, :tokens]


@right("cache-grown-token-by-token")
class GrowingCacheAttention(SplitHeads):
    """Each token is projected alone and attends to the keys and values kept so far in this call."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        outputs = []
        for token in x.unbind(1):
            query, key, value = (
                layer(token).unflatten(1, (self.num_heads, self.head_dim))
                for layer in (self.W_query, self.W_key, self.W_value)
            )
            keys.append(key)
            values.append(value)
            scores = (torch.stack(keys, 2) * query[:, :, None]).sum(-1) / self.head_dim**0.5
            weights = self.dropout(scores.softmax(-1))[:, :, None]
            context = (weights @ torch.stack(values, 2)).flatten(1)
            outputs.append(self.out_proj(context))
        return torch.stack(outputs, 1)
