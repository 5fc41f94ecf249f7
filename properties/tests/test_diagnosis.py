"""A failure has a name: every wrong formula is recognised, and nothing is called by a wrong name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.names.calls.match import AREAS as OF_CALLS
from properties.findings.names.catalogue import catalogue
from properties.findings.names.catalogue.groups import Grouped
from properties.findings.names.catalogue.scaled_turns import Gained, Slower
from properties.findings.names.catalogue.turns import Turned
from properties.findings.names.computed import StandIn, passes
from properties.findings.names.dropout import habits
from properties.findings.names.examples import battery, predicted
from properties.findings.names.explanation import RIGHT as RIGHT_FORMULA
from properties.findings.names.explanation import Explanation
from properties.findings.names.formula import Formula
from properties.findings.names.habits import HABITS
from properties.findings.names.match import explanations
from properties.findings.names.pairs import composable
from properties.findings.names.probes import probed, probes
from properties.findings.names.standin import explains
from properties.recognition.targets import find
from properties.runs.drawing import draw
from properties.runs.result import Status
from properties.runs.runner import Run, quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.subjects.subject import FAMILIES, Subject
from properties.tests.data.scaled_rotary import Yarn
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainWrapper
from properties.zoo.rights.contexts import LatentAttention
from properties.zoo.rights.encoders import VisionAttention
from properties.zoo.wide.cross import CrossAttention
from properties.zoo.wide.grouped import GroupedByRepeating
from properties.zoo.wide.rotary import RotaryByHalves, RotaryByNeighbours

DATA = Path(__file__).parent / "data" / "names.toml"
NAMES = {
    fault: [names] if isinstance(names, str) else names
    for fault, names in tomllib.loads(DATA.read_text(encoding="utf-8")).items()
}
UNREDUCED = replace(PROFILES["quick"], reduction=0)
ONE_EACH = list({tuple(names): fault for fault, names in reversed(NAMES.items())}.values())
"""A fault for each name; `benchmarks/naming.py` asks for all of them."""
UNRELATED = (
    "wrapper-heads-are-one-module",
    "keys-leak-into-the-next-item",
    "weights-look-at-values",
    "epsilon-added-to-keys",
    "softmax-in-bfloat16",
    "noise-in-eval",
    "threshold-before-the-mask",
    "scale-off-by-a-millionth",
    "temperature-left-on",
    "dropout-rate-off-by-two-percent",
)
RIGHT = {
    "plain": "attention:SimplifiedSelfAttention",
    "self": "attention:SelfAttention_v2",
    "causal": PlainCausal,
    "wrapper": PlainWrapper,
    "multihead": PlainMultiHead,
    "encoder": VisionAttention,
    "cross": LatentAttention,
}
WIDER: dict[type[Formula], tuple[type[Any], ...]] = {
    Slower: (Yarn,),
    Gained: (Yarn,),
    Turned: (RotaryByHalves, RotaryByNeighbours),
    Grouped: (GroupedByRepeating,),
}
"""The right modules for formulas that need more than a family."""


def shown(names: list[str]) -> list[str]:
    """The names without where to look."""
    return [name.partition("; look for ")[0] for name in names]


def formulas(case: Case) -> list[str]:
    """The names of the subject's formula, each with where to look."""
    return list(dict.fromkeys(map(str, explanations("oracle/output-within-bound", case))))


def called(target: Any, family: str, clause: str) -> list[str]:
    """What a module is called where it fails a clause."""
    subject = find(target, family)[0]
    with quiet_and_repeatable():
        return shown(behaves_like(clause, failing(subject, clause)))


def failing(subject: Subject, clause: str) -> Case:
    """The first of a run's cases on which the subject fails a clause."""
    for examples in (pinned_cases, partial(draw, profile=PROFILES["quick"], seed=0)):
        for case in examples(subject):  # most fail before anything is drawn
            if judge(clauses()[clause], case).status is Status.FAIL:
                return case
    raise AssertionError(f"{subject.name} does not fail {clause}")


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_fault_of_the_catalogue_gets_exactly_its_own_name(name: str) -> None:
    """The names that a fault's first clause is explained by are those that the table gives it."""
    fault = faults()[name]
    assert called(fault.module, fault.family, fault.breaks[0]) == NAMES[name]


