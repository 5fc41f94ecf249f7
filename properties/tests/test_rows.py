"""Long rows: the numbers that are right, what the faults make of them, and the rows themselves.

Legend: T tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.cases.devices import with_queries_keys_values
from properties.cases.long_rows import LENGTHS, digits, lengths, long_rows
from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find
from properties.runs.domain import explore
from properties.runs.runner import Run, run
from properties.spec.clause import clauses
from properties.spec.clauses.dropout_draws import ask
from properties.spec.clauses.rows import up_to_130_keys
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.tests.test_bounds import RIGHT
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead, PlainSelf
from properties.zoo.faults.rows import MaskEndsAt40Keys

REFERENCE = find("attention:MultiHeadAttention")[0]


def wrong(name: str) -> Subject:
    """A fault as a subject."""
    return find(faults()[name].module, "multihead")[0]


def one_head(subject: Subject, queries: Array, keys: Array, values: Array) -> Array:
    """The context (T, D) of one head with these queries, keys and values (T, D)."""
    case = replace(pinned_cases(subject)[0], dtype="float64")
    probe = with_queries_keys_values(case, *(p[None, None] for p in (queries, keys, values)))
    return probe.output[0]


@pytest.mark.parametrize(
    ("subject", "right"),
    [(REFERENCE, math.e / (math.e + 32)), (wrong("base-two-where-tiles-meet"), 0.116805)],
    ids=["reference", "base two"],
)
def test_the_first_key_of_a_second_tile_has_its_share(subject: Subject, right: float) -> None:
    """Of 33 keys the last has the score 1, all others 0: its weight is e / (e + 32)."""
    last = (np.arange(33) == 32).astype(float)[:, None]
    context = one_head(subject, np.ones((33, 1)), last, last)
    assert context[32, 0] == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize(
    ("subject", "right"),
    [(REFERENCE, True), (wrong("mask-ends-at-40-keys"), False)],
    ids=["reference", "mask of 40 keys"],
)
def test_the_last_of_48_tokens_is_hidden_from_all_others(subject: Subject, right: bool) -> None:
    """Where the last value alone is not zero, rows 0 to 46 are zero."""
    zero, last = np.zeros((48, 1)), (np.arange(48) == 47).astype(float)[:, None]
    context = one_head(subject, zero, zero, last)
    assert context[47, 0] == pytest.approx(1 / 48)
    assert bool(np.all(context[:47] == 0)) is right


@pytest.mark.parametrize(
    ("subject", "always"),
    [(REFERENCE, False), (wrong("lanes-of-16-keys"), True)],
    ids=["reference", "16 lanes"],
)
def test_keys_sixteen_apart_are_dropped_together_half_the_time(
    subject: Subject, always: bool
) -> None:
    """In 64 calls with equal scores, 32 tokens and p = 1/2; where lanes are shared, always."""
    case = pinned_cases(subject)[0]
    case = replace(case, dtype="float32", sizes=replace(case.sizes, heads=1))
    dropped = ask(case, 1, 32, 0.5, 64, 0).bits[:, 0, 0, 31]
    share = float((dropped[:, :16] == dropped[:, 16:]).mean())
    assert share == 1.0 if always else 0.4 < share < 0.6


@pytest.mark.parametrize("module", RIGHT, ids=lambda module: module.__name__)
@pytest.mark.parametrize("dtype", FORMATS)
def test_long_rows_in_any_arithmetic_stay_within_their_bound(module: type, dtype: str) -> None:
    """In every format, wherever the scale goes, in whichever order is summed, key by key as well."""
    case = replace(pinned_cases(find(module, "multihead")[0])[0], dtype=dtype)
    assert up_to_130_keys(case) <= 1.0


def dominant(case: Case) -> Array:
    """The key that has more than half of the weight of a query, else -1, (B, T)."""
    weights = case.trace.weights[:, 0]
    return np.where(weights.max(axis=-1) > 0.5, weights.argmax(axis=-1), -1)


@pytest.mark.parametrize("subject", [REFERENCE, find(PlainSelf, "self")[0]], ids=["causal", "self"])
@pytest.mark.parametrize("tokens", LENGTHS["quick"])
def test_every_key_dominates_a_row(subject: Subject, tokens: int) -> None:
    """In some item each key is the dominant one of a query, and of a query that lies far from it."""
    case, _ = long_rows(subject, tokens, LENGTHS["quick"][tokens], "float32")
    found = dominant(case)
    assert set(range(tokens)) <= set(found.ravel())
    far = np.abs(found - np.arange(tokens))[found >= 0]
    assert (far > tokens / 2).any()


@pytest.mark.parametrize("tokens", lengths("thorough"))
def test_a_code_belongs_to_one_token(tokens: int) -> None:
    """Two digits say which one it is."""
    codes = digits(tokens)
    assert len({code.tobytes() for code in codes}) == tokens
    assert set(codes.sum(axis=1)) == {2.0}


def refusing(base: type[PlainSelf] | type[PlainMultiHead], most: int) -> type:
    """A module that refuses more tokens than so many."""

    class Refusing(base):  # type: ignore[misc, valid-type]
        def validate(self, x: Tensor) -> None:
            super().validate(x)
            if x.shape[-2] > most:
                raise ValueError(f"more than {most} tokens")

    return Refusing


class OneItem(PlainSelf):
    """Several are refused."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 1:
            raise ValueError("one item at a time")
        return super().forward(x)


