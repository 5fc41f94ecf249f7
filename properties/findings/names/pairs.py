"""Two wrong forms at once, of different steps: searched where none explains the subject by itself.

There are thousands of pairs, so most are left out by one example of a single token. There every
weight is one, so most forms change nothing; what is off is due to one of the others, or to two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

import numpy as np

from properties.cases.case import Case
from properties.findings.names.examples import Example, predicted
from properties.findings.names.formula import Formula

Entry = type[Formula]
SCORES = frozenset({"project", "split", "score", "scale", "hide"})


def composable(a: Entry, b: Entry) -> bool:
    """Whether two wrong forms exchange different steps, and neither stands for itself alone."""
    return not (a.steps & b.steps or a.alone or b.alone)


def pair(a: Entry, b: Entry) -> Entry:
    """The formula with both wrong forms."""
    both: Entry = type("Pair", (a, b), {"families": a.families & b.families})
    both.called, both.look = f"{a.called}, and {b.called}", f"{a.look}, and for {b.look}"
    both.forms = (a, b)
    both.fits = lambda case: a.fits(case) and b.fits(case)  # type: ignore[method-assign]
    return both


def fitting(forms: Iterable[Entry], examples: Sequence[Example]) -> list[Entry]:
    """The pairs that are needed and agree with every example."""
    single = [example for example in examples if example.case.sizes.tokens == 1]
    forms = [form for form in forms if not form.alone]
    found = passing(forms, single[0]) if single else composed(combinations(forms, 2))
    return [both for both in found if all(example.agrees(both) for example in examples)]


def passing(forms: list[Entry], example: Example) -> Iterator[Entry]:
    """The pairs that agree with one example: two forms that change nothing there if it is right,
    else one that changes it so, with any that changes nothing, or two that do so together. Where
    the weights of a single key depend on its score, what comes before them changes nothing by
    itself and something beside a form of them.
    """
    inert = [form for form in forms if form.fits(example.case) and same(form, example.case)]
    active = [form for form in forms if form.fits(example.case) and form not in inert]
    if example.right:
        yield from composed(combinations(inert, 2))
        return
    telling = [form for form in active if example.agrees(form)]
    yield from composed(product(telling, inert))
    others = [form for form in active if form not in telling]
    yield from composed(combinations(others, 2))
    weighing = [form for form in others if "normalise" in form.steps]
    scoring = [form for form in inert if form.steps & SCORES]
    yield from composed(product(weighing, scoring))


def same(form: Entry, case: Case) -> bool:
    """Whether a wrong form gives what is right for a case."""
    (value, error), (right, allowed) = predicted(form, case), predicted(Formula, case)
    return bool((np.abs(value - right) <= error + allowed).all())


def composed(forms: Iterable[tuple[Entry, Entry]]) -> Iterator[Entry]:
    """The pairs that can be made."""
    return (pair(a, b) for a, b in forms if composable(a, b))
