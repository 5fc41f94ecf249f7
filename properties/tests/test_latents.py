"""Keys and values that are made of a latent are asked about as if they were made of the tokens."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from torch import nn

from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.targets import find_one
from properties.runs.runner import quiet_and_repeatable, run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.subject import Subject
from properties.tests.data import latents
from properties.tests.test_needed import ODDS

LAWS = ["causality", "heads", "oracle", "gradient", "state"]


def failing(asked: Subject, law: str) -> list[Case]:
    """The cases that are always drawn on which a law fails."""
    with quiet_and_repeatable():
        return [c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (latents.LatentAttention, {"W_dkv"}),
        (latents.NormedLatents, {"q_a_proj", "kv_a_proj", "q_a_layernorm", "kv_a_layernorm"}),
    ],
)
def test_a_right_latent_is_asked_of_all_but_itself(target: type[nn.Module], told: set[str]) -> None:
    """It is as wide as the tokens; norms of latents are taken out, as others are."""
    asked = find_one(target)
    assert {"projections", "out-projection"} <= asked.capabilities
    assert told <= asked.unasked.keys()
    assert run(asked, profile="quick", only=LAWS).failed == []


@pytest.mark.parametrize(
    ("target", "law"),
    [
        (latents.OffByOne, "symmetry/token-permutation"),
        (latents.ScaledByTheLatent, ODDS),
        (latents.MergedWithoutTranspose, "oracle/output-within-bound"),
        (latents.OfTheQueriesLatent, "oracle/output-within-bound"),
    ],
)
def test_a_wrong_latent_is_told(target: type[nn.Module], law: str) -> None:
    """That of the queries has another order of columns than the one for keys and values."""
    assert failing(find_one(target), law)


def test_a_latent_of_another_width_is_told_with_its_shape() -> None:
    """Any matrix is no product of two such."""
    asked = find_one(latents.OfAWidthOfItsOwn)
    assert not asked.has("projections")
    assert "W_uk.weight has the shape (8, 3)" in asked.lacking["projections"]


def test_a_script_rolls_latents_itself() -> None:
    """The same text fails on the fault and passes on what is right."""
    case = failing(find_one(latents.ScaledByTheLatent), ODDS)[0]
    with quiet_and_repeatable():
        found = script(clauses()[ODDS], case)
    assert found is not None
    assert found.fails()
    found.run(latents.LatentAttention)


@pytest.mark.parametrize(
    ("target", "layer"),
    [(latents.RotaryKeyAttention, "W_kr"), (latents.RotaryKeyBesideTheLatent, "W_dkv")],
)
def test_a_rotary_key_beside_the_latent_is_refused_and_its_layer_named(
    target: type[nn.Module], layer: str
) -> None:
    """No one matrix makes its keys."""
    with pytest.raises(QuestionError, match=f"rotary key of its own: {layer} makes") as refused:
        find_one(target)
    advice = str(refused.value).partition("by a function:\n")[2]
    home: dict[str, Any] = {}
    exec(textwrap.dedent(advice), home)
    assert run(find_one(home["attention"]), profile="quick", only=["oracle"]).failed == []
