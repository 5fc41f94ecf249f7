"""Frequencies that are scaled for longer contexts are found, told, and held to as the others are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from properties.basics.dtypes import FORMATS
from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.names.standin import behaves_like
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import TURNED, clauses
from properties.subjects.card import conventions_of
from properties.tests.calls import used
from properties.tests.data import scaled_rotary as scaled
from properties.tests.test_rotary import broken
from properties.truth import oracle, second_oracle
from properties.truth.bounds.arithmetic import exactly
from properties.truth.bounds.positions import turned
from properties.truth.parameters import Weights
from properties.truth.positions import Evenly, Rotary, Slowed

OWN = "other frequencies than base**(-2 i / R)"
WHOLE = "halves, base 10000, whole head"
ORACLE = "oracle/output-within-bound"
RIGHT: dict[type[nn.Module], str] = {
    scaled.Linear: f"{WHOLE}, frequencies scaled by 1/4",
    scaled.OfFrequencies: f"{WHOLE}, frequencies scaled by 1/4",
    scaled.Ntk: f"{WHOLE}, {OWN}",
    scaled.Llama3: f"halves, base 500000, whole head, {OWN}",
    scaled.Yarn: f"{WHOLE}, {OWN}, cosines and sines times 1.13863",
}
WRONG: dict[type[nn.Module], tuple[str, str]] = {
    scaled.QueriesAlone: (TURNED, "positions of queries alone divided by 4"),
    scaled.Twice: (TURNED, "frequencies scaled twice"),
    scaled.TwiceByRamp: (TURNED, "frequencies scaled twice"),
    scaled.ByHead: (TURNED, "positions ignored"),
    scaled.WholePositions: (TURNED, "4 tokens at each position"),
    scaled.FactorOfQueriesAlone: (ORACLE, "attention factor on one of queries and keys"),
    scaled.FactorTwice: (ORACLE, "attention factor applied twice"),
}


@pytest.mark.parametrize("target", RIGHT, ids=lambda target: target.__name__)
def test_frequencies_are_found_and_what_is_right_is_accepted(target: type[nn.Module]) -> None:
    """Also where they depend on head_dim."""
    subject = find(target)[0]
    assert conventions_of(subject)["rotary"]["answer"] == RIGHT[target]
    assert broken(subject, "position", "oracle", few=2) == {}


BEYOND = "error/too-many-tokens"
GROWING: dict[type[nn.Module], str] = {
    scaled.DynamicNtk: "dynamic NTK, factor 2",
    scaled.SteppedNtk: "stepwise NTK",
    scaled.DynamicLinear: "linear",
}


@pytest.mark.parametrize("target", GROWING, ids=lambda target: target.__name__)
def test_a_rule_for_longer_sequences_than_a_module_is_made_for_is_found_and_held_to(
    target: type[nn.Module],
) -> None:
    """Up to that length nothing is scaled."""
    subject = find(target)[0]
    said = f"{WHOLE}, slower beyond context_length ({GROWING[target]})"
    assert conventions_of(subject)["rotary"]["answer"] == said
    assert subject.unasked["scaling_factor"].startswith("positions, how fast")
    assert broken(subject, "position", few=2) == {}
    assert "fail" not in {judge(clauses()[BEYOND], case).status for case in pinned_cases(subject)}


def test_longer_sequences_that_follow_no_known_rule_are_told() -> None:
    """They are not those of a module made for as many tokens either."""
    subject = find(scaled.DynamicNtkByAnotherPower)[0]
    assert conventions_of(subject)["rotary"]["answer"] == WHOLE
    assert failing(scaled.DynamicNtkByAnotherPower, BEYOND).sizes.head_dim > 2


@pytest.mark.parametrize("target", WRONG, ids=lambda target: target.__name__)
def test_a_scaling_that_is_wrong_has_its_name(target: type[nn.Module]) -> None:
    """That of all examples like the one that fails."""
    law, expected = WRONG[target]
    names = behaves_like(law, failing(target, law))
    assert [name.partition("; look for ")[0] for name in names] == [expected]


def failing(target: type[nn.Module], law: str) -> Case:
    """The first example that breaks the law."""
    pinned = pinned_cases(find(target)[0])
    with quiet_and_repeatable():
        return next(case for case in pinned if judge(clauses()[law], case).status == "fail")


def test_a_turn_with_a_gain_is_undone_by_its_inverse_and_its_transpose_is_a_transpose() -> None:
    """The inverse divides, the transpose multiplies."""
    places = np.arange(3.0)
    rotary = Rotary(places, places, slowing=Evenly(0.25), gain=1.5)
    a, b = np.random.default_rng(0).normal(size=(2, 1, 2, 3, 6))
    there = rotary.turn(a, rotary.queries)
    back, transpose = rotary.inverse, rotary.transpose
    assert np.allclose(back.turn(there, back.queries), a, atol=1e-14)
    dotted = (a * transpose.turn(b, transpose.queries)).sum()
    assert (there * b).sum() == pytest.approx(dotted, abs=1e-12)
    assert np.allclose(np.linalg.norm(there, axis=-1), 1.5 * np.linalg.norm(a, axis=-1))


def test_the_second_oracle_agrees_on_scaled_frequencies_and_a_gain() -> None:
    """Output and gradients."""
    g = np.random.default_rng(1)
    x, upstream = g.normal(size=(2, 1, 3, 4))
    weights = Weights(*g.normal(size=(3, 4, 4)))
    rotary = Rotary(np.arange(3.0), np.arange(3.0), slowing=shares, gain=1.3)
    asked = oracle.asked(3, 3, causal=True, scaled=True)
    trace = oracle.attention(x, weights, request=asked, positions=rotary)
    second = second_oracle.output(x, weights, heads=1, request=asked, positions=rotary)
    np.testing.assert_allclose(trace.output, second, rtol=0, atol=1e-13)
    found = oracle.gradients(x, weights, trace, upstream).x
    step = 1e-6 * g.normal(size=x.shape)
    ahead, behind = (
        oracle.attention(moved, weights, request=asked, positions=rotary).output
        for moved in (x + step, x - step)
    )
    assert ((ahead - behind) * upstream).sum() / 2 == pytest.approx((found * step).sum(), rel=1e-6)


def shares(number: int) -> Slowed:
    """Slower from pair to pair."""
    return Slowed(1.0 / (1.0 + np.arange(number)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_turned_with_a_gain_stays_within_its_bound_and_uses_it(dtype: str) -> None:
    """Angles, cosines, sines and their products with the gain in float32."""
    fmt, places = FORMATS[dtype], np.arange(20.0) + 100
    x = fmt.round(np.random.default_rng(2).normal(size=(2, 2, 20, 16)))
    rotary = Rotary(places, places, slowing=shares, gain=1.3)
    allowed = turned(exactly(x), places, rotary, fmt, FORMATS["float32"])
    speeds = 1.0 / 10000.0 ** (torch.arange(8).float() / 8) / (1.0 + torch.arange(8))
    angles = torch.outer(torch.tensor(places).float(), speeds).repeat(1, 2)
    tensor = torch.tensor(x).to(getattr(torch, dtype))
    cos, sin = ((f(angles) * 1.3).to(tensor.dtype) for f in (torch.cos, torch.sin))
    found = (tensor * cos + scaled.rotate_half(tensor) * sin).double().numpy()
    assert 0.02 < used(allowed.value, found, allowed.error) <= 1.0
