"""How many faults get their name: `python benchmarks/naming.py [FAULT ...]`.

Every fault of the zoo is asked for what it behaves like, once for its formula and once for its
dropout. Prints the share of the faults in `properties/tests/data/names.toml` that get exactly their
name, get it with others, or get none, and every name that is given to a fault outside of that table:
whether such a name is deserved is for a reader to judge.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from statistics import mean

from properties.diagnosis import behaves_like
from properties.errors import QuestionError
from properties.faults import Fault, faults
from properties.matrix import fault_named
from properties.runner import quiet_and_repeatable
from properties.strategies import pinned_cases
from properties.targets import find

TABLE = Path(__file__).parents[1] / "properties" / "tests" / "data" / "names.toml"
CLAUSES = ("oracle/output-within-bound", "dropout/survivors-are-exactly-scaled")


def expected() -> dict[str, list[str]]:
    """The names that the table gives, by fault."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {fault: [names] if isinstance(names, str) else names for fault, names in table.items()}


def given(fault: Fault) -> list[str]:
    """The names that the diagnosis gives, without where to look."""
    case = pinned_cases(find(fault.module, fault.family)[0])[0]
    names = [name for clause in CLAUSES for name in behaves_like(clause, case)]
    return [name.partition("; look for ")[0] for name in names]


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
        if verdict not in ("exactly", "nameless"):
            print(f"{verdict}: {name}: {'; '.join(names) or 'no name'}", flush=True)
    named = sum(counts[verdict] for verdict in ("exactly", "with others", "otherwise", "not"))
    for verdict in ("exactly", "with others", "otherwise", "not"):
        share = 100.0 * counts[verdict] / max(1, named)
        print(f"of {named} faults with a name, named {verdict}: {counts[verdict]} ({share:.1f} %)")
    print(
        f"of {counts['outside'] + counts['nameless']} others, given a name: {counts['outside']}; "
        f"refused before any clause: {counts['refused']}"
    )
    if seconds:
        print(f"seconds for a fault: {mean(seconds):.2f}, at most {max(seconds):.2f}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except QuestionError as error:
        sys.exit(str(error))
