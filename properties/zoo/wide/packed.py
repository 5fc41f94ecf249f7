"""Functions of documents packed one after the other: right ones and wrong ones.

Legend: N queries and M keys of all documents, H heads, G heads of keys and values, D head_dim;
cu_seqlens (documents + 1,), where each document starts and the last one ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.wide import held, sound


class Packed:
    """Documents one by one, causal from the bottom right of each. A step is a method."""

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        starts: Tensor,
        ends: Tensor,
        p: float,
        scale: float | None,
        causal: bool,
    ) -> Tensor:
        """(N, H, D), (M, G, D) twice -> (N, H, D); starts of queries, then of keys."""
        times = q.shape[1] // k.shape[1]
        hidden = self.hidden(len(q), len(k), starts, ends, causal)
        keys, values = self.repeat(k, times), self.repeat(v, times)
        scores = torch.einsum("nhd,mhd->hnm", q, keys) * self.factor(q, scale)
        scores = scores.masked_fill(hidden, torch.finfo(q.dtype).min)
        weights = scores.softmax(dim=-1).masked_fill(hidden, 0.0)
        return torch.einsum("hnm,mhd->nhd", functional.dropout(weights, p), values)

    def repeat(self, heads: Tensor, times: int) -> Tensor:
        """(M, G, D) -> (M, H, D)."""
        return heads.repeat_interleave(times, dim=1)

    def factor(self, q: Tensor, scale: float | None) -> float:
        """What scores are multiplied by."""
        return float(q.shape[-1] ** -0.5) if scale is None else scale

    def document(self, tokens: int, starts: Tensor) -> Tensor:
        """(tokens,), the document of each token."""
        return torch.bucketize(torch.arange(tokens), starts[1:], right=True)

    def position(self, tokens: int, starts: Tensor) -> Tensor:
        """(tokens,), how far each token is from the end of its document, negative."""
        ends = starts[1:][self.document(tokens, starts)]
        return torch.arange(tokens) - ends

    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        """(N, M), true where a key is hidden."""
        hidden = self.document(queries, starts)[:, None] != self.document(keys, ends)
        if causal:
            later = self.position(keys, ends) > self.position(queries, starts)[:, None]
            hidden = hidden | later
        return hidden


def as_function(steps: type[Packed]) -> Callable[..., Tensor]:
    """The function, with the usual signature, that takes these steps."""

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
    ) -> Tensor:
        starts, ends = cu_seqlens_q.long(), cu_seqlens_k.long()
        return steps().attend(q, k, v, starts, ends, dropout_p, softmax_scale, causal)

    attention.__doc__, attention.__module__ = steps.__doc__, steps.__module__
    attention.__name__ = attention.__qualname__ = steps.__name__
    return attention


right = partial(sound, kind="packed", corner="bottom right", empty="zero")


@right("packed-in-one-matrix")
@as_function
class packed_in_one_matrix(Packed):
    """One matrix of blocks."""


@right("packed-one-by-one")
def packed_one_by_one(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """A call of the kernel for each document."""
    parts = []
    bounds_q, bounds_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    for document in range(len(bounds_q) - 1):
        queries = q[bounds_q[document] : bounds_q[document + 1]].transpose(0, 1)
        keys = k[bounds_k[document] : bounds_k[document + 1]].transpose(0, 1)
        values = v[bounds_k[document] : bounds_k[document + 1]].transpose(0, 1)
        if not queries.shape[1] or not keys.shape[1]:
            parts.append(torch.zeros_like(queries.transpose(0, 1)))
            continue
        times = len(queries) // len(keys)
        keys, values = keys.repeat_interleave(times, 0), values.repeat_interleave(times, 0)
        seen = torch.ones(queries.shape[1], keys.shape[1], dtype=torch.bool)
        seen = seen.tril(keys.shape[1] - queries.shape[1]) if causal else seen
        out = functional.scaled_dot_product_attention(
            queries, keys, values, seen, dropout_p, scale=softmax_scale
        )
        parts.append(out.masked_fill(~seen.any(-1)[:, None], 0.0).transpose(0, 1))
    return torch.cat(parts)


@right("packed-by-padding")
def packed_by_padding(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """Documents become a padded batch and are packed again afterwards."""
    lengths_q, lengths_k = cu_seqlens_q.diff(), cu_seqlens_k.diff()
    if (lengths_q < 0).any() or (lengths_k < 0).any():
        raise ValueError(f"starts {cu_seqlens_q} and {cu_seqlens_k}, expected none that falls")
    real_q = torch.arange(max_seqlen_q) < lengths_q[:, None]
    real_k = torch.arange(max_seqlen_k) < lengths_k[:, None]
    padded_q = q.new_zeros(*real_q.shape, *q.shape[1:])
    padded_k, padded_v = (part.new_zeros(*real_k.shape, *part.shape[1:]) for part in (k, v))
    padded_q[real_q], padded_k[real_k], padded_v[real_k] = q, k, v
    groups = k.shape[1]
    grouped = padded_q.unflatten(2, (groups, -1))
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    scores = torch.einsum("btged,bsgd->bgets", grouped, padded_k) * scale
    seen = real_q[:, :, None] & real_k[:, None, :]
    if causal:
        behind = (lengths_k - lengths_q)[:, None, None] + torch.arange(max_seqlen_q)[:, None]
        seen = seen & (torch.arange(max_seqlen_k) <= behind)
    seen = seen[:, None, None]
    weights = scores.masked_fill(~seen, torch.finfo(q.dtype).min).softmax(-1) * seen
    weights = functional.dropout(weights, dropout_p)
    return torch.einsum("bgets,bsgd->btged", weights, padded_v).flatten(2, 3)[real_q]


wrong = partial(held, kind="packed", area="packed", corner="bottom right", empty="zero")


@wrong(
    "packed-documents-see-each-other",
    named="documents see each other",
    how="plain",
    symptom="one causal triangle over everything that was packed",
    source="huggingface/nanoVLM#204, axolotl-ai-cloud/axolotl#3796",
)
@as_function
class documents_see_each_other(Packed):
    def document(self, tokens: int, starts: Tensor) -> Tensor:
        return torch.zeros(tokens, dtype=torch.long)

    def position(self, tokens: int, starts: Tensor) -> Tensor:
        return torch.arange(tokens) - tokens


@wrong(
    "packed-first-token-belongs-to-the-last-document",
    named="documents start one token late",
    how="plain",
    symptom="the first token of a document is the last one of the document before",
)
@as_function
class documents_start_late(Packed):
    def document(self, tokens: int, starts: Tensor) -> Tensor:
        late = torch.bucketize(torch.arange(tokens), starts[1:], right=False)
        return late.clamp(max=len(starts) - 2)


@wrong(
    "packed-causal-from-the-top-left",
    area="cross",
    named="causal from the top left",
    how="causal, cross",
    symptom="where a document has more keys than queries its queries see the first ones",
    source="Dao-AILab/flash-attention README 2.1",
    fits="top left",
)
@as_function
class packed_causal_from_the_top_left(Packed):
    def position(self, tokens: int, starts: Tensor) -> Tensor:
        return torch.arange(tokens) - starts[self.document(tokens, starts)]


@wrong(
    "packed-causal-over-all",
    named="causal counts tokens of all documents",
    how="causal, cross",
    symptom="right for T = S; elsewhere a document's triangle is shifted by those before it",
)
@as_function
class causal_over_all(Packed):
    def position(self, tokens: int, starts: Tensor) -> Tensor:
        return torch.arange(tokens) - tokens


@wrong(
    "packed-empty-documents-skipped",
    named="empty documents skipped",
    how="empty documents",
    symptom="after an empty document queries read the keys of the document before theirs",
)
@as_function
class empty_documents_skipped(Packed):
    def document(self, tokens: int, starts: Tensor) -> Tensor:
        return super().document(tokens, starts.unique_consecutive())

    def position(self, tokens: int, starts: Tensor) -> Tensor:
        return super().position(tokens, starts.unique_consecutive())


@wrong(
    "packed-starts-of-queries-for-keys",
    named="starts of queries for keys",
    how="cross",
    symptom="cu_seqlens_k is taken and never read: silent where lengths agree",
)
@as_function
class starts_of_queries_for_keys(Packed):
    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        return super().hidden(queries, keys, starts, starts, causal)

    def position(self, tokens: int, starts: Tensor) -> Tensor:
        ends = torch.cat([starts[1:], starts[-1:]])
        return torch.arange(tokens) - ends[self.document(tokens, starts)]


@wrong(
    "packed-groups-tiled",
    area="groups",
    named="groups tiled",
    how="groups",
    symptom="head h reads group h % G",
    source="onnx/onnx#7274",
)
@as_function
class packed_groups_tiled(Packed):
    def repeat(self, heads: Tensor, times: int) -> Tensor:
        return heads.repeat(1, times, 1)


@wrong(
    "packed-last-document-dropped",
    named="last document dropped",
    how="plain",
    symptom="a loop over the starts ends one document early: its rows are zero",
)
@as_function
class last_document_dropped(Packed):
    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        hidden = super().hidden(queries, keys, starts, ends, causal)
        return hidden | (self.document(queries, starts) == len(starts) - 2)[:, None]
