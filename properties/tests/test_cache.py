"""Modules that keep keys and values are recognised, fed in parts, and judged.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.cases.steps import Steps, splits
from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.cached import CachedInside
from properties.zoo.wide.cached_manners import CachedAsInGpt2

RIGHT = {n: one for n, one in sound_ones().items() if one.kind == "cached"}
CAUSAL = [n for n, one in RIGHT.items() if one.says.get("causal") != "given"]
OF_THEIR_OWN = ("chunks under a mask", "two layers of one cache")  # whose names are in other tests
WRONG = [n for n, h in held_ones().items() if h.kind == "cached" and h.how not in OF_THEIR_OWN]
FOUND = {
    "cached-inside": "inside, use_cache=True, reset_cache()",
    "cached-in-slots": "in slots, start_pos",
    "cached-by-the-caller": "held by the caller, past",
    "cached-with-a-pointer": "inside, use_cache=True, reset_cache()",
    "cached-as-in-gpt-2": "held by the caller, layer_past, use_cache=True",
    "cached-as-in-llama": "in slots, start_pos",
}
GUARDED = "cache/too-long-is-refused"


@cache
def subject(target: Callable[..., Any]) -> Subject:
    return find(target)[0]


@cache
def broken(asked: Subject) -> set[str]:
    """The laws of a cache that examples break which are always drawn."""
    laws = [c for c in clauses().values() if c.area == "cache" and c.concerns(asked)]
    laws = [law for law in laws if not law.missing(asked)]
    with quiet_and_repeatable():
        return {
            law.id for law in laws for c in pinned_cases(asked) if judge(law, c).status != "pass"
        }


def five(asked: Subject) -> Case:
    """Five tokens of two items in float64."""
    return pinned_cases(asked)[0]


@pytest.mark.parametrize("name", CAUSAL)
def test_a_cache_fed_3_tokens_then_1_then_1_equals_one_call_on_5(name: str) -> None:
    """In numbers, apart from the laws."""
    case = five(subject(RIGHT[name].target))
    assert case.x.shape[1] == 5
    found = Steps(case).run(case.x, [3, 1, 1])
    np.testing.assert_allclose(found, case.output, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, case.trace.output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law_of_a_cache(name: str) -> None:
    """One forgets its oldest tokens on purpose, where others refuse."""
    forgets = {GUARDED} if name == "cached-with-a-pointer" else set()
    assert broken(subject(RIGHT[name].target)) == forgets


@pytest.mark.parametrize("name", FOUND)
def test_how_a_module_keeps_its_past_is_found_by_trial(name: str) -> None:
    """And what is asked now is left in no list of what is not."""
    asked = subject(sound_ones()[name].target)
    assert asked.cache == FOUND[name]
    assert asked.has("cache of the caller") == asked.cache.startswith("held")
    assert not {"use_cache", "past", "layer_past", "start_pos"} & asked.unasked.keys()


@pytest.mark.parametrize(
    "name",
    [n for n, one in held_ones().items() if one.kind == "cached" and "pairs" not in one.says],
)
def test_wrong_modules_break_a_law_of_a_cache(name: str) -> None:
    """Besides those about its length."""
    assert broken(subject(held_ones()[name].target)) - {GUARDED}


def test_a_subject_without_a_cache_has_no_step() -> None:
    """The default says so; nothing of it is asked, nor tried."""
    asked = subject(nn_module("attention:MultiHeadAttention"))
    assert not asked.has("cache")
    assert not any(c.concerns(asked) for c in clauses().values() if c.area == "cache")
    with pytest.raises(NotImplementedError):
        asked_plainly().begin(None, 1)
    with pytest.raises(NotImplementedError):
        asked_plainly().step(None, None, np.zeros((1, 1, 1)), "float64")


def nn_module(target: str) -> Any:
    """What a target names."""
    module, _, name = target.partition(":")
    return getattr(__import__(module), name)


def asked_plainly() -> Subject:
    """An adapter that says nothing of a cache."""

    class Plain(Subject):
        family = "causal"

        def build(self, config: Config, weights: Weights | None) -> Any:
            return None

    return Plain()


class Clearing(CachedInside):
    """What it keeps is switched on from outside, which nobody can know."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)

    def clear_cache(self) -> None:
        """Forget everything."""
        super().reset_cache()


