"""Wrong documents: where they start, whom they see, and from where the causal flag counts in them.

A form is one call of all that was packed, with a mask of its own.

Legend: B documents, one an item; T queries, S keys, H heads; N queries and M keys of all documents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import form
from properties.findings.names.calls.form import RefusedError
from properties.subjects.call import Lengths, Seen

STARTS = "where documents start and end, in cu_seqlens"


@dataclass(frozen=True, eq=False)
class Side:
    """The tokens of all documents, of queries or of keys.

    starts: (B + 1,); document: (N,), the one that each token is in; place: (N,), where it stands: after
    the start of its document or before its end, which is below zero.
    """

    starts: Lengths
    document: Lengths
    place: Lengths

    @property
    def tokens(self) -> int:
        """N."""
        return int(self.document.size)


Change = Callable[[Question, Side, Side], tuple[Side, Side]]


def side(asked: Question, starts: Lengths, tokens: int, document: Lengths | None = None) -> Side:
    """The tokens by these starts; in these documents, if they are others. Where no probe could tell the
    corner, it is the last one, as is usual with such functions.
    """
    if document is None:
        document = np.searchsorted(starts[1:], np.arange(tokens), side="right")
    first = asked.case.subject.conventions.align == "top left"
    edges = starts if first else np.append(starts[1:], starts[-1])
    return Side(starts, document, np.arange(tokens) - edges[np.minimum(document, len(edges) - 1)])


def lengths(asked: Question) -> Lengths:
    """(B, 2), those of each document; RefusedError where documents cannot be told."""
    if "documents" not in asked.case.subject.takes or not asked.function:
        raise RefusedError("no documents")
    if asked.arguments.documents is not None:
        return asked.arguments.documents
    batch, _, tokens, keys = asked.shape
    return np.full((batch, 2), (tokens, keys), dtype=np.int64)


def real(asked: Question) -> tuple[Seen, Seen]:
    """(B, T) and (B, S), true where a query or a key is there."""
    queries, keys = lengths(asked).T
    tokens, others = asked.shape[2:]
    return np.arange(tokens) < queries[:, None], np.arange(others) < keys[:, None]


def sides(asked: Question) -> tuple[Side, Side]:
    """Queries and keys as they should be."""
    starts = [np.append(0, some.cumsum()) for some in lengths(asked).T]
    queries, keys = (side(asked, start, int(start[-1])) for start in starts)
    return queries, keys


def packed(asked: Question, queries: Side, keys: Side) -> Question:
    """One call of all tokens, (1, H, N, D), in which a query sees its document and nobody else."""
    rows, columns = real(asked)
    where = {"queries": rows, "keys": columns, "values": columns}
    inputs = {
        name: np.moveaxis(np.moveaxis(array, 1, 2)[where[name]], 0, 1)[None]
        for name, array in asked.inputs.items()
    }
    ahead = keys.place[None, :] - queries.place[:, None]
    seen = queries.document[:, None] == keys.document[None, :]
    if asked.hides_the_future:
        seen = seen & (ahead <= 0)
    told = asked.arguments
    for width, beyond in zip(told.window or (), (-ahead, ahead), strict=False):
        seen = seen & (beyond <= width) if width >= 0 else seen
    bias = None if told.slopes is None else -told.slopes[:, None, None] * np.abs(ahead)
    one = replace(told, documents=None, causal=False, window=None, slopes=None, mask=seen)
    return replace(asked, inputs=inputs, arguments=replace(one, bias=bias))


def spread(asked: Question, truth: Truth) -> Truth:
    """What was given for all tokens, item by item; of rows that no document has, nothing is claimed."""
    rows, _ = real(asked)

    def unpacked(part: Array, elsewhere: float) -> Array:
        """(1, N, W) -> (B, T, W)."""
        items = np.full((*rows.shape, part.shape[-1]), elsewhere)
        items[rows] = part[0]
        return items

    return replace(
        truth,
        output=unpacked(truth.output, 0.0),
        allowed=unpacked(truth.allowed, np.inf),
        allowed_if_empty=unpacked(truth.allowed_if_empty, np.inf),
        empty=np.moveaxis(unpacked(np.moveaxis(truth.empty.astype(np.float64), 1, 2), 0.0), 1, 2)
        > 0,
    )


def enter(called: str, change: Change) -> None:
    """Enter a form by what it makes of queries and keys."""

    def asks(asked: Question) -> Question:
        return packed(asked, *change(asked, *sides(asked)))

    form(called, STARTS, asks=asks, gives=spread)


def of_one(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """There is one document, of all tokens."""
    one, other = (
        side(asked, np.array([0, each.tokens]), each.tokens, np.zeros_like(each.document))
        for each in (queries, keys)
    )
    return one, other


def late(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """The first token of a document belongs to the one before."""
    one, other = (
        side(
            asked,
            each.starts,
            each.tokens,
            np.searchsorted(each.starts[1:], np.arange(each.tokens), side="left"),
        )
        for each in (queries, keys)
    )
    return one, other


def counted_over_all(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """The documents are right, and places are those among all tokens."""
    one, other = of_one(asked, queries, keys)
    return replace(queries, place=one.place), replace(keys, place=other.place)


def skipped(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """Starts of which two are the same are taken for one."""
    one, other = (side(asked, np.unique(each.starts), each.tokens) for each in (queries, keys))
    return one, other


def of_queries(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """The starts of the keys are never read."""
    return queries, side(asked, queries.starts, keys.tokens)


def without_the_last(asked: Question, queries: Side, keys: Side) -> tuple[Side, Side]:
    """The queries of the last document see nothing."""
    last = len(queries.starts) - 2
    return replace(queries, document=np.where(queries.document == last, -1, queries.document)), keys


enter("documents see each other", of_one)
enter("documents start one token late", late)
enter("causal counts tokens of all documents", counted_over_all)
enter("empty documents skipped", skipped)
enter("starts of queries for keys", of_queries)
enter("last document dropped", without_the_last)
