"""packed/: documents that are packed one after the other are attended to one by one.

Each document has queries and keys of its own, of different numbers; here those of an item.

Legend: B documents, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.question import Question, flags, question
from properties.spec.clause import Condition, Half, Level, clause
from properties.spec.clauses.call_errors import FEW, as_one_of, constant, given, refused

FORMULA = "packed/each-document-by-the-formula"
DOCUMENTS = {"takes documents"}
AXES = "document query column"


def several(case: Case) -> bool:
    """Whether there are documents of which one can see another."""
    return case.call is not None and case.sizes.batch > 1


SEVERAL = Condition("at least two documents", several)


@clause(
    FORMULA,
    Level.MUST,
    "The queries of each document mix the keys of that document, by the formula, and no others.",
    needs=DOCUMENTS,
    counts=SEVERAL,
)
def each_by_the_formula(case: Case) -> float:
    """Documents of several lengths, and of other numbers of keys than of queries. A document that starts
    one token late, a last one that is left out, starts of queries that are used for keys show here.
    """
    return question(case, "documents").agrees()


@clause(
    "packed/documents-do-not-see-each-other",
    Level.MUST,
    "What stands in a document does not matter to any other: with other keys and values there, the "
    "outputs of the others stay.",
    needs=DOCUMENTS,
    counts=SEVERAL,
)
def do_not_see_each_other(case: Case) -> float:
    """Every other document is exchanged for one of large numbers, with the causal flag and without."""
    shares = [0.0]
    for flag in flags(case):
        asked = question(case, "documents").changed(causal=flag)
        for first in range(min(2, case.sizes.batch)):
            other = exchanged(asked, first)
            rows = np.arange(case.sizes.batch) % 2 != first
            shares.append(
                near(
                    "with other documents beside it an output of",
                    other.answer().output[rows],
                    asked.answer().output[rows],
                    (asked.truth.allowed + other.truth.allowed)[rows],
                    AXES,
                )
            )
    return max(shares)


def exchanged(asked: Question, first: int) -> Question:
    """Other keys and values in every other document from this one on."""
    inputs = {name: array.copy() for name, array in asked.inputs.items()}
    for name in ("keys", "values"):
        inputs[name][first::2] = 3.25 + np.abs(np.rint(inputs[name][first::2])).clip(0, 4)
    return asked.with_inputs(inputs)


@clause(
    "packed/equals-one-call-for-each",
    Level.MUST,
    "Documents in one call are answered as each of them is in a call of its own.",
    needs=DOCUMENTS,
    counts=SEVERAL,
    after=(FORMULA,),
)
def equals_one_call_for_each(case: Case) -> float:
    """No convention is needed for that: what is asked is the same function."""
    shares = [0.0]
    for flag in flags(case):
        together = question(case, "documents").changed(causal=flag)
        output, allowed = together.answer().output, together.truth.allowed
        for item, (queries, keys) in enumerate(lengths(together)):
            alone = of_item(together, item, queries, keys)
            shares.append(
                near(
                    f"as document {item} alone an output of",
                    output[item : item + 1, :queries],
                    alone.answer().output,
                    allowed[item : item + 1, :queries] + alone.truth.allowed,
                    AXES,
                )
            )
    return max(shares)


def lengths(asked: Question) -> list[tuple[int, int]]:
    """How many queries and keys each document has."""
    told = asked.arguments.documents
    return [] if told is None else [(int(queries), int(keys)) for queries, keys in told]


def of_item(asked: Question, item: int, queries: int, keys: int) -> Question:
    """A call of one document alone."""
    kept = {"queries": queries, "keys": keys, "values": keys}
    inputs = {n: a[item : item + 1, :, : kept[n]] for n, a in asked.inputs.items()}
    return asked.with_inputs(inputs).changed(documents=None)


@clause(
    "packed/causal-in-each-document",
    Level.MUST,
    "The causal flag hides the future of each document, counted in that document.",
    needs=DOCUMENTS | {"takes causal"},
    counts=SEVERAL,
    after=(FORMULA,),
)
def causal_in_each(case: Case) -> float:
    """Top left or bottom right, as in a call of one document; where it has more keys than queries, or
    fewer, the diagonal is its own, whatever stands before it.
    """
    return question(case, "documents", "causal").agrees()


@clause(
    "packed/empty-documents-harm-no-other",
    Level.MUST,
    "A document without queries, without keys or without both leaves the others as they are.",
    needs=DOCUMENTS,
    counts=SEVERAL,
    after=(FORMULA,),
)
def empty_documents(case: Case) -> float:
    """The first, one in between and the last, in turn. What a query gives that has no keys is a
    convention; the others give the formula. Starts of which two are the same must not be taken for one.
    """
    items = range(case.sizes.batch if several(case) else 0)
    emptied = [(item, size) for item in items for size in ((0, 0), (0, None), (None, 0))]
    return max((asked.agrees() for asked in with_lengths(case, emptied)), default=0.0)


@clause(
    "packed/documents-of-one-token",
    Level.MUST,
    "In a document of one token a query gives the value of that token.",
    needs=DOCUMENTS,
    after=(FORMULA,),
)
def one_token(case: Case) -> float:
    """All documents of one token, then one of them among others."""
    ones = np.ones((case.sizes.batch, 2), dtype=np.int64)
    alone = question(case, "documents").changed(documents=ones)
    among = with_lengths(case, [(item, (1, 1)) for item in range(case.sizes.batch)])
    return max(alone.agrees(), *(asked.agrees() for asked in among))


def with_lengths(
    case: Case, others: Sequence[tuple[int, tuple[int | None, int | None]]]
) -> list[Question]:
    """The case's documents with other numbers of queries and keys in one of them; None: as drawn.

    Where keys are no other tokens than queries, both numbers are the smaller one.
    """
    asked = question(case, "documents")
    found = []
    for item, sizes in others:
        told = np.array(lengths(asked))
        for side, size in enumerate(sizes):
            told[item, side] = told[item, side] if size is None else size
        if "lengths" not in case.subject.takes:
            told[item] = told[item].min()
        found.append(asked.changed(documents=told))
    return found


@clause(
    "error/document-without-keys",
    Level.MUST,
    "A document without any key is refused, or each of its queries gives zeros or NaN.",
    needs=DOCUMENTS | {"takes lengths"},
    counts=SEVERAL,
    after=("packed/empty-documents-harm-no-other",),
    half=Half.GUARDED,
    brief="a document without keys",
    examples=FEW,
)
def without_keys(case: Case) -> None:
    """The keys of another document, or memory that nobody wrote, are no answer."""
    for item in range(case.sizes.batch if several(case) else 0):
        (asked,) = with_lengths(case, [(item, (None, 0))])
        output = given(asked, "a document without keys refused")
        if output is not None:
            queries, _ = lengths(asked)[item]
            nothing = [in_rows(constant(n, output), item, queries) for n in (0.0, np.nan)]
            what = f"document {item} without keys refused, or an output of"
            as_one_of(output, what, nothing)


def in_rows(right: tuple[Array, Array], item: int, count: int) -> tuple[Array, Array]:
    """What would be right and what it may be off by, of the first rows of an item alone."""
    output, allowed = right[0], np.full_like(right[1], np.inf)
    allowed[item, :count] = right[1][item, :count]
    return output, allowed


@clause(
    "error/starts-that-fall",
    Level.SHOULD,
    "Starts of documents that fall from one to the next are refused.",
    needs=DOCUMENTS,
    counts=SEVERAL,
    after=(FORMULA,),
    half=Half.GUARDED,
    examples=FEW,
)
def starts_that_fall(case: Case) -> None:
    """A document that ends before it starts: whatever comes, its tokens belong to two documents, or to
    none. Kernels rarely look, since the starts lie on the device.
    """
    for item in range(1, case.sizes.batch):
        (asked,) = with_lengths(case, [(item, (-1, -1))])
        refused(asked, f"documents of {told_lengths(asked)} queries")


def told_lengths(asked: Question) -> str:
    """2, -1 and 3."""
    *before, last = [str(queries) for queries, _ in lengths(asked)]
    return f"{', '.join(before)} and {last}"
