"""Modules whose keys and values may come from a context are recognised, asked and judged.

Legend: B batch, T tokens of x, S tokens of the context, H heads, D head_dim.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.cases.question import crossed, question
from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.names.calls.battery import battery
from properties.findings.scripts.construction import expression, prelude
from properties.recognition.targets import find
from properties.runs.result import describe_case, read_case
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.card import conventions_of
from properties.tests.test_calls import broken_by, subject
from properties.zoo.faults.cross import PlainContextMask
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.cross import PlainCross

RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind == "cross"}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind == "cross"}
FOUND = {
    "cross-or-self": ("encoder", {"context": "context"}),
    "cross-with-two-masks": (
        "encoder",
        {"padding": "mask", "context": "context", "context_padding": "context_mask"},
    ),
    "cross-with-a-width-of-its-own": ("cross", {"context": "context"}),
    "cross-to-encoder-states": (
        "encoder",
        {"context": "encoder_hidden_states", "context_padding": "encoder_attention_mask"},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_context_and_its_mask_are_found_by_trial(name: str) -> None:
    """And what is asked now is left in no list of what is not."""
    asked = subject(RIGHT[name])
    family, takes = FOUND[name]
    assert (asked.family, dict(asked.takes)) == (family, takes | {"lengths": ""})
    assert not asked.unasked
    if "context_padding" in takes:
        assert asked.conventions.context_padding == "attend"


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law_about_calls(name: str) -> None:
    assert broken_by(subject(RIGHT[name]), pinned_cases(subject(RIGHT[name]))) == set()


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_module_breaks_a_law_about_calls_and_gets_its_name(name: str) -> None:
    """On an example that is always drawn; the name is told by each law that it breaks."""
    asked, cases = subject(WRONG[name]), pinned_cases(subject(WRONG[name]))
    law = min(broken_by(asked, cases))
    with quiet_and_repeatable():
        case = next(c for c in cases if judge(clauses()[law], c).status == "fail")
        names = behaves_like(law, case)
    assert {each.partition("; look for ")[0] for each in names} == {held_ones()[name].named}


@pytest.mark.parametrize("name", RIGHT)
def test_no_wrong_form_agrees_with_a_right_module(name: str) -> None:
    """Every answer to the battery is right, by the conventions that were found."""
    with quiet_and_repeatable():
        assert all(item.right for item in battery(subject(RIGHT[name])))


def drawn(name: str) -> Case:
    """An example with more keys than queries."""
    cases = pinned_cases(subject(RIGHT[name]))
    return next(c for c in cases if c.call is not None and c.call.others > c.sizes.tokens)


@pytest.mark.parametrize("name", RIGHT)
def test_a_context_has_tokens_of_its_own_and_a_width_where_one_can_be_told(name: str) -> None:
    """The answer has T rows, whatever S is; without a context keys are made of x."""
    case = drawn(name)
    asked = crossed(case)
    s = case.sizes
    width = s.d_in + 1 if name == "cross-with-a-width-of-its-own" else s.d_in
    assert asked.inputs["context"].shape[::2] == (s.batch, asked.asked_of.sizes.d_in_of("key"))
    assert (asked.asked_of.sizes.d_context or s.d_in) >= min(width, s.d_in)
    assert asked.shape == (s.batch, s.heads, s.tokens, asked.inputs["context"].shape[1])
    assert asked.answer().output.shape == (s.batch, s.tokens, s.width)
    assert question(case).shape[3] == s.tokens


def test_a_token_of_the_context_is_cut_out_without_a_query() -> None:
    """Its part of the mask goes with it; of x itself its query goes as well."""
    asked = crossed(drawn("cross-with-two-masks"), "padding")
    fewer = asked.without([0])
    assert fewer.shape == (*asked.shape[:3], asked.shape[3] - 1)
    assert np.array_equal(fewer.arguments.padding, asked.arguments.padding[:, 1:])
    assert asked.rows_without([0]).all()
    assert fewer.agrees() <= 1.0


@pytest.mark.parametrize("name", ["cross-with-two-masks", "cross-with-a-width-of-its-own"])
def test_a_smaller_case_keeps_its_context_and_is_read_back(name: str) -> None:
    """Tokens of the context, heads and columns go by themselves; a report keeps all of it."""
    case = drawn(name)
    small = case.take(tokens=[0], keys=[0, 1], heads=[0], dims=[0, 1], batch=[0])
    assert crossed(small).shape == (1, 1, 1, 2)
    assert crossed(small).agrees() <= 1.0
    again = read_case(json.loads(json.dumps(describe_case(small))), case.subject)
    assert crossed(again).agrees() == crossed(small).agrees()


class Prefix(PlainCross):
    """Keys of earlier tokens come before those of x: no context, whatever it is called."""

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        return super().forward(x, memory)

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        both = x if context is None else torch.cat([context, x], dim=1)
        return x, both, both


class Memory(PlainCross):
    """The same name for a context."""

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        return super().forward(x, memory)


class NeedsBoth(PlainCross):
    """A second input of no known meaning that has to be given."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + y, None)


