"""Modules that keep the keys and values of a context are recognised, asked and judged."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.clauses.cache_contexts import ANOTHER, KEPT, MASKED
from properties.tests.test_cache import broken
from properties.tests.test_calls import broken_by, subject
from properties.zoo.wide import held_ones, kept, sound_ones

RIGHT = {n: one.target for n, one in sound_ones().items() if one.kind == "kept"}
WRONG = {n: one for n, one in held_ones().items() if one.kind == "kept"}
FOUND = {
    "kept-in-a-tuple": ("encoder", "held by the caller, past, use_cache=True", ("again",)),
    "kept-in-a-dict": ("cross", "held by the caller, kv_cache", ("again", "none")),
    "kept-in-an-object": (
        "cross",
        "held by the caller, past_key_values=ContextCache()",
        ("again", "none"),
    ),
    "kept-inside": ("cross", "inside, use_cache=True, reset_cache()", ("again", "none")),
}
BREAKS = {
    "kept-beside-x": {KEPT},
    "kept-of-the-first-item": {KEPT, MASKED, ANOTHER},
    "kept-mask-dropped": {MASKED},
    "kept-and-appended-to": {MASKED},
    "kept-used-unasked": {ANOTHER},
    "kept-after-a-reset": {ANOTHER},
}


@pytest.mark.parametrize("name", RIGHT)
def test_how_a_context_is_kept_is_found_by_trial(name: str) -> None:
    """And what is asked now is left in no list of what is not."""
    asked = subject(RIGHT[name])
    assert (asked.family, asked.keeping.words, asked.later) == FOUND[name]  # type: ignore[attr-defined]
    assert asked.has("context is kept")
    assert not asked.unasked


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law(name: str) -> None:
    """Those of a cache, and those of calls."""
    asked = subject(RIGHT[name])
    assert broken(asked) == set()
    assert broken_by(asked, pinned_cases(asked)) == set()


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_module_breaks_its_law_and_no_other(name: str) -> None:
    """A single call with the context is right."""
    asked = subject(WRONG[name].target)
    assert broken(asked) == BREAKS[name]


@pytest.mark.parametrize("name", WRONG)
def test_each_gets_its_name(name: str) -> None:
    asked = subject(WRONG[name].target)
    law = next(one for one in (KEPT, MASKED, ANOTHER) if one in BREAKS[name])
    with quiet_and_repeatable():
        case = next(c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail")
        names = behaves_like(law, case)
    assert {each.partition("; look for ")[0] for each in names} == {WRONG[name].named}


class PastOfXAlone(kept.KeptInATuple):
    """What is held is that of x alone: nobody hands it over beside a context, and it is appended to."""

    def whole(self, x: Tensor, context: Tensor | None, past: kept.Pair | None) -> kept.Pair:
        present = self.made_of(x if context is None else context)
        return present if past is None else kept.joined(past, present)


class MadeAnew(kept.KeptInATuple):
    """A past beside a context is not read."""

    def whole(self, x: Tensor, context: Tensor | None, past: kept.Pair | None) -> kept.Pair:
        return super().whole(x, context, None if context is not None else past)


@pytest.mark.parametrize("target", [PastOfXAlone, MadeAnew])
def test_a_past_that_is_no_contexts_is_not_asked_about_beside_one(target: Any) -> None:
    """It is told as left out."""
    asked = subject(target)
    assert not asked.has("context is kept")
    assert {"past", "use_cache"} <= asked.unasked.keys()


class Joining:
    """A cache of x, to which tokens are joined."""

    def __init__(self) -> None:
        self.layers: dict[int, kept.Pair] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int) -> kept.Pair:
        past, present = self.layers.get(layer_idx), (keys, values)
        self.layers[layer_idx] = present if past is None else kept.joined(past, present)
        return self.layers[layer_idx]


class BothCaches(Joining):
    """One of x and one of a context, as an encoder's and decoder's."""

    def __init__(self, *caches: Joining) -> None:
        self.of_x, self.of_context = caches
        self.is_updated: dict[int, bool] = {}


class KeptInOneOfTwo(kept.PlainCross):
    """Self-attention writes to one cache, attention to a context to the other one."""

    def __init__(self, d_model: int, num_heads: int, layer_idx: int = 0) -> None:
        super().__init__(d_model, num_heads)
        self.layer_idx = layer_idx

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor | None = None, past_key_values: Joining | None = None
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        source = x if context is None else context
        pair = self.split(self.to_k(source)), self.split(self.to_v(source))
        if past_key_values is not None:
            pair = self.updated(past_key_values, pair, crossed=context is not None)
        scores = self.split(self.to_q(x)) @ pair[0].mT * self.head_dim**-0.5
        output: Tensor = self.to_out((scores.softmax(-1) @ pair[1]).transpose(1, 2).flatten(2))
        return output

    def updated(self, cache: Any, pair: kept.Pair, crossed: bool) -> kept.Pair:
        """What is read."""
        if not isinstance(cache, BothCaches) or not crossed:
            own = cache.of_x if isinstance(cache, BothCaches) else cache
            return own.update(*pair, self.layer_idx)
        if cache.is_updated.get(self.layer_idx):
            return self.kept(cache)
        cache.is_updated[self.layer_idx] = True
        return cache.of_context.update(*pair, self.layer_idx)

    def kept(self, cache: BothCaches) -> kept.Pair:
        """Of the context."""
        return cache.of_context.layers[self.layer_idx]


class KeptTurnedRound(KeptInOneOfTwo):
    """The items of the batch change places."""

    def kept(self, cache: BothCaches) -> kept.Pair:
        keys, values = super().kept(cache)
        return keys.roll(1, 0), values.roll(1, 0)


def test_an_object_of_two_caches_is_made_of_two() -> None:
    """That of a context is asked about, where a plain one would be appended to."""
    asked, wrong = subject(KeptInOneOfTwo), subject(KeptTurnedRound)
    words = "held by the caller, past_key_values=BothCaches(Joining(), Joining())"
    assert asked.keeping.words == wrong.keeping.words == words  # type: ignore[attr-defined]
    assert broken(asked) == set()
    assert KEPT in broken(wrong)
