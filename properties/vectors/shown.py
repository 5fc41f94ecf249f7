"""What the vectors tell of the zoo's faults, as `shown.toml` has it, and how many that are."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from properties.vectors.notes import NOT_SHOWN
from properties.zoo.faults import faults
from properties.zoo.wide import held_ones


@cache
def shown() -> dict[str, dict[str, str]]:
    """The table, by section; tests hold it against the faults as they run."""
    found: dict[str, Any] = tomllib.loads(
        (files("properties.vectors") / "shown.toml").read_text(encoding="utf-8")
    )
    return found


def of_the_zoo() -> dict[str, int]:
    """How many faults there are.

    zoo: all; named: beyond a bound, and what comes is what a flag gives; unnamed: beyond a bound, without
    a flag; alike: not run, and of the formula of a flag; wide: of `zoo/wide`, and flagged.
    """
    table = shown()
    wide = {one.target: one.named for one in held_ones().values()}
    flagged = [f for f in faults().values() if f.module in wide and wide[f.module] not in NOT_SHOWN]
    return {
        "zoo": len(faults()),
        "named": len(table["named"]) + len(table["called"]),
        "unnamed": len(table["unnamed"]),
        "alike": len(table["flags"]),
        "wide": len(flagged),
    }