def test_what_may_be_a_context_by_its_name_is_taken_for_one_where_a_trial_says_so() -> None:
    """Else it is said what was not asked, or that more is needed."""
    assert subject(Memory).takes["context"] == "memory"
    assert set(subject(Prefix).unasked) == {"memory"}
    with pytest.raises(QuestionError, match=r"needs 2 inputs.* No trial .* values of y alone"):
        find(NeedsBoth)


def cross_called(name: str, joined: bool = False) -> type[nn.Module]:
    """A class whose forward takes tokens and a context of this name; joined: which has x before it."""
    taken = f"torch.cat((x, {name}), 1)" if joined else name
    lines = (
        "class Cross(Base):",
        f"    def forward(self, x, {name}):",
        f"        return Base.forward(self, x, {taken})",
    )
    made: dict[str, Any] = {"Base": PlainCross, "torch": torch}
    exec("\n".join(lines), made)
    found: type[nn.Module] = made["Cross"]
    return found


@pytest.mark.parametrize(
    "name", ["latents", "keys", "key_value", "inputs_kv", "src", "text", "reference"]
)
def test_a_required_context_is_known_by_the_names_of_the_field(name: str) -> None:
    assert subject(cross_called(name)).takes["context"] == name


def test_keys_of_both_inputs_are_refused_for_what_they_are() -> None:
    with pytest.raises(
        QuestionError, match=r"every token of x and of latents: keys and values are"
    ):
        find(cross_called("latents", joined=True))


def test_a_right_module_takes_a_mask_of_pairs_and_of_tokens_and_numbers_for_its_context() -> None:
    """One argument for all three; every law about calls holds."""
    asked = subject(PlainContextMask)
    masks = ("context_mask", "context_bias", "context_padding")
    assert {asked.takes[role] for role in masks} == {"context_mask"}
    assert broken_by(asked, pinned_cases(asked)) == set()


