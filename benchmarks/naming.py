"""How many faults get their name: `python benchmarks/naming.py [FAULT ...]`.

Every fault of the zoo is asked for what it behaves like where it fails the clauses that it is made
to break. Prints the share of the faults in `properties/tests/data/names.toml` that get exactly their
name, get it with others, or get none; every name that is given to a fault outside of that table,
since whether such a name is deserved is for a reader to judge; and the faults without a name.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections import Counter
from itertools import islice
from pathlib import Path
from statistics import mean

from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.recognition.targets import find
from properties.runs.drawing import draw
from properties.runs.result import Status
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.zoo.faults import Fault, faults
from properties.zoo.matrix import fault_named

TABLE = Path(__file__).parents[1] / "properties" / "tests" / "data" / "names.toml"
VERDICTS = ("exactly", "with others", "otherwise", "not")


def expected() -> dict[str, list[str]]:
    """The names that the table gives, by fault."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {fault: [names] if isinstance(names, str) else names for fault, names in table.items()}


def given(fault: Fault) -> list[str]:
    """The names that the diagnosis gives, without where to look."""
    subject = find(fault.module, fault.family)[0]
    drawn = draw(subject, PROFILES["quick"], 0)
    names = []
    for clause in fault.breaks:
        failing = (c for c in (*pinned_cases(subject), *drawn) if fails(clause, c))
        for case in islice(failing, 1):
            names += behaves_like(clause, case)
    return [name.partition("; look for ")[0] for name in dict.fromkeys(names)]


def fails(clause: str, case: Case) -> bool:
    """Whether the subject fails a clause on a case."""
    return judge(clauses()[clause], case).status is Status.FAIL


def judged(names: list[str], wanted: list[str]) -> str:
    """What became of a fault that has a name."""
    if names == wanted:
        return "exactly"
    if set(wanted) <= set(names):
        return "with others"
    return "otherwise" if names else "not"


def main(chosen: list[str]) -> None:
    """The shares, and what a reader should look at."""
    table, counts, seconds = expected(), Counter[str](), []
    for name in chosen or faults():
        fault = fault_named(name)
        start = time.perf_counter()
        try:
            with quiet_and_repeatable():
                names = given(fault)
        except QuestionError:  # refused before any clause is asked
            counts["refused"] += 1
            continue
        seconds.append(time.perf_counter() - start)
        verdict = (
            judged(names, table[name]) if name in table else "outside" if names else "nameless"
        )
        counts[verdict] += 1
        if verdict != "exactly":
            print(f"{verdict}: {name}: {'; '.join(names) or 'no name'}", flush=True)
    named = sum(counts[verdict] for verdict in VERDICTS)
    for verdict in VERDICTS:
        share = 100.0 * counts[verdict] / max(1, named)
        print(f"of {named} faults with a name, named {verdict}: {counts[verdict]} ({share:.1f} %)")
    print(
        f"of {counts['outside'] + counts['nameless']} others, given a name: {counts['outside']}; "
        f"refused before any clause: {counts['refused']}"
    )
    told = named - counts["not"] + counts["outside"]
    everybody = sum(counts.values())
    print(f"of {everybody} faults, given a name: {told} ({100.0 * told / everybody:.1f} %)")
    if seconds:
        print(f"seconds for a fault: {mean(seconds):.2f}, at most {max(seconds):.2f}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except QuestionError as error:
        sys.exit(str(error))
