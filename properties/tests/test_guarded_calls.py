"""Bad input to a call is refused, or read in one way; what our own doors are told wrongly is said."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from properties import check
from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.cli import main
from properties.recognition.targets import find
from properties.reports.verdict import verdict
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import Clause, Half, clauses
from properties.subjects.call import Answer, Arguments, Conventions, Inputs
from properties.subjects.instance import Instance
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights
from properties.zoo.faults.plain import PlainCausal
from properties.zoo.wide import sound_ones

SDPA = "torch.nn.functional:scaled_dot_product_attention"
VALUES, NAN = "error/keys-without-their-values", "error/scale-of-nan"
OPEN = {
    "sdpa-over-the-kernel": {VALUES, NAN},
    "flash-block-by-block": {VALUES},
    "flash-query-by-query": {VALUES},
}
"""What some right implementations do not refuse: they are right, and unguarded."""
KINDS = ("sdpa-like", "flash-like", "encoder", "masked")
RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind in KINDS}


@cache
def laws() -> list[Clause]:
    """Those about bad input to calls."""
    of_calls = clauses()["error/no-keys"].check.__module__
    return [law for law in clauses().values() if law.check.__module__ == of_calls]


def unrefused(target: Callable[..., Any]) -> set[str]:
    """The laws about bad input that a pinned example breaks."""
    subject = find(target)[0]
    with quiet_and_repeatable():
        return {
            law.id
            for law in laws()
            if law.concerns(subject)
            for case in pinned_cases(subject)
            if judge(law, case).status != "pass"
        }


@pytest.mark.parametrize("name", RIGHT)
def test_right_attention_refuses_or_reads_in_one_way(name: str) -> None:
    assert unrefused(RIGHT[name]) == OPEN.get(name, set())


def test_torch_is_right_and_what_it_does_not_refuse_is_said() -> None:
    """It reads values behind the last one, and makes zeros of a scale that is NaN."""
    report = check(SDPA, profile="quick", only=["error"])
    words, _ = verdict(report)
    assert report.exit_code == 0
    assert words.startswith("right")
    assert words.endswith("unguarded: 1 (keys and values of different numbers)")
    unmet = {r.clause for r in report.results if r.status == "fail"}
    assert unmet == {VALUES, NAN}


def test_every_law_about_bad_input_is_of_the_guarded_half() -> None:
    assert {law.half for law in laws()} == {Half.GUARDED}
    assert all(law.brief for law in laws() if law.level == "MUST")


class Asked(Subject):
    """Scores of zero, whatever is asked."""

    family = "causal"
    capabilities = frozenset({"projections", "batched"})
    dtypes = ("float64",)
    takes = MappingProxyType({"mask": "mask"})

    def build(self, config: Config, weights: Weights | None) -> Any:
        s = config.sizes
        with torch.random.fork_rng(devices=[]):
            return PlainCausal(s.d_in, s.width, s.context_length, 0.0).double()

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        return Answer(Instance(module, dtype, batched=True).run(inputs["x"]))


class OfAnUnknownRole(Asked):
    takes = MappingProxyType({"maske": "mask"})


class OfNoRoles(Asked):
    takes = "mask"  # type: ignore[assignment]


class OfAnUnknownAnswer(Asked):
    conventions = Conventions(mask="maybe")


class OfNoConventions(Asked):
    conventions = MappingProxyType({"mask": "attend"})  # type: ignore[assignment]


class WithoutAsk(Asked):
    ask = Subject.ask


class OfAnotherShape(Asked):
    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        return Answer(np.zeros((1, 2)))


class OfATensor(Asked):
    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        return Answer(torch.zeros(1, 2, 3))  # type: ignore[arg-type]


class OfAnArray(Asked):
    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        return inputs["x"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (OfAnUnknownRole, "takes holds maske"),
        (OfNoRoles, "takes is 'mask'"),
        (OfAnUnknownAnswer, "conventions has mask='maybe'"),
        (OfNoConventions, "conventions is mappingproxy"),
        (WithoutAsk, "ask cannot be asked: a call without arguments raised NotImplementedError"),
        (OfAnotherShape, "ask returned an Answer with an output 1x2"),
        (OfATensor, "ask returned an Answer with an output that is Tensor 1x2x3"),
        (OfAnArray, "ask returned numpy ndarray"),
    ],
)
def test_what_an_adapter_claims_wrongly_of_calls_is_said(adapter: type[Subject], said: str) -> None:
    with pytest.raises(QuestionError, match=said) as caught:
        find(adapter)
    assert "Expected" in str(caught.value)


def test_an_adapter_that_answers_is_taken() -> None:
    assert find(Asked)[0].takes == {"mask": "mask"}


def test_the_command_line_says_what_an_adapter_claims_wrongly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, and one message."""
    assert main(["check", f"{Path(__file__)}:OfAnotherShape", "--profile", "quick"]) == 2
    out, err = capsys.readouterr()
    assert "ask returned an Answer with an output 1x2" in " ".join(err.split())
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", ["check", "describe", "diff"])
def test_a_wrong_answer_to_a_convention_is_said_at_every_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [SDPA, SDPA] if command == "diff" else [SDPA]
    assert main([command, *targets, "--convention", "align=left"]) == 2
    out, err = capsys.readouterr()
    assert "The convention align has no answer 'left'" in err
    assert "Traceback" not in out + err