class AsInDiffusion(nn.Module):
    """As latent diffusion spells it: back to the width of x, one mask for what is attended to."""

    def __init__(
        self, query_dim: int, context_dim: int | None = None, heads: int = 8, dim_head: int = 64
    ) -> None:
        super().__init__()
        self.heads, inner = heads, heads * dim_head
        self.to_q = nn.Linear(query_dim, inner, bias=False)
        self.to_kv = nn.Linear(context_dim or query_dim, 2 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, query_dim))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Any:
        parts = (self.to_q(x), *self.to_kv(x if context is None else context).chunk(2, dim=-1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        return self.to_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class MaskOfOtherItems(AsInDiffusion):
    """Wrong: what is hidden of an item is hidden of the one before it."""

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Any:
        crossing = context is not None and mask is not None
        return super().forward(x, context, mask.roll(-1, 0) if crossing else mask)


class OneHead(nn.Module):
    """One head and one sequence, as in a tutorial: x_2 has to be given."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query, self.W_key, self.W_value = (
            nn.Parameter(torch.randn(d_in, d_out)) for _ in range(3)
        )

    def forward(self, x_1: Tensor, x_2: Tensor) -> Tensor:
        keys, values = x_2 @ self.W_key, x_2 @ self.W_value
        scores = x_1 @ self.W_query @ keys.mT / keys.shape[-1] ** 0.5
        return scores.softmax(-1) @ values


def test_other_spellings_are_asked_all_the_same() -> None:
    """Keys and values of one matrix, of another width, by one mask; one sequence without items."""
    asked, wrong, alone = subject(AsInDiffusion), subject(MaskOfOtherItems), subject(OneHead)
    assert asked.takes["padding"] == asked.takes["context_padding"] == "mask"
    assert asked.has("context-width")
    assert not asked.has("padding of x")
    assert broken_by(asked, pinned_cases(asked)) == set()
    assert broken_by(wrong, pinned_cases(wrong)) == {"cross/padding-of-the-context-is-hidden"}
    assert (alone.family, dict(alone.takes)) == ("self", {"context": "x_2", "lengths": ""})
    assert broken_by(alone, pinned_cases(alone)) == set()


def test_a_script_hands_x_to_a_module_that_requires_a_context() -> None:
    """By the same hook, whose source it holds."""
    case = drawn("cross-with-a-width-of-its-own")
    made = "\n".join(["from __future__ import annotations", *prelude(case.subject)])
    names: dict[str, Any] = {"Attention": RIGHT["cross-with-a-width-of-its-own"]}
    exec(f"{made}\nmodule = {expression(case.subject, case.config())}", names)
    x = torch.randn(2, 3, case.sizes.d_in)
    assert torch.equal(names["module"](x), names["module"](x, context=x))


class Turned(PlainCross):
    """Queries and keys are turned by their positions, those of a context as well."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        queries, keys = self.split(self.to_q(x)), self.split(self.to_k(source))
        scores = self.turned(queries) @ self.turned(keys).mT * self.head_dim**-0.5
        mixed = self.weigh(scores) @ self.split(self.to_v(source))
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output

    def turned(self, parts: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        half = parts.shape[-1] // 2
        places = (first + torch.arange(parts.shape[-2])).clamp(max=last or 1000)
        places, pairs = places.to(parts), torch.arange(half).to(parts)
        angles = places[:, None] * 1e4 ** (-pairs / half)
        one, other, cos, sin = parts[..., :half], parts[..., half:], angles.cos(), angles.sin()
        return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


class TurnedToTheEnd(Turned):
    """The last query stands where the last token of the context does."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        ahead = source.shape[1] - x.shape[1]
        scores = (
            self.turned(self.split(self.to_q(x)), ahead)
            @ self.turned(self.split(self.to_k(source))).mT
        )
        mixed = self.weigh(scores * self.head_dim**-0.5) @ self.split(self.to_v(source))
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output


class TurnedAsFarAsTheQueries(Turned):
    """The table is cut for x: later tokens of a longer context all stand where it ends."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.last = x.shape[1] - 1
        return super().forward(x, context)

    def turned(self, parts: Tensor, first: int = 0) -> Tensor:
        return super().turned(parts, first, self.last)


PLACED: dict[type[nn.Module], str] = {
    Turned: "turned from the start",
    TurnedToTheEnd: "turned to the end",
}


@pytest.mark.parametrize("target", PLACED, ids=lambda target: target.__name__)
def test_a_context_that_positions_turn_is_asked_by_the_places_that_are_found(
    target: type[nn.Module],
) -> None:
    """And the card says which."""
    asked = subject(target)
    assert asked.takes["context"] == "context"
    assert conventions_of(asked)["context"]["answer"] == PLACED[target]
    assert broken_by(asked, pinned_cases(asked)) == set()


def test_a_context_is_held_to_the_places_that_it_has_where_it_is_as_long_as_x() -> None:
    """Those of a longer one are wrong."""
    wrong = subject(TurnedAsFarAsTheQueries)
    assert conventions_of(wrong)["context"]["answer"] == "turned from the start"
    law = clauses()["cross/as-many-keys-as-there-are"]
    with quiet_and_repeatable():
        assert any(judge(law, case).status == "fail" for case in pinned_cases(wrong))


def test_queries_that_are_turned_where_a_context_is_not_are_told_and_not_asked() -> None:
    """It is said how they meet."""
    asked = subject(QueriesTurned)
    assert asked.positions is not None
    assert "context" not in asked.takes
    assert set(asked.unasked) == {"context"}
    assert "no trial tells" in asked.unasked["context"]


class QueriesTurned(Turned):
    """In x rotary positions of both; beside a context of the queries alone."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        keys = self.split(self.to_k(source))
        keys = self.turned(keys) if context is None else keys
        scores = self.turned(self.split(self.to_q(x))) @ keys.mT * self.head_dim**-0.5
        mixed = self.weigh(scores) @ self.split(self.to_v(source))
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output


class TurnedAlone(Turned):
    """In x rotary positions; beside a context nothing is turned."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            return super().forward(x)
        scores = self.split(self.to_q(x)) @ self.split(self.to_k(context)).mT
        mixed = self.weigh(scores * self.head_dim**-0.5) @ self.split(self.to_v(context))
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output


class TurnedAloneInOrder(TurnedAlone):
    """As rotary; where the context is no longer than x, what comes later is hidden."""

    def weigh(self, scores: Tensor) -> Tensor:
        tokens, keys = scores.shape[-2:]
        if tokens >= keys:
            scores = scores.masked_fill(torch.ones(tokens, keys).triu(1).bool(), -torch.inf)
        return super().weigh(scores)


def test_a_context_that_nothing_turns_is_asked_beside_positions() -> None:
    """Right and wrong."""
    right, wrong = subject(TurnedAlone), subject(TurnedAloneInOrder)
    for asked in (right, wrong):
        assert asked.positions is not None
        assert asked.takes["context"] == "context"
    assert broken_by(right, pinned_cases(right)[:3]) == set()
    law = clauses()["cross/as-many-keys-as-there-are"]
    with quiet_and_repeatable():
        assert any(judge(law, case).status == "fail" for case in pinned_cases(wrong))


class ValuesOfX(PlainCross):
    """Values are made of x, which another width of the context does not fit, nor another length."""

    def __init__(self, d_model: int, num_heads: int, context_dim: int | None = None) -> None:
        super().__init__(d_model, num_heads)
        self.to_k = nn.Linear(context_dim or d_model, d_model, bias=False)
        self.to_v = nn.Linear(context_dim or d_model, d_model, bias=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        scores = self.split(self.to_q(x)) @ self.split(self.to_k(source)).mT * self.head_dim**-0.5
        mixed = self.weigh(scores) @ self.split(self.to_v(x))
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output


def test_a_context_that_is_taken_only_as_wide_and_as_long_as_x_is_asked_about() -> None:
    """By its name it is one; what raises elsewhere, or takes values of x, is wrong."""
    wrong = subject(ValuesOfX)
    assert wrong.takes["context"] == "context"
    assert any(note.startswith("a context of another width") for note in wrong.notes)
    assert "cross/as-many-keys-as-there-are" in broken_by(wrong, pinned_cases(wrong)[:6])
