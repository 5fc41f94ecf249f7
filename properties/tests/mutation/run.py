"""Mutation testing: python -m properties.tests.mutation.run attention | clauses [AREA ...] | bounds.

Every mutant must turn a test red, or be listed in equivalent.toml with the reason why it changes
nothing; and what is listed there must survive. Exit code 0 if so, 1 if not. The mutants live in a
copy of the checkout. A run that was interrupted goes on where it was, as long as no source changed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkItem, WorkResult

from properties.tests.mutation.judges import JUDGES, Judge
from properties.tests.mutation.operators import Provider
from properties.tests.mutation.session import (
    CHECKOUT,
    Mutant,
    copy_of_checkout,
    described,
    digest,
    pending,
    session,
    timed,
    tried,
    why_red,
)

LISTED = Path(__file__).with_name("equivalent.toml")
LAWS = "law/(DropAssertion|WidenArgument|Empty.*)|core/(AddNot|ZeroIterationForLoop)"
POINTLESS = (  # bits of integers, types in annotations, the identity of numbers
    r"ReplaceBinaryOperator_(\w+_(.Shift|Bit...?)|BitOr_\w+)"
    r"|ReplaceComparisonOperator_(?!Is)\w+_Is(Not)?"
)
OPERATORS = {
    "attention": rf"core/(?!({POINTLESS})$).*|law/Drop(Statement|Keyword)",
    "clauses": LAWS,
    "bounds": "law/Widen.*",
}


def main() -> int:
    """Run the mutants that have no result yet, then say which of them are not as they should be."""
    options = parser().parse_args()
    modules = modules_of(options.part, options.area)
    name = "-".join([options.part, *options.area, digest()])
    self_check()
    preload()
    judge = JUDGES[options.part]
    with copy_of_checkout(options.folder.resolve() / options.part) as copy:
        file = copy.parent.with_name(f"{name}.sqlite")
        paths = [path.relative_to(CHECKOUT) for path in modules]
        with session(file, paths, OPERATORS[options.part]) as db:
            work = pending(db, options.sample)
            mutated = [path for path in paths if path in {i.mutations[0].module_path for i in work}]
            limit = baseline(judge, mutated[:1] if options.part == "attention" else mutated)
            print(f"{len(work)} mutants without a result in {file}", flush=True)
            for number, item in enumerate(work, start=1):
                result, seconds = timed(partial(tried, item, judge, limit))
                db.set_result(item.job_id, result)
                say(number, item, result, seconds)
            return verdict(db, {str(path) for path in paths}, complete=options.sample is None)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m properties.tests.mutation.run", description=__doc__
    )
    top.add_argument("part", choices=sorted(JUDGES))
    top.add_argument(
        "area", nargs="*", help="of clauses: files of properties/spec/clauses, all if none"
    )
    top.add_argument("--sample", type=int, metavar="N", help="only N of the mutants left to run")
    top.add_argument(
        "--folder",
        type=Path,
        default=CHECKOUT / ".mutation",
        help="where sessions and the copy are kept (default .mutation)",
    )
    return top


def modules_of(part: str, areas: list[str]) -> list[Path]:
    """The files to mutate."""
    if part == "attention":
        return sorted((CHECKOUT / "attention").glob("*.py"))
    if part == "bounds":
        return sorted((CHECKOUT / "properties/truth/bounds").glob("[!_]*.py"))
    known = {
        path.stem: path for path in sorted((CHECKOUT / "properties/spec/clauses").glob("*.py"))
    }
    if unknown := set(areas) - set(known):
        sys.exit(f"no clauses/{', '.join(unknown)}; expected some of {', '.join(known)}")
    return [known[area] for area in areas or known]


def self_check() -> None:
    """Each operator of ours turns its examples into what it says."""
    provider = Provider()
    for name in provider:
        for example in provider[name].examples():
            made = mutate_code(example.pre_mutation_code, provider[name](), example.occurrence)
            if made != example.post_mutation_code:
                sys.exit(f"{name} makes {made!r}, expected {example.post_mutation_code!r}")


def preload() -> None:
    """What every judge needs and no mutant changes, imported once: the children are forked.

    Hypothesis refuses to have its plugin loaded after the first strategy was evaluated.
    """
    for name in ("_hypothesis_pytestplugin", "numpy", "pytest", "rich.console", "torch.nn"):
        import_module(name)


def baseline(judge: Judge, paths: list[Path]) -> float:
    """Green without a mutant, red with one that cannot live; returns the seconds a mutant has."""
    longest = 0.0
    for path in paths:
        red, seconds = timed(lambda path=path: why_red(judge, str(path), 0, 3600.0))
        print(f"{seconds:6.1f} s  {path} unmutated: {red or 'green'}", flush=True)
        if red is not None:
            sys.exit(f"the tests are red before anything is mutated: {red}")
        longest = max(longest, seconds)
        source = path.read_text(encoding="utf-8")
        path.write_text(source + "\nraise RuntimeError('canary')\n", encoding="utf-8")
        try:
            if why_red(judge, str(path), 0, 3600.0) is None:
                sys.exit(f"{path} ends with a raise and the tests stay green: it is not tested")
        finally:
            path.write_text(source, encoding="utf-8")
    return 60.0 + 4.0 * longest


def say(number: int, item: WorkItem, result: WorkResult, seconds: float) -> None:
    """One line on one mutant."""
    mutation = item.mutations[0]
    state = result.test_outcome.value if result.test_outcome else result.worker_outcome.value
    place = f"{mutation.module_path}:{mutation.start_pos[0]}"
    print(f"{number:4} {seconds:5.1f} s {state:8} {place} {mutation.operator_name}", end=" ")
    if result.diff:
        mutant = described(item, result.diff)
        print(f"| {mutant.before} -> {mutant.after} | {result.output or ''}", end="")
    print(flush=True)


def verdict(db: WorkDB, modules: Iterable[str], *, complete: bool) -> int:
    """Print the survivors that are not listed, and the listed ones that did not survive."""
    done = [(item, result) for item, result in db.completed_work_items if result.diff]
    print(dict(Counter(result.test_outcome.value for _, result in done)))
    survivors = {
        described(item, result.diff)
        for item, result in done
        if result.test_outcome == TestOutcome.SURVIVED
    }
    listed = {mutant for mutant in equivalents() if mutant.module in modules}
    wrong = [f"survives, and is not listed: {mutant}" for mutant in survivors - listed]
    if complete:
        gone = listed - survivors
        wrong += [f"is listed, and is killed or no more: remove it: {mutant}" for mutant in gone]
    print("\n".join(sorted(wrong)) or "every mutant is killed or listed")
    return 1 if wrong else 0


def equivalents() -> dict[Mutant, str]:
    """The mutants listed as changing nothing, each with the reason."""
    entries = tomllib.loads(LISTED.read_text(encoding="utf-8")).get("equivalent", [])
    return {Mutant(*(e[k] for k in Mutant.__match_args__)): e["reason"] for e in entries}


if __name__ == "__main__":
    sys.exit(main())
