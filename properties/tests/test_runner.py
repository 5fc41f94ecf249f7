"""The runner: statuses, vacuity, dependence, reduction, determinism, and the doors to it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import properties
from properties.basics.assertions import Violation, near, require
from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.cases.reduction import reduce_case
from properties.cases.strategies import make_case, pinned_cases
from properties.recognition.targets import find
from properties.reports.document import as_json
from properties.reports.telling import command
from properties.runs.drawing import draw
from properties.runs.result import Report, Result, Status
from properties.runs.runner import Run, run
from properties.runs.tally import judge
from properties.spec.clause import Clause, Condition, Level, clauses
from properties.spec.clauses.causality import long_sequence
from properties.spec.profiles import PROFILES, Profile
from properties.subjects.subject import FAMILIES
from properties.truth.parameters import Sizes
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead

REFERENCE = find("attention:MultiHeadAttention")[0]
QUICK = PROFILES["quick"]


def clause_of(check: Any, **changes: Any) -> Clause:
    """An unregistered clause."""
    plain = Clause(
        "test/clause",
        Level.MUST,
        "It holds.",
        frozenset(FAMILIES),
        frozenset(),
        Condition("any example", lambda case: True),
        (),
        check,
    )
    return replace(plain, **changes)


def statuses(*asked: Clause, profile: Profile = QUICK) -> dict[str, str]:
    """The status of each clause on the reference."""
    return {
        r.clause: str(r.status) for r in Run(REFERENCE, list(asked), profile, 0).report().results
    }


def test_a_clause_that_holds_passes_and_one_that_does_not_fails() -> None:
    """The two verdicts."""
    assert statuses(clause_of(lambda case: None)) == {"test/clause": "pass"}
    fails = clause_of(lambda case: require(case.sizes.tokens < 3, "fewer than 3 tokens", "more"))
    assert statuses(fails) == {"test/clause": "fail"}


def test_a_clause_whose_condition_is_never_met_is_vacuous() -> None:
    """However many examples were checked."""
    never = clause_of(lambda case: None, counts=Condition("the impossible", lambda case: False))
    report = Run(REFERENCE, [never], QUICK, 0).report()
    assert report.results[0].status == "vacuous"
    assert "0 of 22 examples had the impossible" in report.results[0].message
    assert not report.conforms
    assert report.exit_code == 2


def test_a_failure_is_made_small_though_what_it_depends_on_could_not_be_asked() -> None:
    """An unsupported clause says nothing about the cases on the way."""
    subject = find("torch.nn:MultiheadAttention")[0]
    needs = frozenset({"context-length"})
    root = clause_of(lambda case: require(False, "nothing", "something"), needs=needs)
    after = ("test/clause",)
    leaf = clause_of(lambda case: require(False, "a", "b"), id="test/leaf", after=after)
    report = Run(subject, [root, leaf], QUICK, 0).report()
    assert [r.status for r in report.results] == ["unsupported", "fail"]
    found = report.results[1].counterexample
    assert found is not None
    assert (found["sizes"]["batch"], found["sizes"]["tokens"]) == (1, 1)


def test_what_is_blocked_names_the_root_and_no_clause_between() -> None:
    """The clause between did not hold either; mended, it would show nothing."""
    root = clause_of(lambda case: require(False, "a", "b"), id="test/root")
    between = clause_of(lambda case: None, id="test/between", after=("test/root",))
    leaf = clause_of(lambda case: None, id="test/leaf", after=("test/between",))
    report = Run(REFERENCE, [root, between, leaf], QUICK, 0).report()
    assert [r.message for r in report.results[1:]] == ["needs test/root, which does not hold"] * 2


def test_a_failure_says_what_the_subject_was_asked_with() -> None:
    """A clause asks with a probe of its own; where it asks with the case, there is nothing to say."""

    def longer(case: Case) -> None:
        probe = replace(long_sequence(case), dtype="bfloat16")
        require(probe.output is None, "nothing", "an output")

    own = clause_of(lambda case: require(case.output is None, "nothing", "an output"))
    found, plain = (
        Run(REFERENCE, [clause_of(longer), replace(own, id="test/own")], QUICK, 0).report().results
    )
    assert found.counterexample
    assert found.counterexample["sizes"]["tokens"] == 1
    assert found.counterexample["dtype"] == "float64"
    assert found.probe
    assert found.probe["sizes"]["tokens"] == 12
    assert found.probe["dtype"] == "bfloat16"
    assert plain.probe is None


def test_a_failure_that_comes_and_goes_keeps_its_message() -> None:
    """Though the smallest case holds when it is asked once more."""
    calls: list[Case] = []

    def once(case: Case) -> None:
        calls.append(case)
        require(len(calls) > 1, "the first call to hold", "a failure")

    (result,) = Run(REFERENCE, [clause_of(once)], QUICK, 0).report().results
    assert (result.status, result.message) == (
        "fail",
        "expected the first call to hold; got a failure",
    )


@pytest.mark.parametrize("phase", ["explain", "script"])
def test_a_failure_stands_though_telling_it_ends_the_process(phase: str) -> None:
    """The picture or the script is missing, the verdict is not."""
    fails = clause_of(lambda case: require(False, "nothing", "something"))
    lost = {f"{phase} test/clause": "did not return within 3 s here; the process was ended"}
    report = Run(REFERENCE, [fails], QUICK, 0, lost=lost, scripts=phase == "script").report()
    assert report.exit_code == 1
    assert [(r.status, r.script, r.evidence) for r in report.results] == [("fail", "", None)]


def test_a_failure_stands_though_telling_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note says what is missing and why."""
    monkeypatch.setattr("properties.runs.failures.evidence", lambda clause, case: 1 / 0)
    report = Run(REFERENCE, [clause_of(lambda case: require(False, "a", "b"))], QUICK, 0).report()
    assert report.exit_code == 1
    assert any("no picture: ZeroDivisionError" in note for note in report.notes)


