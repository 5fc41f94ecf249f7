"""Functions of documents packed one after the other are found, asked and judged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.cases.documents import within
from properties.cases.question import question
from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.names.calls.battery import battery
from properties.findings.scripts import script
from properties.recognition.asking.packed import Names, Packed, names_of
from properties.recognition.targets import find
from properties.reports import card as words
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.card import card
from properties.subjects.subject import Subject
from properties.zoo.wide import held_ones, sound_ones

RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind == "packed"}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind == "packed" and not h.fits}
NAMING = {
    "packed/each-document-by-the-formula",
    "packed/causal-in-each-document",
    "packed/empty-documents-harm-no-other",
}
FITTING = held_ones()["packed-causal-from-the-top-left"]


@cache
def subject(target: Callable[..., Any]) -> Subject:
    return find(target)[0]


def failing(asked: Subject, examples: int = 5) -> set[str]:
    """The laws about documents that the first pinned examples break."""
    laws = [c for c in clauses().values() if c.area == "packed" and c.concerns(asked)]
    with quiet_and_repeatable():
        cases = pinned_cases(asked)[:examples]
        return {c.id for c in laws for case in cases if judge(c, case).status != "pass"}


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_hold_every_law_about_documents(name: str) -> None:
    asked = subject(RIGHT[name])
    assert asked.takes["documents"] == "cu_seqlens_q"
    assert asked.conventions.align == "bottom right"
    assert dict(asked.unasked) == {}
    assert failing(asked, examples=12) == set()


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_function_breaks_one(name: str) -> None:
    assert failing(subject(WRONG[name]))


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_function_gets_its_name(name: str) -> None:
    asked = subject(WRONG[name])
    with quiet_and_repeatable():
        law, case = next(
            (law, case)
            for law in clauses().values()
            if law.id in NAMING and law.concerns(asked)
            for case in pinned_cases(asked)
            if judge(law, case).status == "fail"
        )
        (told,) = behaves_like(law.id, case)
    assert told.partition("; look for ")[0] == held_ones()[name].named


def test_no_wrong_form_agrees_with_a_right_function() -> None:
    with quiet_and_repeatable():
        assert all(item.right for item in battery(subject(RIGHT["packed-by-padding"])))


def test_what_fits_a_known_corner_is_wrong_where_another_is_declared() -> None:
    assert failing(subject(FITTING.target)) == set()
    (declared,) = find(FITTING.target, conventions={"align": "bottom right"})
    assert failing(declared) == {"packed/causal-in-each-document"}


def test_the_card_says_how_documents_are_told() -> None:
    said = [text for _, text in words.told(card(subject(RIGHT["packed-in-one-matrix"])))]
    assert "layout: (N, H, D) (found by trial)" in said
    assert any(
        line.startswith("cu_seqlens_q: documents packed one after the other") for line in said
    )


def test_a_batch_is_handed_over_as_documents_and_comes_back() -> None:
    """Starts as int32, the longest as a plain number; what no document has is left out."""
    told: list[dict[str, Any]] = []

    def function(q: Tensor, k: Tensor, v: Tensor, **named: Any) -> Tensor:
        told.append(named)
        return q + len(k)

    packed = Packed(function, Names("starts", "ends", "longest", "longest_of_keys"))
    q, k = torch.arange(12.0).reshape(2, 3, 1, 2), torch.zeros(2, 4, 1, 2)
    assert torch.equal(packed(q, k, k), q + 8)
    assert [told[0]["starts"].tolist(), told[0]["ends"].tolist()] == [[0, 3, 6], [0, 4, 8]]
    assert told[0]["starts"].dtype == torch.int32
    assert (told[0]["longest"], told[0]["longest_of_keys"]) == (3, 4)
    output = packed(q, k, k, starts=torch.tensor([[1, 0], [2, 3]]))
    assert [told[1]["starts"].tolist(), told[1]["ends"].tolist()] == [[0, 1, 3], [0, 0, 3]]
    assert torch.equal(output[0, 1:], torch.zeros(2, 1, 2))
    assert torch.equal(output[1, :2], q[1, :2] + 3)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"], None),
        (["cu_seq_lens_q", "cu_seq_lens_kv", "max_length_q", "max_length_kv"], None),
        (["cu_seqlens", "max_seqlen", "causal"], Names("cu_seqlens", longest="max_seqlen")),
    ],
)
def test_arguments_are_known_by_their_usual_names(
    arguments: list[str], found: Names | None
) -> None:
    assert names_of(arguments) == (found or Names(*arguments))
    assert names_of(["lengths", "causal", "max_len"]) is None


def of_their_own(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, max_seqlen: int, causal: bool = False
) -> Any:
    """Documents that attend to themselves: there is one row of starts."""
    one = RIGHT["packed-in-one-matrix"]
    return one(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, causal=causal)


def test_one_row_of_starts_is_for_queries_and_keys() -> None:
    asked = subject(of_their_own)
    assert asked.takes["documents"] == "cu_seqlens"
    assert "lengths" not in asked.takes
    for case in pinned_cases(asked):
        drawn = question(case, "documents").arguments.documents
        assert drawn is not None
        assert (drawn[:, 0] == drawn[:, 1]).all()
    assert failing(asked) == set()


def test_a_smaller_case_has_documents_that_fit() -> None:
    """Lengths are whole numbers with room for them, whatever a reduction makes of the case."""
    case = pinned_cases(subject(RIGHT["packed-in-one-matrix"]))[0]
    small = case.take(tokens=[0], keys=[0, 1])
    documents = question(small, "documents").arguments.documents
    assert documents is not None
    assert (documents <= (1, 2)).all()
    assert within(np.array([[2.6, -1.0], [0.2, 9.0]]), 4, 5).tolist() == [[3, 0], [0, 5]]


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("packed-causal-over-all", "packed/causal-in-each-document"),
        ("packed-groups-tiled", "groups/each-head-reads-its-own-group"),
    ],
)
def test_a_failure_gets_a_script_that_packs_for_itself(name: str, law: str) -> None:
    """It fails on the wrong function, and passes on a right one in its place."""
    asked = subject(WRONG[name])
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        case = next(c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail")
        found = script(clauses()[law], case)
        assert found is not None
        found.run(RIGHT["packed-in-one-matrix"])
        with pytest.raises(AssertionError, match="expected"):
            found.run(WRONG[name])