BELOW_THE_LEAST = {
    "exponential-without-maximum": "weights/rows-sum-to-one",
    "mask-after-softmax-renormalised": "causality/future-does-not-change-past",
}
"""A law that a fault breaks where all exponentials of a row are zero in the format of an example."""


@pytest.mark.parametrize("name", BELOW_THE_LEAST)
def test_zero_by_zero_is_told_where_exponentials_are_below_the_least_number(name: str) -> None:
    """As infinity by infinity is."""
    fault = faults()[name]
    assert called(fault.module, fault.family, BELOW_THE_LEAST[name]) == NAMES[name]


@pytest.mark.parametrize("name", UNRELATED)
def test_a_fault_that_is_no_formula_of_the_catalogue_gets_no_name(name: str) -> None:
    """Where nothing fits, nothing is claimed."""
    fault = faults()[name]
    assert called(fault.module, fault.family, fault.breaks[0]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_module_has_no_name(family: str) -> None:
    """Neither its formula nor its dropout is called wrong."""
    case = pinned_cases(find(RIGHT[family], family)[0])[0]
    with quiet_and_repeatable():
        assert formulas(case) == []
        assert habits(case) == ()


Step = Callable[..., Any]


def with_steps(base: type[torch.nn.Module] = PlainMultiHead, **steps: Step) -> type[Any]:
    """The plain module with some steps exchanged."""
    return type("Changed", (base,), dict(steps))


def mask(hidden: Callable[[int], Tensor]) -> type[Any]:
    """The plain module with another mask."""
    return with_steps(hidden=lambda self, tokens: hidden(tokens))


def scale(factor: Callable[[Any], float], base: type[Any] = PlainMultiHead) -> type[Any]:
    """The plain module with another scale."""
    return with_steps(base, scale=lambda self, scores: scores * factor(self))


def projections(*sources: str) -> type[Any]:
    """The plain module whose queries, keys and values come from other layers."""

    def project(self: Any, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(getattr(self, f"W_{source}")(x) for source in sources)

    return with_steps(project=project)


def layers(**change: Callable[[Any, Tensor], Tensor]) -> type[Any]:
    """The plain module where d_in is d_out with some projections exchanged."""

    def project(self: Any, x: Tensor) -> tuple[Tensor, ...]:
        square = self.d_in == self.d_out
        return tuple(
            change[name](layer, x) if name in change and square else layer(x)
            for name, layer in (("q", self.W_query), ("k", self.W_key), ("v", self.W_value))
        )

    return with_steps(project=project)


def biases(change: Callable[[list[Tensor], Any], list[Tensor]]) -> type[Any]:
    """The plain module with other biases of queries, keys and values."""

    def project(self: Any, x: Tensor) -> tuple[Tensor, ...]:
        linear = [self.W_query, self.W_key, self.W_value]
        if linear[0].bias is None:
            return tuple(layer(x) for layer in linear)
        changed = change([layer.bias for layer in linear], self)
        return tuple(x @ layer.weight.T + bias for layer, bias in zip(linear, changed, strict=True))

    return with_steps(project=project)


def turned(layer: Any, x: Tensor) -> Tensor:
    """The layer with its matrix transposed."""
    product = x @ layer.weight
    return product if layer.bias is None else product + layer.bias


def as_it_is(layer: Any, x: Tensor) -> Tensor:
    """No layer at all."""
    return x


def of_one_head(self: Any, bias: Tensor) -> Tensor:
    """The first head's bias for all heads."""
    return bias[: self.head_dim].repeat(self.num_heads)


def first_of(part: Tensor) -> Tensor:
    """The first head for all."""
    return part[:, :1].expand_as(part)


def normalised(change: Callable[[Tensor], Tensor]) -> type[Any]:
    """The plain module with another way from masked scores to weights."""
    return with_steps(normalise=lambda self, scores: change(scores))


def visible(scores: Tensor) -> Tensor:
    """Hidden scores as zeros."""
    return scores.nan_to_num(neginf=0.0)


def softmax(scores: Tensor) -> Tensor:
    """Over the keys."""
    return torch.softmax(scores, dim=-1)


def view(self: Any, x: Tensor) -> Tensor:
    """(B, T, W) read as (B, H, T, D)."""
    return x.reshape(x.shape[0], self.num_heads, x.shape[1], self.head_dim)


def unmerged(self: Any, context: Tensor) -> Tensor:
    """(B, H, T, D) read as (B, T, W)."""
    return context.reshape(context.shape[0], context.shape[2], -1)


def interleaved(self: Any, x: Tensor) -> Tensor:
    """Head h takes every H-th column."""
    return x.view(*x.shape[:2], self.head_dim, self.num_heads).permute(0, 3, 1, 2)


class _OneHead(PlainMultiHead):
    """One head whatever is asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.num_heads, self.head_dim = 1, self.d_out


def twice(self: Any, scores: Tensor) -> Tensor:
    """Softmax, masked again, and once more."""
    return softmax(PlainMultiHead.hide(self, softmax(scores)))


OTHERS: dict[str, type[Any]] = {
    "scale head_dim: multiplied, and the root left out": scale(lambda m: m.head_dim),
    "scale head_dim ** -0.25: applied to queries or keys alone": scale(lambda m: m.head_dim**-0.25),
    "scale applied before and after the softmax": with_steps(
        drop=lambda self, weights: weights / self.head_dim**0.5
    ),
    "mask hides a token's own place alone": mask(lambda t: torch.eye(t, dtype=torch.bool)),
    "mask inverted, its diagonal off by one: only what lies beyond the next token is seen": mask(
        lambda t: torch.ones(t, t).tril(1).bool()
    ),
    "one added to hidden scores: the mask is used as a bias": with_steps(
        hide=lambda self, scores: scores + self.hidden(scores.shape[-1]).to(scores.dtype)
    ),
    "softmax missing: scores are used as weights": normalised(visible),
    "relu for softmax": normalised(torch.relu),
    "relu for the exponential of the softmax": normalised(
        lambda scores: scores.relu() / scores.relu().sum(dim=-1, keepdim=True)
    ),
    "exponentials not normalised": normalised(torch.exp),
    "softmax twice": with_steps(normalise=twice),
    "every head gets the mean of all heads' weights": normalised(
        lambda scores: softmax(scores).mean(dim=1, keepdim=True).expand_as(scores)
    ),
    "heads split and merged without transpose": with_steps(split=view, merge=unmerged),
    "heads interleaved by the split alone": with_steps(split=interleaved),
    "number of heads ignored: one head as wide as all": _OneHead,
    "all heads use the first head's keys": with_steps(
        score=lambda self, queries, keys: queries @ first_of(keys).mT
    ),
    "all heads use the first head's values": with_steps(
        mix=lambda self, weights, values: weights @ first_of(values)
    ),
    "queries and values swapped": projections("value", "key", "query"),
    "keys and values swapped": projections("query", "value", "key"),
    "queries, keys and values turned by one": projections("key", "value", "query"),
    "queries, keys and values turned by two": projections("value", "query", "key"),
    "values made by the query projection": projections("query", "key", "query"),
    "keys made by the value projection": projections("query", "value", "value"),
    "queries made by the key projection": projections("key", "key", "value"),
    "queries made by the value projection": projections("value", "key", "value"),
    "one projection makes queries, keys and values": projections("key", "key", "key"),
    "query matrix transposed": layers(q=turned),
    "key matrix transposed": layers(k=turned),
    "all three matrices transposed": layers(q=turned, k=turned, v=turned),
    "queries not projected": layers(q=as_it_is),
    "keys not projected": layers(k=as_it_is),
    "values not projected": layers(v=as_it_is),
    "nothing projected: queries, keys and values are the input": layers(
        q=as_it_is, k=as_it_is, v=as_it_is
    ),
    "query bias added twice": biases(lambda b, m: [2 * b[0], b[1], b[2]]),
    "value bias added twice": biases(lambda b, m: [b[0], b[1], 2 * b[2]]),
    "biases of queries and keys swapped": biases(lambda b, m: [b[1], b[0], b[2]]),
    "biases of queries and values swapped": biases(lambda b, m: [b[2], b[1], b[0]]),
    "query bias of the first head for all": biases(lambda b, m: [of_one_head(m, b[0]), *b[1:]]),
    "biases of the first head for all": biases(lambda b, m: [of_one_head(m, part) for part in b]),
}


class _WrapperScaledByItsWidth(PlainWrapper):
    """Heads that divide by the root of the width of all of them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for head in self.heads:
            head.head_dim *= len(self.heads)
            head.split = lambda part: part[:, None]
            head.merge = lambda context: context[:, 0]


@pytest.mark.parametrize("name", OTHERS)
def test_a_formula_without_a_fault_is_recognised(name: str) -> None:
    """What no fault does is done here, and gets exactly its name."""
    assert called(OTHERS[name], "multihead", "oracle/output-within-bound") == [name]


def test_a_wrapper_that_divides_by_the_width_of_all_heads_is_told() -> None:
    """Each head knows its own width alone; the wrapper's is d_out times the number of heads."""
    names = called(_WrapperScaledByItsWidth, "wrapper", "oracle/output-within-bound")
    assert names == ["scale 1/sqrt(num_heads * d_out)"]


def test_the_table_names_faults_that_exist() -> None:
    """A misspelt fault would go untested."""
    assert set(NAMES) - set(faults()) == set()


def plainly(name: str) -> str:
    """A name without its numbers: many entries differ in these alone."""
    return re.sub(r"\d[\d.e+]*", "N", name)


MET = {plainly(name) for names in NAMES.values() for name in names} | set(map(plainly, OTHERS))
UNMET = {
    plainly(entry.called): entry
    for entry in reversed(catalogue())
    if not any(name.startswith(plainly(entry.called)) for name in MET)
}
"""Of each kind of wrong formula that no module here shows the first one."""


def examples(entry: type[Formula], family: str) -> list[Case]:
    """The first example of a subject that computes the formula; where it needs more than a family, every
    one of those that have it.
    """
    for kind, rights in WIDER.items():
        if issubclass(entry, kind):
            subjects = [StandIn(find(one, family)[0], Explanation(entry)) for one in rights]
            return [case for subject in subjects for case in pinned_cases(subject) if telling(case)]
    return pinned_cases(StandIn(find(RIGHT[family], family)[0], Explanation(entry)))[:1]


def telling(case: Case) -> bool:
    """Whether positions turn something in it, or heads share."""
    return case.subject.positions is not None or case.sizes.shared > 1


@pytest.mark.parametrize("entry", UNMET.values(), ids=UNMET)
def test_a_wrong_formula_run_as_a_subject_is_called_by_its_name(entry: type[Formula]) -> None:
    """No entry of the catalogue is without a subject that gets its name."""
    family = "multihead" if "multihead" in entry.families else min(entry.families)
    with quiet_and_repeatable():
        told = (name for case in examples(entry, family) for name in formulas(case))
        assert any(name.startswith(entry.called) for name in told)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_module_answers_no_probe(family: str) -> None:
    """What has nothing to do with a formula is not said of it either."""
    case = pinned_cases(find(RIGHT[family], family)[0])[1]
    with quiet_and_repeatable():
        assert [probe.called for probe in probes() if probe.holds(case)] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_formula_of_the_diagnosis_is_the_oracle_with_its_bounds(family: str) -> None:
    """Where no step is changed, value and allowed error are those that clauses judge by."""
    subject = find(RIGHT[family], family)[0]
    compared = 0
    for case in pinned_cases(subject):
        value, allowed = predicted(Formula, case)
        expected = case.budget.output
        if np.isfinite(expected).all():
            compared += 1
            np.testing.assert_allclose(value, case.trace.output, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(allowed, expected, rtol=1e-6)
    assert compared


def test_what_the_family_means_is_no_wrong_formula() -> None:
    """No entry agrees with attention as specified on all examples of a family it is for."""
    for family in FAMILIES:
        right = (
            CrossAttention if family == "cross" else RIGHT[family]
        )  # one that has biases to lose
        subject = find(right, family)[0]
        examples = [e for e in battery(subject) if e.case.dtype == "float64"]
        for formula in catalogue():
            if family in formula.families:
                fitting = [e for e in examples if formula.fits(e.case)]
                same = fitting and all(e.right and e.agrees(formula) for e in fitting)
                assert not same or formula.reaches, (family, formula.called)


class _Raises(Subject):
    """A subject that is wrong and raises for more than one batch item."""

    name = "raises"
    family = "multihead"
    capabilities = find(PlainMultiHead)[0].capabilities

    def build(self, config: Any, weights: Any) -> torch.nn.Module:
        if config.sizes.batch > 1:
            raise ValueError("one item at a time")
        wrong = faults()["scale-absent"].module
        return find(wrong, "multihead")[0].build(config, weights)


def test_a_subject_that_raises_is_judged_by_where_it_does_not() -> None:
    """An example without an output says nothing, and ends nothing."""
    case = pinned_cases(_Raises())[0]
    with pytest.raises(SubjectError):
        case.run()
    assert shown(formulas(case)) == ["scale absent"]


def test_a_law_that_any_formula_may_break_gets_no_formula() -> None:
    """A wrong scale does not explain that a bad input is not refused."""
    fault = faults()["scale-absent"]
    case = pinned_cases(find(fault.module, fault.family)[0])[0]
    areas = ("error", "shape", "state", "transform", "dropout")
    asked = [c for c in clauses().values() if c.concerns(case.subject) and c.area in areas]
    ids = [clause.id for clause in asked if not clause.missing(case.subject)]
    assert ids
    assert {id: names for id in ids if (names := behaves_like(id, case))} == {}


def test_a_run_reports_the_name_with_where_to_look() -> None:
    """From the module to the report: the failed clause says what the subject behaves like."""
    fault = faults()["scale-by-d-out"]
    subject = find(fault.module, fault.family)[0]
    clause = clauses()["oracle/output-within-bound"]
    report = Run(subject, [clause], UNREDUCED, 0).report()
    expected = "scale 1/sqrt(d_out); look for the divisor of the scores"
    assert [r.behaves_like for r in report.results] == [[expected]]


GENERAL = {"called", "look", "families", "alone", "steps", "forms", "fits"} | set(
    vars(type("", (), {}))
)
"""What every entry has of its own, its name and its families for instance."""
OF_NUMPY = (
    "causality/future-gradient-is-zero",
    "causality/nan-future-stays-out",
    "dropout/gradient-follows-the-draw",
    "gradient/every-parameter-receives-gradient",
    "gradient/gradcheck",
    "gradient/gradients-are-finite-for-large-scores",
    "gradient/low-precision-within-bound",
    "heads/head-isolation-in-gradients",
    "oracle/gradient-within-bound",
    "transform/compile-equals-eager",
    "transform/export-equals-eager",
    "transform/vmap-equals-loop",
)
"""Laws that a module which computes in NumPy cannot meet: no name is held against them."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stand_in_for_attention_as_it_should_be_breaks_no_law(family: str) -> None:
    """What a stand-in breaks is then due to the wrong formula alone."""
    subject = find(RIGHT[family], family)[0]
    for case in pinned_cases(subject)[:3]:
        for id, clause in clauses().items():
            asked = clause.concerns(subject) and not clause.missing(subject)
            asked = asked and clause.area not in OF_CALLS  # which have stand-ins of their own
            if asked and id not in OF_NUMPY and clause.since == "quick":
                with quiet_and_repeatable():
                    assert passes(RIGHT_FORMULA, id, case) is True, (id, case.sizes)


@pytest.mark.parametrize("name", ["scale-absent", "mask-shows-the-next-token", "values-are-keys"])
def test_a_stand_in_is_called_by_the_name_of_its_formula(name: str) -> None:
    """The formula of a fault, run as a subject, is recognised as the fault is."""
    fault = faults()[name]
    subject = find(fault.module, fault.family)[0]
    (formula,) = {f.called: f for f in catalogue() if f.called == NAMES[name][0]}.values()
    case = pinned_cases(StandIn(subject, Explanation(formula, ())))[0]
    assert shown(formulas(case)) == NAMES[name]


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_run_as_a_subject_is_called_by_its_name(name: str) -> None:
    """What tells a habit from draws and what the habit draws are written apart, and agree."""
    habit = HABITS[name]
    family = "multihead" if "multihead" in habit.families else "wrapper"
    case = pinned_cases(StandIn(find(RIGHT[family], family)[0], Explanation(habit)))[0]
    with quiet_and_repeatable():
        assert shown(list(map(str, habits(case)))) == [name]


@pytest.mark.parametrize(
    ("fault", "clause", "expected"),
    [
        ("scale-absent", "weights/log-odds-are-scaled-score-differences", True),
        ("scale-absent", "oracle/output-within-bound", True),
        ("scale-absent", "weights/rows-sum-to-one", False),
        ("scale-absent", "shape/parameter-shapes-and-count", None),
        ("scale-absent", "gradient/gradcheck", None),
        ("scale-only-in-training", "oracle/output-within-bound", True),
        ("mask-shows-the-next-token", "causality/future-does-not-change-past", True),
        ("mask-shows-the-next-token", "dropout/inert-in-eval", False),
        ("dropout-in-eval", "dropout/inert-in-eval", True),
        ("dropout-in-eval", "state/forward-is-pure", True),
        ("dropout-in-eval", "state/train-and-eval-reach-dropout", True),
        ("dropout-in-eval", "argument/dropout-has-effect", False),
        ("dropout-shared-by-heads", "dropout/independent-over-heads", True),
        ("dropout-shared-by-heads", "dropout/independent-over-batch", False),
    ],
)
def test_a_name_explains_the_laws_that_its_formula_breaks(
    fault: str, clause: str, expected: bool | None
) -> None:
    """A wrong scale changes outputs; of parameters, which a formula has not, it says nothing."""
    case = pinned_cases(find(faults()[fault].module, faults()[fault].family)[0])[0]
    with quiet_and_repeatable():
        (name,) = formulas(case) or map(str, habits(case))
        assert explains(name, clause, case) is expected


def test_a_case_of_zeros_gets_no_name_that_ordinary_numbers_do_not_bear_out() -> None:
    """Where all outputs are zero, what drops nothing might as well drop everything."""
    fault = faults()["dropout-above-one-drops-nothing"]
    case = pinned_cases(find(fault.module, fault.family)[0])[0]
    zeros = case.map_arrays(lambda name, array: np.zeros_like(array))
    with quiet_and_repeatable():
        assert shown(probed("error/dropout-out-of-range", zeros)) == [
            "a dropout above 1 drops nothing"
        ]


def test_of_a_law_that_a_probe_does_not_list_it_says_nothing() -> None:
    """Nobody has computed what else the subject breaks for that reason."""
    case = pinned_cases(find(PlainMultiHead, "multihead")[0])[0]
    for probe in probes():
        unlisted = next(id for id in clauses() if id not in probe.clauses)
        assert explains(str(probe), unlisted, case) is None


PAIRS: dict[str, type[Any]] = {
    "future not hidden, and queries and keys swapped": with_steps(
        project=lambda self, x: (self.W_key(x), self.W_query(x), self.W_value(x)),
        hide=lambda self, scores: scores,
    ),
    "scale absent, and softmax over the queries": with_steps(
        scale=lambda self, scores: scores,
        normalise=lambda self, scores: torch.softmax(scores, dim=-2),
    ),
    "mask shows the next token: the diagonal is off by one, and scale 1/sqrt(d_out)": with_steps(
        scale=lambda self, scores: scores / self.d_out**0.5,
        hidden=lambda self, tokens: torch.ones(tokens, tokens).triu(2).bool(),
    ),
    "softmax over the heads, and scale absent": with_steps(
        scale=lambda self, scores: scores,
        normalise=lambda self, scores: torch.softmax(scores, dim=1),
    ),
    "softmax missing: scores are used as weights, and scale absent": with_steps(
        scale=lambda self, scores: scores, normalise=lambda self, scores: scores
    ),
    "output projection missing, and scale absent": with_steps(
        scale=lambda self, scores: scores, finish=lambda self, context: context
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_wrong_steps_at_once_are_told_together(name: str) -> None:
    """Neither alone explains the subject, so both are named."""
    assert set(called(PAIRS[name], "multihead", "oracle/output-within-bound")) == {name}


def test_two_wrong_forms_of_one_step_are_no_pair() -> None:
    """They cannot both be; what two entries share is not exchanged twice."""
    entries = [entry for entry in catalogue("multihead") if not entry.alone]
    pairs = [(a, b) for a, b in combinations(entries, 2) if composable(a, b)]
    assert all(not a.steps & b.steps for a, b in pairs)
    own = {entry: {n for c in entry.__mro__[:-2] for n in vars(c)} - GENERAL for entry in entries}
    assert [(a.called, b.called, own[a] & own[b]) for a, b in pairs if own[a] & own[b]] == []


def test_a_name_that_the_subject_has_not_explains_nothing() -> None:
    """Of a name that is not the subject's own nothing is known."""
    case = pinned_cases(find(faults()["scale-absent"].module)[0])[0]
    assert (
        explains("future not hidden; look for the mask", "oracle/output-within-bound", case) is None
    )