def test_what_depends_on_a_clause_without_a_verdict_is_told_so() -> None:
    """Nobody says of it that it does not hold."""
    root = clause_of(lambda case: 1 / 0)
    leaf = clause_of(lambda case: None, id="test/leaf", after=("test/clause",))
    report = Run(REFERENCE, [root, leaf], QUICK, 0).report()
    assert report.results[1].message == "needs test/clause, which has no verdict"


def test_a_clause_that_needs_what_the_subject_lacks_is_unsupported() -> None:
    """It is counted, and the verdict says so."""
    subject = find("torch.nn:MultiheadAttention")[0]
    needy = clause_of(lambda case: None, needs=frozenset({"context-length"}))
    easy = clause_of(lambda case: None, id="test/easy")
    report = Run(subject, [needy, easy], QUICK, 0).report()
    assert [r.status for r in report.results] == ["unsupported", "pass"]
    assert report.conforms
    assert [r.clause for r in report.unsupported] == ["test/clause"]


def test_a_clause_is_blocked_by_a_broken_one_that_it_depends_on() -> None:
    """One root is reported instead of two failures."""

    def broken(case: Case) -> None:
        require(False, "nothing", "something")

    root = clause_of(broken)
    leaf = clause_of(broken, id="test/leaf", after=("test/clause",))
    assert statuses(root, leaf) == {"test/clause": "fail", "test/leaf": "blocked"}


def test_an_exception_of_the_suite_is_an_error_not_a_failure() -> None:
    """Nobody is accused of our own mistakes."""
    assert statuses(clause_of(lambda case: 1 / 0)) == {"test/clause": "error"}


def test_fail_fast_stops_at_the_first_failed_must_clause() -> None:
    """What was still standing is reported as not finished."""
    first = clause_of(lambda case: require(False, "nothing", "something"))
    second = clause_of(lambda case: None, id="test/second")
    report = Run(REFERENCE, [first, second], QUICK, 0, fail_fast=True).report()
    assert [r.status for r in report.results] == ["fail", "blocked"]
    assert report.results[1].examples == 0


def test_a_limit_on_examples_is_honoured() -> None:
    """Costly clauses are checked on few cases, and may then count few."""
    few = clause_of(lambda case: None, examples=3)
    report = Run(REFERENCE, [few], PROFILES["ci"], 0).report()
    assert (report.results[0].status, report.results[0].examples) == ("pass", 3)


