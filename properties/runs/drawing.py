"""The examples of a run: drawn by Hypothesis, the same ones from the same seed."""

from __future__ import annotations

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from properties.cases.case import Case
from properties.cases.drawing import from_the_seed_alone, with_objects_set_aside
from properties.cases.strategies import spread
from properties.spec.profiles import Profile
from properties.subjects.subject import Subject

TOGETHER = 50  # examples that Hypothesis draws as one: it has a limit to the size of an example


def draw(subject: Subject, profile: Profile, seed: int) -> list[Case]:
    """The profile's number of cases, drawn by Hypothesis; the same seed draws the same ones."""
    found: list[Case] = []
    for start in range(0, profile.drawn, TOGETHER):
        numbers = range(start, min(start + TOGETHER, profile.drawn))
        shifted = (seed * profile.drawn + number for number in numbers)
        found += draw_together(spread(subject, shifted, largest=profile.largest), f"{seed} {start}")
    return found


def draw_together(strategy: SearchStrategy[tuple[Case, ...]], seed: str) -> tuple[Case, ...]:
    """One example of a strategy."""
    drawn: list[tuple[Case, ...]] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=2,  # the first is the simplest one
        phases=[Phase.generate],
        database=None,
        deadline=None,
        # A slow machine must not change the verdict, and nothing here is filtered.
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(cases: tuple[Case, ...]) -> None:
        drawn.append(cases)

    with from_the_seed_alone(), with_objects_set_aside():
        collect()
    return drawn[-1]
