"""ALiBi and T5: what is added to the scores for a distance is put out of action, or refused, and told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters.distances import slopes
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find, find_one
from properties.runs.runner import run
from properties.tests.test_needed import ODDS, Heads
from properties.zoo.faults import faults


def failed(kind: type[nn.Module]) -> list[str]:
    """The laws that do not hold, of the one that looks into the scores and those before it."""
    report = run(find_one(kind), profile="quick", only=[ODDS])
    return [r.clause for r in report.results if r.status == "fail"]


class KeptSlopes(Heads):
    """A slope for each head, in a buffer."""

    slopes: Tensor

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        slopes = 2.0 ** (-8.0 / num_heads * torch.arange(1, num_heads + 1))
        self.register_buffer("slopes", slopes[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        back = places[:, None] - places

        def hide(scores: Tensor) -> Tensor:
            less = self.taken(scores) * back
            return (scores - less).masked_fill(back < 0, -torch.inf)

        return self.attend([x, x, x], hide)

    def taken(self, scores: Tensor) -> Tensor:
        return self.slopes.to(scores)


class UnscaledSlopes(KeptSlopes):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


def alibi_slopes(num_heads: int) -> Tensor:
    """(H, 1, 1)."""
    return (2.0 ** (-8.0 / num_heads * torch.arange(1, num_heads + 1)))[:, None, None]


class ComputedSlopes(KeptSlopes):
    """The same, made at each call."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        del self.slopes

    def taken(self, scores: Tensor) -> Tensor:
        return alibi_slopes(self.num_heads).to(scores)


class AlibiHeads(KeptSlopes):
    """The same, kept under a name that says nothing: that of the class does."""

    m: Tensor

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.register_buffer("m", self.slopes)
        del self.slopes

    def taken(self, scores: Tensor) -> Tensor:
        return self.m.to(scores)


class UnscaledAlibiHeads(AlibiHeads):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class OddAlibiHeads(AlibiHeads):
    """Other slopes than those published, under a name that says nothing."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.m *= 0.5


class OfT5(Heads):
    """A learned number for each distance and head, and no scale."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.relative_attention_bias = nn.Embedding(64, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        apart = (places[:, None] - places).clamp(-32, 31) + 32
        more = self.relative_attention_bias(apart).permute(2, 0, 1)
        return self.attend([x, x, x], lambda scores: scores + more)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class ScaledTwice(OfT5):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT / self.head_dim


def test_slopes_that_are_kept_are_zero_and_all_else_is_asked() -> None:
    assert failed(KeptSlopes) == []
    told = "slopes is asked about by itself; elsewhere it is zero"
    assert told in find_one(KeptSlopes).notes


def test_slopes_that_were_published_are_known_by_their_values() -> None:
    assert failed(AlibiHeads) == []
    assert "m is asked about by itself; elsewhere it is zero" in find_one(AlibiHeads).notes


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (ComputedSlopes, "0.0625 in head 0, 0.00390625 in head 1"),
        (OddAlibiHeads, "0.03125 in head 0, 0.00195312 in head 1"),
    ],
)
def test_slopes_that_are_not_found_are_refused_with_their_numbers(
    kind: type[nn.Module], numbers: str
) -> None:
    with pytest.raises(QuestionError, match=rf"{numbers} of 2 \(ALiBi\)"):
        find(kind)


def test_a_penalty_that_nobody_speaks_of_is_a_fault() -> None:
    """The same numbers show it, and it is judged."""
    [subject] = find(faults()["distance-penalty-left-on-by-head"].module)
    assert isinstance(subject, ModuleSubject)
    assert slopes(subject.build, "float64") == pytest.approx([0.25, 0.5])


def test_scores_of_t5_are_not_scaled() -> None:
    assert failed(OfT5) == []
    assert not find_one(OfT5).scaled


@pytest.mark.parametrize("kind", [UnscaledSlopes, UnscaledAlibiHeads, ScaledTwice])
def test_a_wrong_scale_beside_distances_is_told(kind: type[nn.Module]) -> None:
    assert failed(kind) == [ODDS]