def test_the_same_seed_draws_the_same_cases_and_another_seed_others() -> None:
    """Down to the last number."""

    def drawn(seed: int) -> list[Any]:
        return [(c.sizes, c.dtype, c.x.tolist()) for c in draw(REFERENCE, QUICK, seed)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_a_run_leaves_the_callers_random_state_and_threads_alone() -> None:
    """Whatever the subject seeds."""
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        run(REFERENCE, profile="quick", only=["shape/output-shape"])
        assert torch.equal(before, torch.get_rng_state())
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("tokens", [1, 2, 3])
@pytest.mark.parametrize("heads", [1, 2])
def test_a_failure_is_reduced_to_the_smallest_sizes_that_fail(tokens: int, heads: int) -> None:
    """Everything that the failure does not need goes: tokens, heads, dims, items, columns, numbers."""
    case = next(c for c in pinned_cases(REFERENCE) if c.sizes.tokens > 2 < c.sizes.heads)

    def fails(candidate: Case) -> bool:
        return candidate.sizes.tokens >= tokens and candidate.sizes.heads >= heads

    s = reduce_case(case, fails, 1000).sizes
    assert (s.tokens, s.heads) == (tokens, heads)
    assert (s.batch, s.head_dim, s.d_in, s.context_length) == (1, 1, 1, tokens)


def test_a_reduced_case_holds_zeros_and_small_integers() -> None:
    """A single number that matters is left, and it is a simple one."""
    case = pinned_cases(REFERENCE)[0]
    reduced = reduce_case(case, lambda c: bool(np.any(c.x > 0.5)), 2000)
    assert reduced.x.tolist() == [[[1.0]]]


def test_sizes_that_must_be_equal_are_made_small_together() -> None:
    """B = T, and d_in = W: neither can be shortened alone."""
    case = make_case(REFERENCE, Sizes(4, 4, 12, 3, 4, 9), "float64", "ordinary", False, 0.5, 2, 0)

    def square(candidate: Case) -> bool:
        s = candidate.sizes
        return s.batch == s.tokens > 1 and s.d_in == s.width

    s = reduce_case(case, square, 600).sizes
    assert (s.batch, s.tokens, s.heads, s.head_dim, s.d_in) == (2, 2, 1, 1, 1)


def test_reduction_spends_no_more_evaluations_than_it_may() -> None:
    """The work is counted, not timed."""
    calls = []
    reduce_case(pinned_cases(REFERENCE)[0], lambda case: bool(calls.append(1)) or True, 17)
    assert len(calls) == 17


def test_reduction_of_a_square_subject_keeps_it_square() -> None:
    """d_in stays the width when heads and dims go."""
    subject = find("torch.nn:MultiheadAttention")[0]
    reduced = reduce_case(pinned_cases(subject)[0], lambda case: case.sizes.heads >= 2, 1000)
    assert (reduced.sizes.d_in, reduced.sizes.width) == (2, 2)
    assert reduced.build().run(reduced.x).shape == (1, 1, 2)


ISSUED = {
    "mask-hides-the-diagonal": "causality/every-past-token-is-seen",
    "mask-shows-the-next-token": "causality/future-does-not-change-past",
    "mask-result-discarded": "causality/future-does-not-change-past",
    "scale-by-d-out": "weights/log-odds-are-scaled-score-differences",
    "scale-absent": "weights/log-odds-are-scaled-score-differences",
    "softmax-over-queries": "weights/rows-sum-to-one",
    "view-without-transpose": "heads/split-equals-per-head-matmul",
    "merge-without-transpose": "heads/split-equals-per-head-matmul",
    "dropout-in-eval": "dropout/inert-in-eval",
    "dropout-unscaled": "dropout/survivors-are-exactly-scaled",
}


@pytest.mark.parametrize("name", ISSUED)
def test_the_ten_best_known_faults_are_told_apart_by_a_small_case(name: str) -> None:
    """By the clause one would expect, with at most three tokens and two heads."""
    subject = find(faults()[name].module, "multihead")[0]
    report = Run(subject, [clauses()[ISSUED[name]]], QUICK, 0).report()
    (result,) = report.results
    assert result.status == "fail"
    assert result.counterexample is not None
    s = result.counterexample["sizes"]
    assert s["tokens"] <= 3
    assert s["heads"] <= 2


def test_a_report_survives_its_json() -> None:
    """What is written can be read back, schema and all."""
    subject = find(faults()["scale-absent"].module, "multihead")[0]
    report = run(subject, profile="quick", only=["oracle/output-within-bound"])
    document = json.loads(as_json([report]))
    assert document["schema"] == "attention-properties/report/2"
    assert Report.from_dict(document["reports"][0]) == report


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((("pass", "MUST"),), 0),
        ((("pass", "MUST"), ("fail", "SHOULD"), ("fail", "MAY")), 0),
        ((("pass", "MUST"), ("unsupported", "MUST")), 0),
        ((("pass", "MUST"), ("fail", "MUST")), 1),
        ((("fail", "MUST"), ("error", "MUST")), 1),
        ((("pass", "MUST"), ("vacuous", "MUST")), 2),
        ((("pass", "MUST"), ("error", "SHOULD")), 2),
        ((("unsupported", "MUST"),), 2),
        ((), 2),
    ],
)
def test_the_exit_code_follows_from_the_statuses(found: Any, code: int) -> None:
    """0 all MUST clauses hold, 1 one fails, 2 the question was not answered."""
    results = [Result(f"a/{n}", level, Status(status)) for n, (status, level) in enumerate(found)]
    assert Report("s", "multihead", "ci", 0, results).exit_code == code


