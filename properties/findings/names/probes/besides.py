"""What a module has besides attention, put back and wrong: a bound on scores, sinks, slopes, norms.

Legend: H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.probes import probe
from properties.spec.clauses.restored import (
    CAPS,
    restored,
    values_twice,
    with_norms,
    with_sinks,
    with_slopes,
)
from properties.subjects.restored import Restored
from properties.truth.request import Request

CAP = frozenset({"score/cap-of-the-constructor"})
SINK = frozenset({"score/sink-of-the-module"})
SLOPES = frozenset({"score/slopes-of-the-module"})
VALUES = frozenset({"score/norms-leave-values-alone"})
SLACK = 4.0  # a wrong formula takes other steps than those for which the bound was derived


def gives(asked: Case, request: Request) -> bool:
    """Whether a module answers another request, and not the one it is asked."""
    trace = asked.trace_of(request)
    allowed = SLACK * asked.budget_of(trace).output
    found, right = asked.output, asked.trace.output
    other = bool((np.abs(found - right) > asked.budget.output).any())
    return other and bool((np.abs(found - trace.output) <= allowed).all())


class WithoutFactor(Request):
    """A bound that scores are divided by, and that multiplies nothing."""

    def capped(self, scaled: Array) -> Array:
        """The scaled scores under the cap."""
        return scaled if self.cap is None else np.tanh(scaled / self.cap)


class WithoutDivision(Request):
    """A bound that multiplies, and that nothing is divided by."""

    def capped(self, scaled: Array) -> Array:
        """The scaled scores under the cap."""
        return scaled if self.cap is None else self.cap * np.tanh(scaled)


def capped_as(case: Case, wrong: type[Request]) -> bool:
    """Whether every bound is taken so; of a bound of one these wrong forms are right."""
    if not case.subject.has("own cap"):
        return False
    asked = (restored(case, Restored(cap=cap)) for cap in CAPS if cap != 1.0)
    return all(gives(one, wrong(**vars(one.request))) for one in asked)


@probe("the cap is tanh(z / c), without its factor c", "what multiplies the tanh", CAP)
def cap_without_its_factor(case: Case) -> bool:
    """Scores end at one."""
    return capped_as(case, WithoutFactor)


@probe("the cap is c tanh(z): scores are not divided by it", "what the tanh is taken of", CAP)
def cap_without_division(case: Case) -> bool:
    """Small scores are multiplied by the bound."""
    return capped_as(case, WithoutDivision)


def sink_times(case: Case, factor: float) -> bool:
    """Whether sinks count so many times."""
    if not case.subject.has("own sink"):
        return False
    asked = with_sinks(case)
    assert asked.request.sink is not None
    return gives(asked, replace(asked.request, sink=factor * asked.request.sink))


@probe("sinks count twice", "what is put beside the scores", SINK)
def sinks_twice(case: Case) -> bool:
    """exp(2 s) in the denominator."""
    return sink_times(case, 2.0)


@probe("sinks are scaled by 1/sqrt(head_dim), as scores are", "where the scale is applied", SINK)
def sinks_scaled(case: Case) -> bool:
    """exp(s / sqrt(D)) in the denominator."""
    return case.sizes.head_dim > 1 and sink_times(case, case.sizes.head_dim**-0.5)


@probe("every head has the sink of the first", "which sink a head is given", SINK)
def sink_of_the_first_head(case: Case) -> bool:
    """Broadcast, or cut to one."""
    if not case.subject.has("own sink"):
        return False
    asked = with_sinks(case)
    sink = asked.request.sink
    assert sink is not None
    return gives(asked, replace(asked.request, sink=np.full_like(sink, sink[0])))


def slopes_times(case: Case, factor: float) -> bool:
    """Whether what distance takes is so many times as large."""
    if not case.subject.has("own slopes"):
        return False
    asked = with_slopes(case)
    assert asked.request.bias is not None
    return gives(asked, replace(asked.request, bias=factor * asked.request.bias))


@probe("ALiBi's exponents count heads from zero", "range(heads), without + 1", SLOPES)
def exponents_from_zero(case: Case) -> bool:
    """Each slope is that of the head before."""
    return slopes_times(case, 2.0 ** (8.0 / case.sizes.heads))


@probe("ALiBi is added, not taken off: what is far gets most", "the sign of the distance", SLOPES)
def distance_added(case: Case) -> bool:
    """The nearest tokens get least."""
    return slopes_times(case, -1.0)


@probe("values are normed, too", "what the norm of keys is applied to", VALUES)
def values_normed(case: Case) -> bool:
    """How large values are changes nothing, but for an epsilon."""
    if not case.subject.has("own norms"):
        return False
    plain, twice = (one.output for one in values_twice(with_norms(case)))
    return bool(np.allclose(plain, twice, rtol=1e-2)) and bool(plain.any())
