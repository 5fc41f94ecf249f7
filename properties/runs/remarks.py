"""What a report says of a run besides its results."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version

from properties.runs.tally import Tally
from properties.truth import chance


def versions() -> dict[str, str]:
    """Of everything that a verdict depends on."""
    packages = ("torch", "numpy", "hypothesis")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def false_alarm(tallies: Mapping[str, Tally]) -> float:
    """What laws about chance, all of them of subjects that drop, may err with in this run."""
    judged = any(t.counted or t.broken for t in tallies.values() if "dropout" in t.clause.needs)
    return chance.RUN if judged else 0.0


def declining(tallies: Iterable[Tally]) -> list[str]:
    """A remark on the calls that the subject says it does not support."""
    found = [tally for tally in tallies if tally.declined]
    if not found:
        return []
    named = ", ".join(tally.clause.id for tally in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [
        "calls that it says it does not support are not asked; laws with such calls: "
        f"{named}{more}; it says: {found[0].declined}"
    ]
