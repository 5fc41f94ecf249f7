"""A cache of the caller's own class is made, updated step by step, and judged."""

from __future__ import annotations

import pytest
from torch import nn

from properties.findings.names.caches import layers, match
from properties.recognition.targets import find_one
from properties.tests.data import cache_objects as made
from properties.tests.test_cache import broken, subject
from properties.zoo.wide import held_ones, sound_ones

ROOM = "(batch_size, max_seq_len, num_kv_heads, head_dim)"
LAYERS = "(n_layers, max_batch_size, capacity, n_heads, dim, dtype)"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (made.Cached, f"kv_cache=RoomCache{ROOM}"),
        (made.Unannotated, "past_key_values=Growing()"),
        (made.InARoomOfAllLayers, f"cache=RoomOfAllLayers{LAYERS}"),
    ],
)
def test_a_right_cache_holds_every_law_and_is_named(target: type[nn.Module], words: str) -> None:
    """By the annotation, or without one by trial; in all formats, and with shared heads."""
    asked = subject(target)
    assert asked.has("groups")
    assert asked.cache == f"held by the caller, {words}"
    assert set(asked.cached_in) == set(asked.dtypes)
    assert broken(asked) == set()
    assert match.fitting(asked) == ()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (made.FromOne, "first place of the cache empty"),
        (made.OfNewAlone, "the past is kept and not read"),
        (made.SharedByItems, "items share the cache"),
        (made.InAShortRing, ""),
    ],
)
def test_a_wrong_cache_breaks_a_law_and_has_its_name(target: type[nn.Module], name: str) -> None:
    """A ring that is too short has none."""
    asked = subject(target)
    assert "cache/token-by-token-equals-the-whole" in broken(asked)
    assert {form.called for form in match.fitting(asked)} == ({name} if name else set())


def test_a_cache_that_nobody_can_make_is_told_as_not_asked() -> None:
    """Another class of the same file is not put in its place."""
    asked = subject(made.InPages)
    assert not asked.has("cache")
    assert "kv_cache" in asked.unasked


HOW = "two layers of one cache"
SHARING = "layers share a cache"
LAYERED = [n for n in sound_ones() if "of-layers" in n]


@pytest.mark.parametrize(
    "target",
    [
        made.Unannotated,
        made.InARoomOfAllLayers,
        made.ToldInTheCall,
        *(sound_ones()[name].target for name in LAYERED),
    ],
)
def test_layers_that_share_a_cache_keep_their_own(target: type[nn.Module]) -> None:
    """In an object, in a room for all of them, in a dict or a list; told by the constructor or the call."""
    asked = subject(target)
    assert asked.has(SHARING)
    assert broken(asked) == set()
    assert layers.fitting(asked) == ()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (made.IgnoresItsLayer, layers.IN_ONE_PLACE),
        (made.ReadsTheFirst, layers.FIRST_ALONE),
        *((one.target, one.named) for one in held_ones().values() if one.how == HOW),
    ],
)
def test_a_layer_that_ignores_its_index_is_told_by_name(target: type[nn.Module], name: str) -> None:
    """Alone it is right."""
    asked = subject(target)
    assert broken(asked) == {layers.CLAUSE}
    assert layers.fitting(asked) == (name,)


@pytest.mark.parametrize("target", [made.WithACacheOfItsOwn, made.Cached])
def test_a_cache_that_knows_no_layers_is_that_of_one(target: type[nn.Module]) -> None:
    """Two layers would meet in it, which nobody does."""
    asked = find_one(target)
    assert asked.has("cache")
    assert not asked.has(SHARING)
