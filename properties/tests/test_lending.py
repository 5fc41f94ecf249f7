"""Lent modules: fewer are built, and the verdict is that of new ones."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from torch import Tensor, nn

from attention import MultiHeadAttention
from properties.cases.lending import Lender
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.subjects.subject import Config
from properties.truth.parameters import Weights


class DriftsFromItsThirdCallOn(MultiHeadAttention):
    """Right twice, then off by a tenth: a law of one call sees nothing wrong on a new module."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        output: Tensor = super().forward(x)
        return output + 0.1 * (self.calls > 2)


def verdicts(target: type[MultiHeadAttention]) -> dict[str, tuple[str, str]]:
    """What became of each clause, and what is told of it."""
    report = run(find(target)[0], profile="quick", only=["state/forward-is-pure", "weights"])
    return {result.clause: (str(result.status), result.message) for result in report.results}


def test_the_verdict_is_that_of_new_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A law about single calls holds of a module that only goes wrong later, lent or not."""
    lent = verdicts(DriftsFromItsThirdCallOn)
    monkeypatch.setattr(Lender, "lending", lambda self: nullcontext())
    assert lent == verdicts(DriftsFromItsThirdCallOn)
    assert lent["state/forward-is-pure"][0] == "fail"
    assert all(status == "pass" for law, (status, _) in lent.items() if law.startswith("weights/"))


def test_runs_of_one_size_share_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws that compare runs of one example build two thirds as many modules at most."""
    built: list[Config] = []
    build = ModuleSubject.build

    def counting(self: ModuleSubject, config: Config, weights: Weights | None) -> nn.Module:
        built.append(config)
        return build(self, config, weights)

    monkeypatch.setattr(ModuleSubject, "build", counting)
    subject = find(MultiHeadAttention)[0]

    def counted() -> int:
        built.clear()
        assert run(subject, profile="quick", only=["weights", "symmetry"]).right
        return len(built)

    lent = counted()
    monkeypatch.setattr(Lender, "lending", lambda self: nullcontext())
    assert 3 * lent <= 2 * counted()
