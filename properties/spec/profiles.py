"""How much a run asks: the three profiles, by what a person wants."""

from __future__ import annotations

from dataclasses import dataclass

from properties.basics.errors import QuestionError


@dataclass(frozen=True)
class Profile:
    """drawn: examples besides the pinned ones; counted: how many of them must meet a clause's
    condition, else it is vacuous; reduction: evaluations spent on making a failure small;
    largest: the largest drawn size.
    """

    name: str
    drawn: int
    counted: int
    reduction: int
    largest: int


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", drawn=9, counted=2, reduction=300, largest=6),
        Profile("ci", drawn=89, counted=6, reduction=600, largest=9),
        Profile("thorough", drawn=1500, counted=50, reduction=2000, largest=13),
    )
}


def profile_named(name: str) -> Profile:
    """The profile, or a message that names those there are."""
    if name not in PROFILES:
        raise QuestionError(f"no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
