"""A forward of queries and a context is asked in whatever order it takes them, and by other names.

Legend: B batch, T tokens of queries, S tokens of the context.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.scripts.construction import expression, prelude
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_calls import broken_by, subject
from properties.zoo.wide.cross import CrossWithTwoMasks, PlainCross
from properties.zoo.wide.cross_faults import ScaleByTheNumberOfKeys, ValuesFromTheQueries


def called(first: str, second: str, queries: str, base: type[nn.Module] = PlainCross) -> Any:
    """A class whose forward takes two inputs by these names, and makes queries of one of them."""
    keys = second if queries == first else first
    lines = (
        "class Cross(Base):",
        f"    def forward(self, {first}, {second}):",
        f"        return Base.forward(self, {queries}, {keys})",
    )
    made: dict[str, Any] = {"Base": base}
    exec("\n".join(lines), made)
    return made["Cross"]


SPELLINGS = [
    ("context", "latents", "latents"),
    ("x", "latents", "latents"),
    ("latents", "x", "latents"),
    ("kv", "q", "q"),
    ("memory", "tgt", "tgt"),
]


@pytest.mark.parametrize(("first", "second", "queries"), SPELLINGS)
def test_queries_are_made_of_the_input_that_a_trial_shows(
    first: str, second: str, queries: str
) -> None:
    """The order and the names of the inputs are the author's; every law about calls holds."""
    asked = subject(called(first, second, queries))
    assert asked.family == "cross"
    assert asked.takes["context"] == "context"
    assert any(note.startswith(f"queries are made of {queries}, ") for note in asked.notes)
    assert broken_by(asked, pinned_cases(asked)) == set()


class Normed(PlainCross):
    """Perceiver's: a norm of each input, latents last."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.norm_x, self.norm_latents = nn.LayerNorm(d_model), nn.LayerNorm(d_model)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        return super().forward(self.norm_latents(latents), self.norm_x(x))


class Masked(CrossWithTwoMasks):
    """A mask of x's tokens, which has to be given."""

    def forward(self, x: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        return super().forward(latents, x, context_mask=self.of_items(mask))

    def of_items(self, mask: Tensor) -> Tensor:
        """The mask of each item, (B, S)."""
        return mask


class MaskedByOtherItems(Masked):
    def of_items(self, mask: Tensor) -> Tensor:
        return mask.roll(-1, 0)


@pytest.mark.parametrize("target", [Normed, Masked])
def test_norms_and_masks_of_such_inputs_are_no_hindrance(target: type[nn.Module]) -> None:
    asked = subject(target)
    assert "context" in asked.takes
    assert (target is Masked) == ("context_padding" in asked.takes)
    assert broken_by(asked, pinned_cases(asked)) == set()


WRONG = {
    "scale 1/sqrt(tokens)": called("x", "latents", "latents", ScaleByTheNumberOfKeys),
    "values from the queries' source": called(
        "context", "latents", "latents", ValuesFromTheQueries
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_such_a_module_is_told_by_name(name: str) -> None:
    asked = subject(WRONG[name])
    cases = pinned_cases(asked)
    law = min(broken_by(asked, cases))
    with quiet_and_repeatable():
        case = next(c for c in cases if judge(clauses()[law], c).status == "fail")
        names = behaves_like(law, case)
    assert {each.partition("; look for ")[0] for each in names} == {name}


def test_a_mask_that_hides_tokens_of_other_items_breaks_the_law_of_a_context() -> None:
    asked = subject(MaskedByOtherItems)
    assert broken_by(asked, pinned_cases(asked)) == {"cross/padding-of-the-context-is-hidden"}


class BesideItself(PlainCross):
    """As in Flamingo: latents attend to x and to themselves."""

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        return super().forward(latents, torch.cat((x, latents), dim=1))


def test_keys_of_both_inputs_are_refused_for_what_they_are() -> None:
    with pytest.raises(
        QuestionError, match=r"every token of latents and of x: keys and values are"
    ):
        find(BesideItself)


class ThreeWidths(PlainCross):
    """As Set Transformer is told its widths: of queries, of keys, of all heads together."""

    def __init__(self, dim_Q: int, dim_K: int, dim_V: int, num_heads: int) -> None:
        super().__init__(dim_V, num_heads)
        self.to_q = nn.Linear(dim_Q, dim_V)
        self.to_k, self.to_v = nn.Linear(dim_K, dim_V), nn.Linear(dim_K, dim_V)

    def forward(self, Q: Tensor, K: Tensor) -> Tensor:
        return super().forward(Q, K)


class ScaledByTheWidth(ThreeWidths):
    """As published: 1/sqrt(dim_V) for several heads."""

    def weigh(self, scores: Tensor) -> Tensor:
        return super().weigh(scores * self.num_heads**-0.5)


class SetBlock(ThreeWidths):
    """The projected queries are added, and a feed-forward layer follows, as in MAB."""

    def forward(self, Q: Tensor, K: Tensor) -> Tensor:
        mixed = self.to_q(Q) + super().forward(Q, K)
        return mixed + self.to_out(mixed).relu()


def test_widths_of_queries_keys_and_values_are_told_apart_from_those_of_a_head() -> None:
    """The context has a width of its own then. A scale by the width of all heads is told."""
    asked, wrong = subject(ThreeWidths), subject(ScaledByTheWidth)
    assert {asked.matched[role] for role in ("d_in", "d_context", "d_out")} == {
        *("dim_Q", "dim_K", "dim_V")
    }
    assert broken_by(asked, pinned_cases(asked)) == set()
    assert "cross/as-many-keys-as-there-are" in broken_by(wrong, pinned_cases(wrong))


class SetBlockOfXAndY(SetBlock):
    """The same by names of which the second may be a context."""

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        return super().forward(X, Y)


@pytest.mark.parametrize(("target", "names"), [(SetBlock, "Q to K"), (SetBlockOfXAndY, "X to Y")])
def test_a_block_of_two_inputs_is_refused_for_what_it_holds_besides_attention(
    target: type[nn.Module], names: str
) -> None:
    with pytest.raises(QuestionError, match=rf"more than attention of {names}: .* residual"):
        find(target)


def test_what_a_context_is_called_is_not_taken_for_queries() -> None:
    """Queries made of the memory are no spelling, but may be an error."""
    with pytest.raises(QuestionError, match=r"No trial .* queries are made of x alone"):
        find(called("x", "memory", "memory"))


def test_a_script_calls_such_a_module_with_x_and_a_context() -> None:
    """Its own forward stays as it is."""
    target = called("x", "latents", "latents")
    case = pinned_cases(subject(target))[0]
    made = "\n".join(["from __future__ import annotations", *prelude(case.subject)])
    names: dict[str, Any] = {"Attention": target}
    exec(f"{made}\nmodule = {expression(case.subject, case.config())}", names)
    x, context = torch.randn(2, 3, case.sizes.d_in), torch.randn(2, 5, case.sizes.d_in)
    module = names["module"]
    assert torch.equal(module(x, context=context), target.forward(module, context, x))
    assert torch.equal(module(x), module(x, context=x))