def test_check_takes_a_class_a_factory_a_subject_and_a_string() -> None:
    """Four ways to the same verdict."""

    def factory(d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int) -> Any:
        return PlainMultiHead(d_in, d_out, context_length, dropout, num_heads)

    for target in (PlainMultiHead, factory, REFERENCE, "attention:MultiHeadAttention"):
        assert properties.check(target, profile="quick", only=["shape/output-shape"]).conforms


def test_check_wants_one_subject() -> None:
    """A package of several is a question with several answers."""
    with pytest.raises(QuestionError, match="MultiHeadAttention"):
        properties.check("attention", profile="quick")


def test_a_clause_named_for_another_family_asks_nothing_and_says_so() -> None:
    """`--only` with a clause that does not concern the subject is no silent success."""
    causal = find("attention:CausalAttention")[0]
    for only in ("heads/wrapper-width", "heads/split-equals-per-head-matmul", "heads"):
        with pytest.raises(QuestionError, match=only):
            run(causal, profile="quick", only=[only])
        with pytest.raises(pytest.Collector.CollectError, match=only):
            properties.parametrize("attention:CausalAttention", only=[only])
    assert run(causal, profile="quick", only=["heads", "shape/output-shape"]).conforms


def test_the_command_that_asks_again_has_the_family_that_was_named() -> None:
    """Without it the same target might be refused."""
    named = run(find(PlainMultiHead, "multihead")[0], profile="quick", only=["shape/output-shape"])
    found = run(find(PlainMultiHead)[0], profile="quick", only=["shape/output-shape"])
    assert (named.options, found.options) == (["--family", "multihead"], [])
    assert " --family multihead --only shape/output-shape --profile quick" in command(named)


def test_near_points_at_the_worst_entry() -> None:
    """Expected, actual, tolerance and place are in the message."""
    with pytest.raises(Violation) as caught:
        near("a sum of", np.array([[1.0, 2.0], [1.0, 9.0]]), 1.0, 0.5, "row column")
    assert str(caught.value) == "expected a sum of 1 to within 0.5; got 9 at row 1, column 1"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_near_never_takes_nan_or_infinity_for_a_number(value: float) -> None:
    """However large the tolerance, as long as it is finite."""
    with pytest.raises(Violation):
        near("a value of", np.array([value]), 0.0, 1e300, "entry")


def test_near_takes_two_nans_for_the_same() -> None:
    """A law that compares two runs leaves what they share to other laws."""
    assert near("x", np.array([np.nan]), np.array([np.nan]), 0.0, "entry") == 0.0


def test_judge_gives_the_share_of_the_budget_that_was_used() -> None:
    """Between 0 and 1 on a right subject."""
    outcome = judge(clauses()["oracle/output-within-bound"], pinned_cases(REFERENCE)[0])
    assert outcome.margin is not None
    assert 0.0 <= outcome.margin <= 1.0


def test_what_computes_an_allowed_error_is_called_where_something_differs_alone() -> None:
    """The margin and the failure are those of the error itself."""
    called: list[int] = []

    def allowed() -> np.ndarray[Any, Any]:
        called.append(1)
        return np.array([0.5, 2.0])

    assert near("x", np.array([1.0, 2.0]), np.array([1.0, 2.0]), allowed, "entry") == 0.0
    assert not called
    assert near("x", np.array([1.0, 3.0]), np.array([1.0, 2.0]), allowed, "entry") == 0.5
    assert called
    with pytest.raises(Violation, match=r"to within 0\.5; .* at entry 0"):
        near("x", np.array([2.0, 3.0]), np.array([1.0, 2.0]), allowed, "entry")
