"""What is put out of action in most examples is put back by itself, and asked about."""

from __future__ import annotations

import pytest
from torch import nn

from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find_one
from properties.runs.drawing import draw
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.restored import Restored
from properties.subjects.subject import CAPABILITIES, Subject
from properties.tests.data import put_back as data
from properties.tests.test_call_scripts import raised
from properties.tests.test_calls import FEW
from properties.tests.test_further_scripts import found
from properties.zoo.faults import faults
from properties.zoo.faults import restored as faulty
from properties.zoo.partners import partner

OWN = {"own cap", "own window", "own sink", "own slopes", "own norms"}
LAWS = [law for law in clauses().values() if OWN & law.needs]
RIGHT: dict[type[nn.Module], set[str]] = {
    data.Bounded: {"own cap", "own window"},
    data.Rolling: {"own window", "own sink"},
    data.ByPlace: {"own slopes"},
    data.OverAllHeads: {"own norms"},
    data.OneNormForBoth: {"own norms"},
    faulty.PlainBounded: {"own cap", "own window"},
    faulty.PlainAlibi: {"own slopes"},
    faulty.PlainSinks: {"own sink"},
    faulty.PlainNormed: {"own norms"},
}


def broken(subject: Subject) -> set[str]:
    """The laws about it that pinned and some drawn examples break."""
    laws = [law for law in LAWS if law.concerns(subject) and not law.missing(subject)]
    cases = [*pinned_cases(subject), *draw(subject, FEW, 0)]
    with quiet_and_repeatable():
        return {law.id for law in laws for case in cases if judge(law, case).status == "fail"}


@pytest.mark.parametrize("target", RIGHT, ids=lambda target: target.__name__)
def test_what_acts_is_asked_about_and_what_is_right_is_accepted(target: type[nn.Module]) -> None:
    """And is told no more as not asked, but for norms, of which no formula is."""
    subject = find_one(target)
    assert OWN & subject.capabilities == RIGHT[target]
    assert broken(subject) == set()
    assert bool(subject.unasked) == ("own norms" in RIGHT[target])


def test_what_does_not_act_is_told_and_not_asked() -> None:
    """A norm behind a flag that is off, a window for somebody else's mask."""
    for target, left in (
        (data.NormSwitchedOff, {"q_norm", "k_norm"}),
        (data.WindowOfAnother, {"sliding_window"}),
    ):
        subject = find_one(target)
        assert not OWN & subject.capabilities
        assert set(subject.unasked) == left


def test_only_one_of_them_is_at_work_at_a_time() -> None:
    """All else is as it was."""
    subject = find_one(data.Bounded)
    case = pinned_cases(subject)[0]
    assert subject.restored == Restored()
    capped = subject.restoring(Restored(cap=2.0))
    assert capped.restored == Restored(cap=2.0)
    assert case.request.cap is None
    assert subject.blueprint.arguments.fixed["attn_logit_softcapping"] is None


def test_slopes_that_nobody_calls_alibis_are_left_alone() -> None:
    """They may be somebody's own."""

    class Own(data.ByPlace):
        def __init__(self, hidden_size: int, n_head: int) -> None:
            super().__init__(hidden_size, n_head)
            self.slopes.mul_(0.5)

    Own.__qualname__ = Own.__name__
    subject = find_one(Own)
    assert "own slopes" not in subject.capabilities
    assert "slopes" in subject.unasked


@pytest.mark.parametrize(
    "name",
    ["window-keys-dropped-too-soon", "norm-of-keys-not-used", "alibi-cut-from-the-longest-call"],
)
def test_a_script_puts_it_back_as_well(name: str) -> None:
    """It fails on the fault and passes on the plain module."""
    fault = faults()[name]
    told = found(fault.module, fault.breaks[0])
    assert raised(told, fault.module)
    assert not raised(told, partner(fault.module))


@pytest.mark.parametrize("target", RIGHT)
def test_what_it_claims_is_known_so_that_an_adapter_may_claim_it(target: type[nn.Module]) -> None:
    """The survey puts faults around what was found, and hands that over as an adapter."""
    assert find_one(target).capabilities <= CAPABILITIES.keys()
