"""Modules of queries, keys and values, torch's own among them, are recognised, asked and judged.

Legend: B batch, T queries, S keys, E embed_dim.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties import check
from properties.basics.assertions import Violation
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.case import Case
from properties.cases.question import crossed, question
from properties.cases.strategies import make_case, pinned_cases
from properties.findings.names import behaves_like
from properties.findings.names.calls.battery import battery, slopes_alone
from properties.findings.names.calls.match import fitting
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.spec.clause import clauses
from properties.subjects.subject import Subject
from properties.tests.test_calls import broken_by, subject
from properties.zoo.faults import faults
from properties.zoo.faults.multihead import PlainAnnotated
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.multihead import PlainMultihead, Result

RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind == "multihead-like"}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind == "multihead-like"}
OWN = [n for n, f in faults().items() if f.module.__module__.endswith("faults.multihead")]
OWN += [n for n in WRONG if n in faults()]
ONE_ANSWER = "paths/one-answer-to-a-row-that-sees-nothing"
MASKS = {"mask": "attn_mask", "bias": "attn_mask", "padding": "key_padding_mask"}
ALL = {
    **MASKS,
    **{f"context_{role}": argument for role, argument in MASKS.items()},
    "padding_numbers": "key_padding_mask",
    "context": "key",
    "context_values": "value",
    "lengths": "",
    "weights": "need_weights",
    "averaged": "average_attn_weights",
}


@cache
def torchs() -> Subject:
    return find("torch.nn:MultiheadAttention")[0]


def small(asked: Subject, heads: int = 2) -> Case:
    """The first pinned case, of so many heads."""
    case = pinned_cases(asked)[0]
    return case.take(heads=range(heads))


@pytest.mark.parametrize("name", RIGHT)
def test_everything_that_a_forward_of_queries_keys_and_values_takes_is_asked(name: str) -> None:
    """What True means is promised by the names of the arguments."""
    asked = subject(RIGHT[name])
    assert asked.family == "encoder"
    assert dict(asked.takes) == ALL
    assert not asked.unasked
    assert {asked.conventions.mask, asked.conventions.padding} == {"hide"}
    assert asked.origins["mask"].startswith("signature of torch's")


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law_about_calls(name: str) -> None:
    assert broken_by(subject(RIGHT[name]), pinned_cases(subject(RIGHT[name]))[:2]) == set()


BY = {
    "multihead-padding-attends": "mask/padding-shows-what-is-real",
    "multihead-padding-ignored": "mask/padding-shows-what-is-real",
    "multihead-padding-of-another-item": "mask/padding-shows-what-is-real",
    "multihead-mask-replaces-padding": "mask/joins-padding",
    "multihead-mask-written-to": "memory/arguments-are-not-written-to",
    "multihead-an-empty-row-empties-its-item": "mask/empty-row-harms-no-other",
    "multihead-weights-of-the-first-head": "result/averaged-weights-are-their-mean",
    "multihead-heads-without-a-transpose": "cross/as-many-keys-as-there-are",
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_each_wrong_module_breaks_a_law_about_calls_on_an_example_that_is_always_drawn(
    name: str,
) -> None:
    asked = subject(WRONG[name])
    laws = [BY[name]] if name in BY else faults()[name].breaks
    assert set(laws) <= broken(asked, *laws)


@pytest.mark.parametrize("name", [n for n in OWN if n not in WRONG])
def test_a_fault_breaks_the_laws_that_it_is_there_for(name: str) -> None:
    asked = find(faults()[name].module, "encoder")[0]
    laws = faults()[name].breaks
    assert set(laws) <= broken(asked, *laws)


NAMED = {
    "multihead-float-padding-ignored": "padding given as numbers ignored",
    "multihead-any-padding-number-hides": "numbers in the padding mask read as booleans",
    "multihead-small-padding-numbers-ignored": "only minus infinity in the padding mask acts",
    "multihead-bias-read-as-boolean-in-eval": "bias read as boolean in eval",
    "multihead-mask-lost-without-weights": "mask ignored when no weights are asked for",
    "multihead-gradient-of-an-empty-row": "NaN gradient of a row that sees nothing",
    "multihead-weights-averaged-unasked": "weights of heads averaged",
    "multihead-values-from-keys": "values from the keys",
}
"""What modes, weights, gradients and other values tell, by the name of the wrong module."""


@pytest.mark.parametrize("name", NAMED)
def test_a_wrong_module_gets_its_name_and_no_other(name: str) -> None:
    asked, law = subject(WRONG[name]), faults()[name].breaks[0] if name in faults() else BY[name]
    case = next(case for case in pinned_cases(asked) if breaks(law, case))
    with quiet_and_repeatable():
        names = behaves_like(law, case)
    assert [each.partition("; look for ")[0] for each in names] == [NAMED[name]]


@pytest.mark.parametrize("name", RIGHT)
def test_no_wrong_form_agrees_with_a_right_module(name: str) -> None:
    """In every mode; nor are its gradients wrong."""
    with quiet_and_repeatable():
        asked = subject(RIGHT[name])
        assert battery(asked)
        assert slopes_alone(asked)
        assert fitting(asked) == ()


def broken(asked: Subject, *laws: str) -> set[str]:
    """Which of these laws an example breaks that is always drawn."""
    return {law for law in laws if any(breaks(law, case) for case in pinned_cases(asked))}


def breaks(law: str, case: Case) -> bool:
    try:
        clauses()[law].check(case)
    except (Violation, SubjectError):
        return True
    return False


def test_what_no_trial_has_handed_over_is_no_failure_when_a_case_is_made_small() -> None:
    """An example with a mask that differs between heads says nothing of the module."""
    name = "multihead-mask-of-items-falls-on-heads"
    laws = ("mask/shows-what-it-shows", "paths/modes-of-a-module")
    (found,) = check(WRONG[name], "encoder", "quick", only=laws, database=False).findings
    assert found.name == "mask of items falls on heads"
    assert {*laws} == {*found.clauses}


def test_torchs_own_module_is_asked_about_all_that_its_forward_takes() -> None:
    """The causal flag goes with the mask that it is a hint of."""
    asked = torchs()
    assert dict(asked.takes) == ALL | {"causal": "is_causal"}
    assert asked.conventions.empty == "zeros"


def test_torchs_own_module_holds_every_law_about_calls_but_one() -> None:
    """In all formats, by its faster path and by the other."""
    assert broken_by(torchs(), pinned_cases(torchs())[:3]) == {ONE_ANSWER}


def test_torchs_three_answers_to_one_question_are_told() -> None:
    """PyTorch 2.13 with one fully padded item. Nobody calls that wrong attention: the law is a SHOULD."""
    assert clauses()[ONE_ANSWER].level == "SHOULD"
    with pytest.raises(Violation) as told:
        clauses()[ONE_ANSWER].check(small(torchs()))
    answers = "NaN with weights, zeros without in training, NaN without in eval"
    assert answers in str(told.value)


def test_keys_of_another_width_are_made_by_matrices_of_their_own() -> None:
    """Kdim and vdim of torch's module."""
    case = next(c for c in pinned_cases(torchs()) if crossed(c).asked_of.sizes.d_context)
    assert crossed(case).agrees() <= 1.0


