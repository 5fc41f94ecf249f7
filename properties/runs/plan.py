"""What a campaign asks: PLAN.toml, its pieces, and the answer to one of them.

targets = ["my_package.model:MyAttention", "other.py"]
seeds = 100                        # 0 to 99, or a list of them
profile = "quick"                  # optional, as are all of the following
formats = ["float32", "float16"]   # each asked by itself; otherwise all together
only = ["causality"]
family = "multihead"
timeout = 60
"""

from __future__ import annotations

import atexit
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.runs.isolation import Isolated
from properties.runs.journal import Line, Piece
from properties.runs.memory import failures
from properties.runs.result import Report, Result, Status
from properties.runs.waivers import require_known
from properties.spec.clause import select
from properties.spec.profiles import profile_named
from properties.subjects.subject import FAMILIES

KEYS = ("targets", "seeds", "profile", "formats", "only", "family", "timeout")
_own = threading.local()  # the process of the last target, kept for its next piece


@dataclass(frozen=True)
class Plan:
    """The contents of the file."""

    targets: list[str]
    seeds: list[int]
    profile: str = "quick"
    formats: tuple[str | None, ...] = (None,)
    only: list[str] | None = None
    family: str | None = None
    timeout: float = 60.0

    def pieces(self) -> list[Piece]:
        """One for each target, format and seed; those of a target follow each other."""
        same = {"profile": self.profile, "only": self.only, "family": self.family}
        return [
            {"target": target, "seed": seed, "format": form, "timeout": self.timeout, **same}
            for target, form, seed in product(self.targets, self.formats, self.seeds)
        ]


def read(path: Path) -> Plan:
    """The plan in a file; QuestionError for whatever in it means nothing."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(
            f"{path}: {error.strerror or error}; name a file that there is"
        ) from error
    except ValueError as error:
        raise QuestionError(f"{path}: not TOML: {error}") from error
    require_known(str(path), found, KEYS)
    seeds = found.get("seeds", 1)
    seeds = list(range(seeds)) if type(seeds) is int else seeds
    formats, only = found.get("formats", [None]), found.get("only")
    wrong = {
        "targets": not texts(found.get("targets")),
        "seeds": not isinstance(seeds, list) or not seeds or any(type(s) is not int for s in seeds),
        "formats": formats != [None] and not (texts(formats) and set(formats) <= set(FORMATS)),
        "only": only is not None and not texts(only),
        "family": found.get("family") not in (None, *FAMILIES),
        "timeout": not isinstance(found.get("timeout", 1), int | float)
        or found.get("timeout", 1) <= 0,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise QuestionError(f"{path}: {name} is {found.get(name)!r}; expected {EXPECTED[name]}")
    profile_named(found.get("profile", "quick"))
    select(only)
    rest = {name: found[name] for name in ("profile", "only", "family", "timeout") if name in found}
    return Plan(list(dict.fromkeys(found["targets"])), seeds, formats=tuple(formats), **rest)


EXPECTED = {
    "targets": "a list of targets, as for `check`",
    "seeds": "how many, or a list of whole numbers",
    "formats": f"a list of {', '.join(FORMATS)}",
    "only": "a list of clauses or areas",
    "family": f"one of {', '.join(FAMILIES)}",
    "timeout": "a number of seconds above 0",
}


def texts(value: Any) -> bool:
    """Whether it is a list of texts, and not an empty one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def ask(piece: Piece) -> Line:
    """The answer to a piece, by a process that its target has of its own.

    Where that process is lost the piece is asked a second time, and the second answer stands: whether a
    subject ended it or somebody else did cannot be known from one loss.
    """
    start = time.perf_counter()
    reports, refused, lost = attempt(piece)
    if lost:
        reports, refused, lost = attempt(piece)
    told = [summary(report) for report in reports]
    return {"reports": told, "refused": refused, "seconds": round(time.perf_counter() - start, 3)}


def attempt(piece: Piece) -> tuple[list[Report], dict[str, str], bool]:
    """The reports, why other subjects have none, and whether a process was lost on the way."""
    target = process_of(piece)
    options = {"profile": piece["profile"], "seed": piece["seed"], "only": piece["only"]}
    options |= {"formats": [piece["format"]] if piece["format"] else None}
    reports = []
    refused = dict(target.refused)
    for name in list(target.clauses):
        try:
            reports.append(target.run(name, dict(options)))
        except QuestionError as error:
            refused[name] = str(error)
    if target.losses:
        target.close()
        _own.known = None
    return reports, refused, bool(target.losses)


def process_of(piece: Piece) -> Isolated:
    """The process of the piece's target: that of the last piece, if it was of the same."""
    which = (piece["target"], piece["family"], piece["timeout"])
    known: tuple[Any, Isolated] | None = getattr(_own, "known", None)
    if known is not None and known[0] == which:
        return known[1]
    if known is not None:
        known[1].close()
    target = Isolated(piece["target"], piece["family"], piece["timeout"], piece["only"])
    target.survey()
    _own.known = which, target
    atexit.register(target.close)  # twice is once
    return target


def summary(report: Report) -> Line:
    """What a campaign keeps of a report: every clause's status and margin, and what failed in full;
    remembered: the clauses whose failures are worth asking first the next time.
    """
    return {
        "subject": report.subject,
        "family": report.family,
        "seed": report.seed,
        "dtypes": report.dtypes,
        "exit_code": report.exit_code,
        "seconds": report.seconds,
        "status": {r.clause: str(r.status) for r in report.results},
        "margins": {r.clause: r.margin for r in report.results if r.margin is not None},
        "failures": [failure(r) for r in report.results if r.status in (Status.FAIL, Status.ERROR)],
        "remembered": [entry["clause"] for entry in failures(report)],
    }


def failure(result: Result) -> Mapping[str, Any]:
    """A clause that failed, with what shows it."""
    names = ("clause", "level", "half", "message", "behaves_like", "counterexample")
    return {"status": str(result.status), **{name: getattr(result, name) for name in names}}
