"""A forward that requires a layer's index, a causal flag or a past is asked as one that has defaults."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.findings.names.caches import layers
from properties.findings.scripts import script
from properties.recognition.targets import find
from properties.spec.clause import clauses
from properties.tests.test_cache import broken
from properties.tests.test_calls import broken_by, subject
from properties.zoo.wide.cached_layers import CachedInADictOfLayers
from properties.zoo.wide.encoder import PlainEncoder
from properties.zoo.wide.encoder_flags import PlainFlag

FLAG = "mask/causal-flag-hides-the-future"


class LayerAndCache(CachedInADictOfLayers):
    """Both are told in the call, and neither has a default."""

    def __init__(self, d_model: int, n_heads: int, context_length: int) -> None:
        super().__init__(d_model, n_heads, context_length, 0)

    def forward(self, x: Tensor, layer_idx: int, kv_cache: Any) -> Tensor:  # type: ignore[override]
        self.layer_idx = self.own(layer_idx)
        return super().forward(x, kv_cache)

    def own(self, layer_idx: int) -> int:
        """Whose keys are read."""
        return layer_idx


class LayerIgnored(LayerAndCache):
    def own(self, layer_idx: int) -> int:
        return 0


class Flagged(PlainFlag):
    def forward(self, x: Tensor, is_causal: bool) -> Tensor:  # type: ignore[override]
        return super().forward(x, is_causal)


class FlagWithoutAnAnnotation(PlainFlag):
    def forward(self, x: Tensor, is_causal) -> Tensor:  # type: ignore[override, no-untyped-def]
        return super().forward(x, is_causal)


class FlagIgnored(PlainFlag):
    def forward(self, x: Tensor, is_causal: bool) -> Tensor:  # type: ignore[override]
        return super().forward(x, False)


class NeedsItsCache(LayerAndCache):
    """No call goes without one."""

    def forward(self, x: Tensor, layer_idx: int, kv_cache: Any) -> Tensor:  # type: ignore[override]
        kv_cache.setdefault(layer_idx)
        return super().forward(x, layer_idx, kv_cache)


def test_a_layer_and_a_cache_that_are_required_are_asked() -> None:
    asked = subject(LayerAndCache)
    assert asked.has("layers share a cache")
    assert asked.cache == "held by the caller, kv_cache"
    assert not asked.unasked
    assert "layer_idx is required: it is 0 where a call says nothing" in asked.notes
    assert broken(asked) == set()


def test_a_required_layer_that_is_ignored_is_told_by_name() -> None:
    asked = subject(LayerIgnored)
    assert broken(asked) == {layers.CLAUSE}
    assert layers.fitting(asked) == (layers.IN_ONE_PLACE,)


@pytest.mark.parametrize("target", [Flagged, FlagWithoutAnAnnotation])
def test_a_causal_flag_that_is_required_is_asked(target: type[nn.Module]) -> None:
    asked = subject(target)
    assert dict(asked.takes) == {"causal": "is_causal"}
    assert asked.family == "encoder"
    assert not asked.unasked
    assert broken_by(asked, pinned_cases(asked)) == set()


def test_a_required_flag_that_is_ignored_is_told() -> None:
    """And a script shows it, which fails on it alone."""
    asked = subject(FlagIgnored)
    assert FLAG in broken_by(asked, pinned_cases(asked))
    written = script(clauses()[FLAG], next(c for c in pinned_cases(asked) if c.sizes.tokens > 1))
    assert written is not None
    assert written.fails()
    written.run(Flagged)


class Masked(PlainEncoder):
    """What is called so is a mask."""

    def forward(self, x: Tensor, causal_mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, causal_mask.bool())


@pytest.mark.parametrize("target", [Masked, NeedsItsCache])
def test_what_cannot_do_without_is_refused_and_the_refusal_names_it(
    target: type[nn.Module],
) -> None:
    required = "causal_mask" if target is Masked else "layer_idx, kv_cache"
    with pytest.raises(QuestionError, match=rf"forward\(x, {required}\)"):
        find(target)