def test_values_may_be_made_of_other_tokens_than_keys() -> None:
    """The truth for both is that of one wider context."""
    case = small(torchs())
    asked = crossed(case)
    other = np.flip(asked.inputs["context"], axis=1)
    apart = asked.with_inputs({**asked.inputs, "context_values": other})
    assert apart.agrees() <= 1.0
    assert not np.allclose(apart.truth.output, asked.truth.output)
    both = asked.with_inputs({**asked.inputs, "context_values": asked.inputs["context"]})
    assert np.allclose(both.truth.output, asked.truth.output)


def test_weights_come_for_each_head_or_averaged_as_they_are_asked_for() -> None:
    case = small(torchs())
    asked = question(case, "weights", "padding")
    each = asked.answer().weights
    mean = asked.changed(averaged=True).answer().weights
    assert each is not None
    assert mean is not None
    assert np.allclose(each.mean(axis=1), mean)


class SequenceFirst(PlainMultihead):
    """(T, B, E), and no argument says so."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, num_heads, dropout)


def axes_of(found: Subject) -> str:
    """The axes in which a module wants its tokens."""
    assert isinstance(found, ModuleSubject)
    return found.blueprint.axes


def test_tensors_whose_first_axis_is_that_of_tokens_are_known_by_trial() -> None:
    asked = subject(SequenceFirst)
    assert axes_of(asked) == "T B E"
    assert axes_of(subject(PlainMultihead)) == "B T E"
    case = make_case(asked, small(asked).sizes, "float32", "ordinary", True, 0.0, 1, seed=1)
    assert question(case, "mask", "padding").agrees() <= 1.0
    assert crossed(case, "padding").agrees() <= 1.0


class MaskRequired(PlainAnnotated):
    """A mask that has to be given, and may be None."""

    def forward(  # type: ignore[override]
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        return super().forward(q, k, v, mask)


class AlsoReturns(PlainAnnotated):
    """The weights beside the output, unasked."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Result:
        return super().forward(query, key, value, mask), self.attn