class SetUpFromOutside(PlainMultiHead):
    """Somebody else puts a cache there."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads)
        self.kv_cache = None

    def reset(self) -> None:
        """Of something else."""


class FlagThatDoesNothing(CachedInside):
    reset_cache = None  # type: ignore[assignment]

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        return super().forward(x)


class PastThatIsNotRead(CachedAsInGpt2):
    """Weights come second, whatever the past."""

    def forward(  # type: ignore[override]
        self, x: Tensor, layer_past: Any = None, use_cache: bool = False
    ) -> tuple[Tensor, Tensor]:
        return super().forward(x)[0], x @ x.mT


class PastThatIsForgotten(CachedAsInGpt2):
    """It is handed out and taken back, and only the present is read."""

    def forward(  # type: ignore[override]
        self, x: Tensor, layer_past: Any = None, use_cache: bool = False
    ) -> tuple[Tensor, Any]:
        present = super().forward(x, layer_past, use_cache=True)[1]
        return super().forward(x)[0], present


def test_a_past_that_grows_and_is_not_read_is_judged() -> None:
    """Nothing else is handed out so and taken back."""
    asked = subject(PastThatIsForgotten)
    assert asked.cache == "held by the caller, layer_past, use_cache=True"
    assert "cache/token-by-token-equals-the-whole" in broken(asked)


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (Clearing, {"reset_cache()", "clear_cache()", "cache_k", "cache_v"}),
        (SetUpFromOutside, {"kv_cache"}),
        (FlagThatDoesNothing, {"use_cache"}),
        (PastThatIsNotRead, {"layer_past", "use_cache"}),
    ],
)
def test_what_is_not_understood_is_said_and_not_judged(
    target: type[nn.Module], left: set[str]
) -> None:
    """A way to forget without one to remember, a flag without an effect, an offset of positions."""
    asked = subject(target)
    assert not asked.has("cache")
    assert left <= asked.unasked.keys()
    assert "reset()" not in asked.unasked


class KeptInFloat32(CachedInside):
    """Room is made in torch's default format."""

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if keys.dtype != torch.float32:
            raise RuntimeError("expected keys in float32")
        return super().remember(keys, values)


def test_formats_in_which_a_step_raises_are_named_and_not_asked() -> None:
    """The cache is judged in the others, and all else in all of them."""
    asked = subject(KeptInFloat32)
    assert asked.cached_in == ("float32",)
    assert asked.dtypes == tuple(FORMATS)
    assert sum("the cache is not asked in" in note for note in asked.notes) == 3
    assert broken(asked) == set()


class DictThatIsWrittenTo(CachedAsInGpt2):
    """The caller's dict, which forward fills."""

    def forward(self, x: Tensor, cache: dict[str, Any] | None = None) -> Tensor:  # type: ignore[override]
        past = None if cache is None else cache.get("past")
        output, present = super().forward(x, past, use_cache=True)
        if cache is not None:
            cache["past"] = present
        return output


class KVCache:
    """What the caller holds; a layer updates it."""

    def __init__(self) -> None:
        self.kept: tuple[Tensor, Tensor] | None = None

    def update(self, past: tuple[Tensor, Tensor]) -> None:
        self.kept = past


class AnObjectThatIsUpdated(CachedAsInGpt2):
    """Made by the caller, of a class beside this one."""

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:  # type: ignore[override]
        past = None if cache is None else cache.kept
        output, present = super().forward(x, past, use_cache=True)
        if cache is not None and present is not None:
            cache.update(present)
        return output


class InputPos(sound_ones()["cached-in-slots"].target):  # type: ignore[misc, valid-type]
    """Told the place of each token."""

    def forward(self, x: Tensor, input_pos: Tensor | None = None) -> Tensor:
        return super().forward(x, 0 if input_pos is None else int(input_pos[0]))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (DictThatIsWrittenTo, "held by the caller, cache"),
        (InputPos, "in slots, input_pos"),
        (AnObjectThatIsUpdated, "held by the caller, cache=KVCache()"),
    ],
)
def test_other_manners_are_found_as_well(target: type[nn.Module], words: str) -> None:
    """A dict that is filled in place, places in place of a start, an object that is updated."""
    asked = subject(target)
    assert asked.cache == words
    assert not asked.has("cache of the caller")
    assert broken(asked) == set()


class ByHand(Subject):
    """An adapter that goes on by methods of its own."""

    name, family = "ByHand", "multihead"

    def __init__(self, target: type[nn.Module] = CachedInside) -> None:
        self.original = subject(target)
        self.capabilities = self.original.capabilities

    def build(self, config: Config, weights: Weights | None) -> Any:
        return self.original.build(config, weights)

    def begin(self, module: Any, batch: int) -> Any:
        module.reset_cache()

    def step(self, module: Any, state: Any, x: Array, dtype: str) -> tuple[Array, Any]:
        tokens = torch.tensor(x, dtype=getattr(torch, dtype))
        return module.eval()(tokens, use_cache=True).detach().double().numpy(), None


def test_an_adapter_by_hand_may_say_how_it_goes_on() -> None:
    """It is asked as one that was recognised."""
    assert broken(ByHand()) == set()
    wrong = held_ones()["cached-first-chunk-alone"].target
    assert "cache/token-by-token-equals-the-whole" in broken(ByHand(wrong))


def test_a_split_feeds_every_token_once_in_several_calls() -> None:
    """3, 1, 1 of five tokens is among them."""
    assert [3, 1, 1] in splits(5, 0)
    for tokens in range(1, 9):
        for cut in range(tokens):
            ways = splits(tokens, cut)
            assert all(sum(way) == tokens and min(way) > 0 and len(way) > 1 for way in ways)
            assert ways or tokens == 1
