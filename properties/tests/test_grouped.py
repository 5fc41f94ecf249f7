"""Modules whose heads of queries share heads of keys and values are drawn, built and judged.

Legend: H heads of queries, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError
from properties.cases import groups
from properties.cases.case import Case, parameters
from properties.cases.devices import read_weights, with_queries_keys_values, with_visible_weights
from properties.cases.strategies import make_case, pinned_cases, pinned_sizes, weights
from properties.findings.names import behaves_like
from properties.findings.names.examples import predicted
from properties.findings.names.formula import Formula
from properties.recognition.adapters.loading import Scheme, collect, load
from properties.recognition.adapters.projections import find as matrices
from properties.recognition.targets import find, find_one
from properties.runs.result import Status, describe_case, read_case
from properties.runs.runner import quiet_and_repeatable, run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.subject import Subject
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.grouped import GroupedQueryAttention, PlainGrouped

GROUPED = find("properties.zoo.wide.grouped:GroupedByRepeating")[0]
SIZES = Sizes(batch=2, tokens=3, d_in=20, heads=4, head_dim=5, context_length=6, groups=2)
RIGHT = tuple(name for name, one in sound_ones().items() if one.kind == "grouped")


def example(sizes: Sizes = SIZES) -> Case:
    """One example of these sizes."""
    return make_case(GROUPED, sizes, "float64", "ordinary", False, 0.5, 1, seed=3)


class Readers(PlainGrouped):
    """Told how many heads of queries read each head of keys and values."""

    def __init__(self, d_model: int, n_heads: int, num_kv_groups: int, context_length: int) -> None:
        super().__init__(d_model, n_heads, n_heads // num_kv_groups, context_length)


def test_four_heads_over_two_equal_ordinary_heads_with_each_written_out_twice() -> None:
    """Key-value head j is copied to heads 2 j and 2 j + 1."""
    case = example()
    assert case.weights is not None
    copied = {
        name: np.repeat(getattr(case.weights, name).reshape(20, 2, 5), 2, axis=1).reshape(20, 20)
        for name in ("key", "value")
    }
    ordinary = replace(
        case, sizes=replace(SIZES, groups=0), weights=replace(case.weights, **copied)
    )
    np.testing.assert_allclose(case.output, ordinary.output, rtol=0, atol=1e-12)
    np.testing.assert_allclose(case.trace.output, ordinary.trace.output, rtol=0, atol=1e-12)


def test_taking_a_head_of_keys_takes_the_heads_that_read_it() -> None:
    """Their columns of the output are what they were."""
    case = example()
    assert case.weights is not None
    case = replace(case, weights=replace(case.weights, out=np.eye(20)))
    small = case.take(heads=[1], inputs=range(20))
    assert (small.sizes.heads, small.sizes.groups, small.sizes.key_heads) == (2, 1, 1)
    whole = oracle.attention(case.x, case.weights, heads=4)
    one = case.take(heads=[1], readers=[0])
    assert (one.sizes.heads, one.sizes.groups) == (1, 0)
    assert one.weights is not None
    assert one.weights.key.shape == (5, 5)
    assert whole.output.shape == (2, 3, 20)


def test_a_case_with_groups_is_read_back() -> None:
    """The number of key-value heads and the narrower matrices go along."""
    case = example()
    data = json.loads(json.dumps(describe_case(case)))
    again = read_case(data, GROUPED)
    assert again.sizes == case.sizes
    assert np.array_equal(again.output, case.output)
    data["sizes"]["groups"] = 3
    with pytest.raises(ValueError, match="3 groups, expected a number that divides 4 heads"):
        read_case(data, GROUPED)
    assert "groups" not in describe_case(example(replace(SIZES, groups=0)))["sizes"]


def test_pinned_sizes_hold_one_group_several_and_as_many_as_heads() -> None:
    """And others are drawn as ever."""
    found = {min(s.groups, 2) for s in pinned_sizes(GROUPED)}
    assert found == {0, 1, 2}
    assert all(s.heads % s.key_heads == 0 for s in pinned_sizes(GROUPED))
    assert not any(s.groups for s in pinned_sizes(find("attention:MultiHeadAttention")[0]))


@pytest.mark.parametrize(
    ("target", "called"),
    [(GroupedQueryAttention, "key-value heads"), (Readers, "heads per key head")],
)
def test_what_the_argument_counts_is_found_by_the_width_of_the_keys(
    target: type[nn.Module], called: str
) -> None:
    """Heads of keys, or heads of queries for each; either way it is asked."""
    [subject] = find(target)
    assert subject.has("groups")
    assert subject.matched[called] == "num_kv_groups"
    assert not subject.unasked
    sizes = replace(SIZES, heads=6, head_dim=2, d_in=12, groups=2)
    case = make_case(subject, sizes, "float64", "ordinary", False, 0.5, 1, seed=3)
    np.testing.assert_allclose(case.output, case.trace.output, rtol=0, atol=1e-12)


def fused(layout: str, sizes: Sizes) -> tuple[Weights, Array, Weights]:
    """Weights, a matrix of (H + 2 G) D columns that they were written into, and what is read back."""
    module = nn.Module()
    module.qkv = nn.Linear(20, sizes.width + 2 * sizes.key_width, bias=False)
    structure = matrices(module.double(), "Fused")
    given = weights(GROUPED, sizes, False, np.random.default_rng(1))
    assert structure is not None
    assert given is not None
    load(structure, given, sizes, Scheme(layout=layout))
    back = collect(structure, torch.Tensor.detach, sizes, Scheme(layout=layout))
    return given, module.qkv.weight.detach().T.numpy(), back


def test_the_narrower_parts_of_a_fused_matrix_lie_one_after_the_other() -> None:
    """Queries, then keys, then values, as they are split again."""
    given, laid, back = fused("one role after the other", SIZES)
    assert np.array_equal(laid, np.concatenate([given.query, given.key, given.value], axis=1))
    assert np.array_equal(back.value, given.value)


def test_or_group_by_group() -> None:
    """The queries of a group, its key, its value; then the next group."""
    given, laid, back = fused("head by head", SIZES)
    query, key, value = (
        part.reshape(20, 2, -1, 5) for part in (given.query, given.key, given.value)
    )
    assert np.array_equal(laid, np.concatenate([query, key, value], axis=2).reshape(20, 40))
    for name in ("query", "key", "value"):
        assert np.array_equal(getattr(back, name), getattr(given, name))


ONE = ("grouped-in-one-group", "grouped-in-one-group-of-two-matrices")


@pytest.mark.parametrize("name", [*ONE, "grouped-in-one-matrix-by-groups"])
def test_narrower_parts_of_one_matrix_are_found_and_set(name: str) -> None:
    """Also where nobody can choose another number of groups than one."""
    [subject] = find(sound_ones()[name].target)
    assert subject.has("projections")
    assert subject.has("one group") == (name in ONE)
    assert subject.has("groups") != (name in ONE)
    for case in pinned_cases(subject)[:4]:
        assert judge(clauses()["oracle/output-within-bound"], case).status is Status.PASS


def test_a_module_of_one_group_is_asked_with_one() -> None:
    """Of heads that have keys of their own it cannot be asked."""
    [subject] = find(sound_ones()[ONE[0]].target)
    assert {c.sizes.key_heads for c in pinned_cases(subject)} == {1}
    case = pinned_cases(subject)[0]
    apart = np.random.default_rng(0).normal(size=(1, case.sizes.heads, 2, 3))
    with pytest.raises(OutsideError, match="differ between heads"):
        with_queries_keys_values(case, apart, apart, apart)
    same = np.repeat(apart[:, :1], case.sizes.heads, axis=1)
    assert with_queries_keys_values(case, apart, same, same).sizes.groups == 1


def test_weights_are_made_visible_with_the_heads_of_keys_that_there_are() -> None:
    """So what is asked of weights is asked of shared heads as well."""
    probe = with_visible_weights(example())
    assert (probe.sizes.heads, probe.sizes.groups) == (4, 2)
    found = read_weights(probe, probe.output)
    np.testing.assert_allclose(found, example().trace.weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", RIGHT)
def test_right_grouped_modules_are_right(name: str) -> None:
    """Whatever a head reads is asked; nothing is left out."""
    [subject] = find(sound_ones()[name].target)
    laws = [law for law in clauses().values() if law.area in ("groups", "heads", "context")]
    asked = [law for law in laws if law.concerns(subject) and not law.missing(subject)]
    with quiet_and_repeatable():
        for case in pinned_cases(subject)[:5]:
            said = {law.id: judge(law, case).message for law in asked}
            assert {id: message for id, message in said.items() if message} == {}
    assert any(law.area == "groups" for law in asked)
    assert not subject.unasked


@pytest.mark.parametrize("name", [n for n, one in held_ones().items() if one.kind == "grouped"])
def test_wrong_grouped_modules_break_a_law_about_groups_and_get_their_name(name: str) -> None:
    """On an example that is always drawn."""
    [subject] = find(held_ones()[name].target)
    law, case = failing(subject)
    with quiet_and_repeatable():
        told = [each.partition("; look for ")[0] for each in behaves_like(law, case)]
    assert told == [held_ones()[name].named]


def failing(subject: Subject) -> tuple[str, Case]:
    """The first law about groups that a pinned example breaks, and the example."""
    laws = [law for law in clauses().values() if law.area == "groups" and law.concerns(subject)]
    with quiet_and_repeatable():
        return next(
            (law.id, case)
            for law in laws
            for case in pinned_cases(subject)
            if judge(law, case).status is Status.FAIL
        )


def test_copies_of_shared_heads_get_gradients_that_add_up_to_theirs() -> None:
    """What `written_out` copies, `summed_over_groups` puts together again."""
    case = example()
    every = groups.written_out(case)
    copies = parameters(every.gradients.parameters)
    summed = groups.summed_over_groups(copies, case)
    for name, array in parameters(case.gradients.parameters).items():
        np.testing.assert_allclose(summed[name], array, rtol=0, atol=1e-11)
    assert every.sizes.groups == 0
    assert copies["key"].shape == (20, 20)


def test_a_right_formula_of_shared_heads_is_the_definitions() -> None:
    """So what a wrong form of it gives is due to that form."""
    case = example()
    value, allowed = predicted(Formula, case)
    assert bool((np.abs(value - case.trace.output) <= allowed).all())


class OneGroupOfMixedHeads(nn.Module):
    """Heads of queries are viewed where they had to be turned; a mask may be given."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.d_k = n_heads, d_model // n_heads
        self.wq, self.wo = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.wk, self.wv = nn.Linear(d_model, self.d_k), nn.Linear(d_model, self.d_k)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        query = self.wq(x).view(len(x), self.n_heads, x.shape[1], self.d_k)
        key, value = self.wk(x).unsqueeze(1), self.wv(x).unsqueeze(1)
        scores = query @ key.mT / self.d_k**0.5
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -1e9)
        return self.wo((scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape))


def test_a_name_is_looked_for_where_calls_are_told_masks_of_shared_heads() -> None:
    """No wrong form that needs as many heads of keys as of queries is in the way of the others."""
    report = run(find_one(OneGroupOfMixedHeads), profile="quick", only=["mask/shows-what-it-shows"])
    assert [r.clause for r in report.results if r.status == "fail"][-1:] == [
        "mask/shows-what-it-shows"
    ]
    assert not [note for note in report.notes if "has no name" in note]