@pytest.mark.parametrize("target", [PlainAnnotated, MaskRequired, AlsoReturns])
def test_a_class_like_the_annotated_transformers_is_asked_about_both_shapes_of_its_mask(
    target: type[PlainAnnotated],
) -> None:
    """(B, 1, T) hides keys, (B, T, T) pairs; its projections are a list of four."""
    asked = find(target, "encoder")[0]
    assert asked.takes["mask"] == asked.takes["padding"] == "mask"
    assert asked.takes["context_padding"] == "mask"
    assert asked.conventions.mask == asked.conventions.padding == "attend"
    assert asked.has("projections")
    assert asked.has("out-projection")
    assert broken_by(asked, pinned_cases(asked)[:1]) == set()


class NeedsMore(PlainMultihead):
    """What is no mask has to be given."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, positions: Tensor
    ) -> Tensor:
        return super().forward(query + positions, key, value)[0]


def test_what_needs_more_than_queries_keys_values_and_masks_is_refused() -> None:
    with pytest.raises(QuestionError, match="needs 4 inputs"):
        find(NeedsMore)


class Hinted(PlainMultihead):
    """The flag is an order."""

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if is_causal:
            future = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).triu(1)
            attn_mask = future if attn_mask is None else attn_mask | future
        return super().forward(query, key, value, key_padding_mask, False, attn_mask)[0]


def test_a_causal_flag_that_hides_by_itself_is_asked_as_one() -> None:
    asked = find(Hinted, "encoder")[0]
    assert asked.takes["causal"] == "is_causal"
    assert not asked.manner.hinted  # type: ignore[attr-defined]
    assert broken_by(asked, pinned_cases(asked)[:1]) == set()


class OfTorch(torch.nn.MultiheadAttention):
    """Its constructor has kdim and vdim, both None."""


class OfTorchWrong(torch.nn.MultiheadAttention):
    def forward(self, query: Tensor, key: Tensor, value: Tensor, **told: Any) -> Any:
        return super().forward(1.5 * query, key, value, **told)


def test_a_subclass_of_torchs_own_module_is_asked_as_a_module_of_queries_keys_and_values() -> None:
    """Vdim is the width of what values are made of there, and not of a head."""
    laws = ("mask", "weights", "result", "shape/output-shape")
    report = check(OfTorch, "encoder", "quick", only=laws, database=False)
    assert report.right
    assert MASKS.items() <= report.takes.items()
    assert not check(OfTorchWrong, "encoder", "quick", only=laws, database=False).right


def test_torchs_own_module_is_an_encoder_where_that_is_asked_for() -> None:
    (found,) = find("torch.nn:MultiheadAttention", "encoder")
    assert found.family == "encoder"
    assert MASKS.items() <= found.takes.items()


class Booleans(PlainMultihead):
    """As fairseq's: the names that torch took over, and padding that is made into booleans."""

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
    ) -> Result:
        return super().forward(
            query, key, value, self.read(key_padding_mask), need_weights, attn_mask
        )

    def read(self, padding: Tensor | None) -> Tensor | None:
        return None if padding is None else padding.bool()


class Numbers(Booleans):
    """The same names, and numbers are added."""

    def read(self, padding: Tensor | None) -> Tensor | None:
        return padding


@pytest.mark.parametrize(("kind", "numbers"), [(Booleans, False), (Numbers, True)])
def test_numbers_of_padding_are_asked_of_who_averages_weights_or_adds_them(
    kind: type[torch.nn.Module], numbers: bool
) -> None:
    asked = find(kind)[0]
    assert ("padding_numbers" in asked.takes) is numbers
    assert asked.conventions.padding == "hide"
    laws = ("mask/padding-shows-what-is-real", "mask/padding-side-does-not-matter")
    assert not broken(asked, *laws)


class OfTheOtherItem(Booleans):
    def read(self, padding: Tensor | None) -> Tensor | None:
        return None if padding is None else padding.bool().flip(0)


def test_booleans_of_another_item_are_told() -> None:
    assert broken(find(OfTheOtherItem)[0], "mask/padding-shows-what-is-real")
