"""Right attention, however it is written, is not accused: a verdict against it is a false alarm.

Here each clause is asked until a few examples have counted: one in each format, of the costliest one
in all. `python benchmarks/false_alarms.py` asks everything, with as many seeds as there is time for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from properties.basics.dtypes import FORMATS
from properties.recognition.targets import find
from properties.runs.runner import Run
from properties.runs.tally import Tally
from properties.spec.clause import Clause, clauses
from properties.spec.profiles import PROFILES
from properties.subjects.subject import FAMILIES, Subject
from properties.zoo.faults import faults
from properties.zoo.matrix import binding
from properties.zoo.rights import Right, rights

BRIEF = replace(PROFILES["quick"], drawn=1, reduction=0)
COSTLY = {"transform/export-equals-eager", "dropout/survival-rate", "rows/up-to-1025-keys"}


def briefly(clause: Clause) -> Clause:
    """The clause, content with few examples: four formats stand first among the pinned ones."""
    return replace(clause, examples=1 if clause.id in COSTLY else len(FORMATS))


ASKED = [briefly(clause) for clause in binding().values() if clause.asked_at("ci")]


class Untold(Run):
    """A run that gives no failure a name or a picture: whether there is one is all that is asked."""

    def explain(self, tallies: Mapping[str, Tally]) -> None:
        """See `Run`."""


def accusations(subject: Subject) -> dict[str, str]:
    """What the suite holds against a subject, by clause: all that is not a pass, MAY left aside.

    What was not asked is no accusation.
    """
    results = Untold(subject, ASKED, BRIEF, seed=0).report().results
    return {r.clause: r.message for r in results if r.status not in ("pass", "unsupported")}


@pytest.mark.parametrize("right", rights().values(), ids=lambda right: right.name)
def test_right_attention_is_not_accused(right: Right) -> None:
    """No MUST and no SHOULD clause fails, is vacuous, blocked or in error.

    But for what it has a good reason not to meet, which is what SHOULD allows; and that it does not.
    """
    accused = accusations(right.subject())
    assert set(accused) == set(right.unmet), accused
    assert all(clauses()[id].level == "SHOULD" for id in right.unmet)


def test_wrong_attention_is_accused_by_the_same_question() -> None:
    """The question that finds nothing against right attention finds a mask that is thrown away."""
    fault = faults()["mask-result-discarded"]
    accused = accusations(find(fault.module, fault.family)[0])
    assert "causality/future-does-not-change-past" in accused


def test_right_attention_is_written_in_many_ways() -> None:
    """At least thirty implementations, some of every family, most of many heads or causal."""
    families = Counter(right.family for right in rights().values())
    assert families.total() >= 30
    assert set(families) == set(FAMILIES)
    assert families["multihead"] + families["causal"] > families.total() / 2
