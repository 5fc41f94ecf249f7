"""Whether every failure can be written as a script: `python benchmarks/reproducers.py [FAULT ...]`.

Each fault of the zoo is checked against each clause that it is registered to break. The failure's
script must fail on the fault, and pass on the right module or function that the fault changes. What
does neither is listed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch

from properties.findings.scripts import script
from properties.findings.scripts.script import Script
from properties.recognition.targets import find
from properties.runs.runner import Run, quiet_and_repeatable
from properties.spec.clause import Clause, Level, clauses
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.zoo.faults import Fault, faults
from properties.zoo.partners import partner


def main(names: list[str]) -> int:
    """One line for each failure that is not reproduced, and the sums."""
    counts: dict[str, int] = {}
    for fault in (faults()[name] for name in names or faults()):
        for clause, outcome in outcomes(fault):
            counts[outcome.partition(":")[0]] = counts.get(outcome.partition(":")[0], 0) + 1
            if outcome != "reproduced":
                print(f"{fault.name} {clause}: {outcome}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if set(counts) == {"reproduced"} else 1


def outcomes(fault: Fault) -> Iterator[tuple[str, str]]:
    """What became of each clause that the fault breaks."""
    subject = find(fault.module, fault.family)[0]
    for id in fault.breaks:
        with quiet_and_repeatable(), redirect_stdout(StringIO()):
            outcome = reproduced(subject, clauses()[id], fault.module)
        yield id, outcome


def reproduced(subject: Subject, clause: Clause, module: Callable[..., Any]) -> str:
    """What became of one clause."""
    run = Run(subject, [clause], PROFILES["quick"], 0)
    tallies = run.tallies()
    run.go(tallies)
    case = tallies[clause.id].case
    if case is None:
        return "no failure"
    found = script(clause, case)
    if found is None:
        return f"no script: {tallies[clause.id].message}"
    binding = clause.level != Level.MAY  # else what is right may break it, too
    return verdict(found, module, partner(module, subject.conventions) if binding else None)


def verdict(found: Script, module: Callable[..., Any], right: Callable[..., Any] | None) -> str:
    """How the script ends on the fault and on what it changes."""
    on_fault = execute(found, module)
    if right is None and on_fault == "AssertionError":
        return "fails, with no right one to try"
    on_right = execute(found, right) if right is not None else ""
    if on_fault == "AssertionError" and on_right == "":
        return "reproduced"
    if on_fault == "AssertionError":
        return f"fails on the right module, too: {on_right}"
    return f"does not fail: {on_fault}"


def execute(found: Script, target: Callable[..., Any]) -> str:
    """What a script raises with this class; empty if nothing."""
    with torch.random.fork_rng(devices=[]), redirect_stdout(StringIO()):
        try:
            found.run(target)
        except AssertionError:
            return "AssertionError"
        except Exception as error:  # of the module, in place of an answer
            return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