@pytest.mark.parametrize(
    ("module", "status"),
    [
        (refusing(PlainSelf, 40), "pass"),
        (refusing(PlainSelf, 20), "unsupported"),
        (refusing(PlainMultiHead, 40), "fail"),
    ],
    ids=["some lengths", "none", "context_length"],
)
def test_only_what_has_no_context_length_may_refuse_long_rows(module: type, status: str) -> None:
    """It is judged on those that it takes; where it takes none, the law says so."""
    law = replace(clauses()["rows/up-to-130-keys"], after=())
    (result,) = Run(find(module)[0], [law], PROFILES["quick"], 0).report().results
    assert result.status == status


def test_what_has_a_context_length_may_not_refuse_so_many_tokens_in_training_either() -> None:
    """It was made for them; that they are refused is told, not passed over."""
    law = replace(clauses()["dropout/independent-across-lanes-and-tiles"], after=())
    subject = find(refusing(PlainMultiHead, 100))[0]
    (result,) = Run(subject, [law], PROFILES["quick"], 0).report().results
    assert result.status == "fail"
    assert "more than 100 tokens" in result.message


def test_a_mask_that_ends_too_soon_is_told_by_name_where_positions_are_turned() -> None:
    fault = faults()["rotary-mask-of-100-keys"]
    (subject,) = find(fault.module, fault.family)
    (found,) = run(subject, profile="quick", only=["rows"]).findings
    assert found.name == "mask ends at 100 keys"


def test_what_takes_one_item_alone_is_asked_of_one() -> None:
    """Several at once would be an input that it does not take, and tell nothing."""
    inside, _ = explore(find(OneItem, "self")[0])
    assert up_to_130_keys(pinned_cases(inside)[0]) <= 1.0


def test_making_a_case_smaller_asks_no_long_row_again() -> None:
    """One in each format, of a module that is lent and of a new one; the case that was drawn shrinks."""
    long: list[torch.Size] = []

    class Counting(MaskEndsAt40Keys):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-2] > 40:
                long.append(x.shape)
            return super().forward(x)

    law = replace(clauses()["rows/up-to-130-keys"], after=())
    (result,) = Run(find(Counting, "multihead")[0], [law], PROFILES["quick"], 0).report().results
    assert result.status == "fail"
    assert len(long) <= 2 * len(FORMATS)
