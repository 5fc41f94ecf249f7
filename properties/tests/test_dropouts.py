"""Dropout of the output is told from dropout of the weights, and a shared draw is declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_sizes
from properties.recognition.targets import find, find_one
from properties.runs.runner import run
from properties.subjects.card import card
from properties.subjects.subject import Config
from properties.tests.test_needed import Heads
from properties.tests.test_rights import accusations
from properties.zoo.faults import faults
from properties.zoo.rights.dropouts import (
    FusedResidualAttention,
    ResidualDropoutAttention,
    SharedDropout,
    SharedDropoutAttention,
)

EFFECT = "argument/dropout-has-effect"


@pytest.mark.parametrize(
    ("target", "name"),
    [(ResidualDropoutAttention, "resid_dropout"), (FusedResidualAttention, "last")],
)
def test_a_dropout_of_the_output_is_switched_off_whatever_its_name(target: Any, name: str) -> None:
    """By what is called after the output projection; the dropout of the weights is judged."""
    [subject] = find(target)
    assert f"switched off: {name}, which drops numbers of the output, not weights" in subject.notes
    config = replace(Config(pinned_sizes(subject)[0]), dropout=0.5)
    assert subject.build(config, None).get_submodule(name).p == 0.0


class OnlyTheOutput(ResidualDropoutAttention):
    """Forgets the weights."""

    def forward(self, x: Tensor) -> Tensor:
        weights, self.dropout = self.dropout, nn.Identity()
        try:
            return super().forward(x)
        finally:
            self.dropout = weights


def test_who_drops_nothing_but_the_output_is_accused() -> None:
    """Switched off, nothing is dropped any more."""
    [subject] = find(OnlyTheOutput)
    assert "argument/dropout-has-effect" in accusations(subject)


class DropsTheOutput(Heads):
    """One dropout, of the output, as in the cross-attention of diffusion models."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(d_model, num_heads)
        self.last = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.last(self.attend([x, x, x], lambda scores: scores))
        return dropped


class KeepsTheNumber(DropsTheOutput):
    """For a kernel, and does not hand it over."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(d_model, num_heads, dropout)
        self.p = dropout


def test_a_dropout_that_is_of_the_output_alone_is_not_asked_of_the_weights() -> None:
    """No weights are meant where nothing else in the module has its number."""
    subject = find_one(DropsTheOutput)
    assert not subject.has("dropout")
    assert subject.unasked["dropout"] == "dropout of the output alone, by last: it is 0"
    assert card(subject).dropout == ""


def test_who_keeps_the_number_and_drops_no_weights_is_accused() -> None:
    [*_, result] = run(find_one(KeepsTheNumber), profile="quick", only=[EFFECT]).results
    assert (result.clause, result.status) == (EFFECT, "fail")


class AlwaysDrops(Heads):
    """A dropout of its own, whatever the mode, and a function that pickle refuses."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.same = lambda scores: scores

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: F.dropout(scores, 0.5))


def test_what_is_drawn_in_eval_has_its_name_where_no_p_is_told() -> None:
    """A copy that gives something else is no matter of the copy."""
    only = ["numerics/deterministic-in-eval", "state/deepcopy"]
    report = run(find_one(AlwaysDrops), profile="quick", only=only)
    assert [f.name for f in report.findings if f.kind == "fault"] == ["numbers are drawn in eval"]


class MadeWhereItDrops(ResidualDropoutAttention):
    """The layer is there where its probability is above zero."""

    def __init__(self, d_model: int, n_head: int, dropout: float = 0.0) -> None:
        super().__init__(d_model, d_model, 64, dropout, n_head)
        self.resid_dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()


class OfTheContextAsWell(MadeWhereItDrops):
    """And what is mixed is dropped too."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return self.dropout(super().attend(queries, keys, values))


def test_a_dropout_of_the_output_that_is_made_where_it_drops_is_switched_off() -> None:
    """Where nothing is dropped there is none to be found; another one stays a finding."""
    only = ["dropout/acts-on-weights-only", "dropout/survivors-are-exactly-scaled"]
    subject = find_one(MadeWhereItDrops)
    assert any(note.startswith("switched off: resid_dropout,") for note in subject.notes)
    assert run(subject, profile="quick", only=only).failed == []
    assert run(find_one(OfTheContextAsWell), profile="quick", only=only).failed


def test_one_dropout_for_weights_and_output_alike_is_no_second_one() -> None:
    """It cannot be switched off, and stays a finding."""
    [subject] = find(faults()["dropout-on-output-as-well"].module)
    assert not any("switched off" in note for note in subject.notes)
    assert "dropout/acts-on-weights-only" in accusations(subject)


class HalfShared(SharedDropout):
    """Declares less than it shares."""

    dropout_shared = ("batch",)


class Misdeclared(SharedDropout):
    dropout_shared = ("batch", "queries")


def test_a_draw_that_is_shared_is_a_finding_unless_it_is_declared() -> None:
    """For each axis by itself."""
    undeclared = accusations(find(SharedDropoutAttention)[0])
    assert {"dropout/independent-over-batch", "dropout/independent-over-heads"} <= set(undeclared)
    half = accusations(find(HalfShared)[0])
    assert "dropout/independent-over-heads" in half
    assert "dropout/independent-over-batch" not in half
    note = "declared by the adapter: one draw of dropout serves all batch and all heads"
    assert note in find(SharedDropout)[0].notes


def test_a_declaration_of_anything_else_is_refused() -> None:
    """It would silently excuse nothing."""
    with pytest.raises(QuestionError, match="dropout_shared holds queries"):
        find(Misdeclared)
