"""A wrong cache is told by its name, a picture and a script."""

from __future__ import annotations

import pytest
from torch import nn

from properties.findings.evidence import evidence
from properties.findings.names.caches import match
from properties.findings.names.caches.catalogue import UsedUnasked
from properties.findings.names.caches.memory import Memory
from properties.findings.scripts import script
from properties.recognition.targets import find
from properties.reports.card import brief, convention
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.subjects.card import conventions_of
from properties.tests.test_cache import CAUSAL, RIGHT, WRONG, five, subject
from properties.zoo.wide import held_ones
from properties.zoo.wide.cached import CachedInside, CachedInSlots


@pytest.mark.parametrize("name", WRONG)
def test_what_a_wrong_cache_gives_tells_its_name(name: str) -> None:
    """It agrees with one wrong cache in everything that it is fed."""
    asked = subject(held_ones()[name].target)
    assert {form.called for form in match.fitting(asked)} == {held_ones()[name].named}


@pytest.mark.parametrize("name", CAUSAL)
def test_a_right_cache_gets_no_name(name: str) -> None:
    """It agrees with a right one in everything."""
    histories = list(match.histories(subject(RIGHT[name].target)))
    for history in histories:
        history.ask()
        assert history.answers
        assert history.agrees(Memory)
    assert match.fitting(subject(RIGHT[name].target)) == ()


def test_a_name_explains_the_laws_that_such_a_cache_breaks_and_no_others() -> None:
    """A cache that is used unasked breaks the law about calls without it."""
    asked = subject(held_ones()["cached-unasked"].target)
    name = match.told(UsedUnasked)
    assert match.named("cache/call-without-it-is-what-it-was", five(asked)) == [name]
    assert match.explains(name, "cache/call-without-it-is-what-it-was", five(asked)) is True
    assert match.explains(name, "cache/token-by-token-equals-the-whole", five(asked)) is False
    assert match.explains("nothing", "cache/token-by-token-equals-the-whole", five(asked)) is None


def test_a_report_tells_a_wrong_cache_by_its_name() -> None:
    """Once, whatever laws it breaks."""
    [asked] = find(held_ones()["cached-with-a-hole"].target)
    report = run(asked, profile="quick", only=["cache/token-by-token-equals-the-whole"])
    assert [finding.name for finding in report.findings] == ["hole in the cache"]
    assert report.conventions["cache"]["answer"] == "in slots, start_pos"


def test_the_card_says_how_it_goes_on() -> None:
    asked = subject(CachedInside)
    told = conventions_of(asked)
    assert brief(asked.takes, told) == "cache: inside, use_cache=True, reset_cache()"
    words = "cache: inside, use_cache=True, reset_cache() (found by trial)"
    assert convention("cache", told["cache"]) == words


def test_the_picture_shows_the_weights_of_a_sequence_in_parts() -> None:
    """After the first slot was written to again, its key is another token's."""
    asked = subject(held_ones()["cached-first-slot-overwritten"].target)
    found = evidence("cache/token-by-token-equals-the-whole", five(asked))
    assert found is not None
    assert found["title"].startswith("Attention weights fed token by token")
    assert found["off"]


@pytest.mark.parametrize(
    ("name", "law", "right"),
    [
        ("cached-unasked", "cache/call-without-it-is-what-it-was", CachedInside),
        ("cached-stale-keys", "cache/second-sequence-is-a-first-one", CachedInSlots),
        ("cached-no-mask-beside-a-cache", "cache/any-split-equals-the-whole", CachedInside),
    ],
)
def test_a_script_fails_on_the_wrong_module_and_passes_on_the_right_one(
    name: str, law: str, right: type[nn.Module]
) -> None:
    """It needs torch and the class alone."""
    written = script(clauses()[law], five(subject(held_ones()[name].target)))
    assert written is not None
    assert written.fails()
    written.run(right)
