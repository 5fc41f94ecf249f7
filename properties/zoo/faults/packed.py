"""Faults of functions of documents that are packed one after the other.

Most are functions of the wide zoo, each with the laws that tell it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.packed import Packed, as_function

FORMULA = "packed/each-document-by-the-formula"
APART = "packed/documents-do-not-see-each-other"
ALONE = "packed/equals-one-call-for-each"
CAUSAL = "packed/causal-in-each-document"
EMPTY = "packed/empty-documents-harm-no-other"
SINGLE = "packed/documents-of-one-token"
FALLING = "error/starts-that-fall"
KEYLESS = "error/document-without-keys"

BREAKS = {
    "packed-documents-see-each-other": (APART, FORMULA, ALONE, CAUSAL, SINGLE),
    "packed-first-token-belongs-to-the-last-document": (FORMULA, APART, SINGLE),
    "packed-causal-over-all": (CAUSAL, ALONE),
    "packed-empty-documents-skipped": (EMPTY,),
    "packed-starts-of-queries-for-keys": (FORMULA, APART, ALONE),
    "packed-groups-tiled": ("groups/each-head-reads-its-own-group",),
    "packed-last-document-dropped": (FORMULA, ALONE),
}
"""By the name of the wrong function."""

for _name, _laws in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source)(_held.target)


@fault(
    "packed-empty-documents-end-the-loop",
    EMPTY,
    symptom="after a document without keys all others give zeros",
)
@as_function
class empty_documents_end_the_loop(Packed):
    """`break` for `continue`."""

    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        hidden = super().hidden(queries, keys, starts, ends, causal)
        ended = ((starts.diff() == 0) | (ends.diff() == 0)).cumsum(0) > 0
        return hidden | ended[self.document(queries, starts)][:, None]


@fault(
    "packed-single-tokens-skipped",
    SINGLE,
    symptom="a document of one token, as in decoding, gives zeros",
)
@as_function
class single_tokens_skipped(Packed):
    """Taken for padding."""

    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        hidden = super().hidden(queries, keys, starts, ends, causal)
        return hidden | (starts.diff() == 1)[self.document(queries, starts)][:, None]


@fault(
    "packed-causal-from-the-first-document",
    CAUSAL,
    symptom="the corner of the first document is used for all of them",
)
@as_function
class corner_of_the_first_document(Packed):
    """Right where all documents have as many keys more than queries."""

    def hidden(self, queries: int, keys: int, starts: Tensor, ends: Tensor, causal: bool) -> Tensor:
        hidden = super().hidden(queries, keys, starts, ends, False)
        if not causal:
            return hidden
        ahead = self.since(keys, ends) - self.since(queries, starts)[:, None]
        return hidden | (ahead > (ends[1] - starts[1]))

    def since(self, tokens: int, starts: Tensor) -> Tensor:
        """(tokens,), how far each token is from the start of its document."""
        return torch.arange(tokens) - starts[self.document(tokens, starts)]


@fault(
    "packed-starts-are-sorted",
    FALLING,
    symptom="starts that fall are put in order: other documents than the caller's",
)
@as_function
class starts_are_sorted(Packed):
    """Meant for starts that come from several workers."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, *others: Any
    ) -> Tensor:
        return super().attend(q, k, v, starts.sort().values, ends.sort().values, *others)


@fault(
    "packed-starts-are-kept-from-falling",
    FALLING,
    symptom="a length below zero is taken for an empty document",
)
@as_function
class starts_are_kept_from_falling(Packed):
    """Lengths are cut at zero."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, *others: Any
    ) -> Tensor:
        return super().attend(q, k, v, starts.cummax(0).values, ends.cummax(0).values, *others)


@fault(
    "packed-query-passed-on-without-keys",
    KEYLESS,
    symptom="a document without keys gives its queries back",
)
@as_function
class query_passed_on(Packed):
    """Rows that were never written to hold what was there before."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, *others: Any
    ) -> Tensor:
        output = super().attend(q, k, v, starts, ends, *others)
        keyless = (ends.diff() == 0)[self.document(len(q), starts)]
        return torch.where(keyless[:, None, None], q, output)


@fault(
    "packed-mean-of-all-without-keys",
    KEYLESS,
    symptom="a document without keys gives the mean of all documents' values",
)
@as_function
class mean_of_all(Packed):
    """The least number everywhere is a row of equal scores."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, *others: Any
    ) -> Tensor:
        output = super().attend(q, k, v, starts, ends, *others)
        keyless = (ends.diff() == 0)[self.document(len(q), starts)]
        mean = self.repeat(v, q.shape[1] // v.shape[1]).mean(0)
        return torch.where(keyless[:, None, None], mean, output)
