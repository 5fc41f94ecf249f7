"""What must turn red: for a mutated place the tests that stand for it, the quick ones first.

A judge runs in a fresh process, with the mutated copy first on the import path, and returns what
turned red, or None if all stayed green.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import chain

SLOW = "gradients_agree_with_finite or export or gpt2 or compile"
TESTS_OF_ATTENTION = [f"properties/tests/test_attention_{part}.py" for part in ("errors", "tables")]
Judge = Callable[[str, int], str | None]  # (mutated file, line) -> what turned red
PYTEST = ["-p", "no:cacheprovider", "-W", "ignore:Module already imported"]  # as `preload` does
CALLS = [f"properties/tests/test_{part}_bounds.py" for part in ("call", "position")]
MARGINS = "properties/tests/test_margins.py::test_"
CHANCE = "properties/tests/test_chance.py"
PROBES = "properties/tests/test_probes.py"
ROWS = "properties/tests/test_rows.py"
EACH = "properties/tests/test_each_check.py::test_"
ANOTHER_WAY = f"{MARGINS}what_is_computed_another_way_may_be_off_by_rounding_and_not_by_more"
TESTS_OF_AREA = {
    "oracle": ("properties/tests/test_oracle.py",),
    "dropout_chance": (CHANCE, f"{EACH}sharing_shows_where_each_has_draws_enough"),
    "dropout_draws": (
        CHANCE,
        f"{EACH}what_shares_its_draws_counts_once_and_a_crowd_has_enough_of_its_own",
    ),
    "dropout_lanes": (ROWS,),
    "rows": (ROWS,),
    "symmetry": (
        PROBES,
        f"{EACH}what_is_exact_is_asked_exactly",
        f"{EACH}where_turned_parts_lose_digits_these_are_allowed_and_no_more",
    ),
    "call_errors": (
        "properties/tests/test_guarded_calls.py::test_right_attention_refuses_or_reads_in_one_way",
    ),
    "mask": (f"{EACH}a_mean_in_a_row_that_sees_nothing_is_asked_to_rounding",),
    "module_paths": (
        "properties/tests/test_multihead_calls.py::"
        "test_torchs_three_answers_to_one_question_are_told",
    ),
    "score": (
        "properties/tests/test_calls.py::"
        "test_slopes_of_each_item_are_asked_about_where_they_are_taken",
    ),
    "gradient": (
        f"{PROBES}::test_a_gradient_that_leaves_the_range_by_its_own_size_accuses_nobody",
        "properties/tests/test_gradients.py",
    ),
    "causality": (
        f"{MARGINS}a_renormalised_mask_uses_a_visible_share_of_what_may_be_left_of_a_gradient",
        f"{EACH}one_group_of_keys_loses_no_example_of_what_is_seen",
    ),
    "error": (
        "properties/tests/test_clauses.py::test_a_context_length_of_one_is_left_to_its_own_clause",
        ANOTHER_WAY,
        f"{EACH}a_number_where_none_is_right_is_told",
        PROBES,
    ),
    "shape": (ANOTHER_WAY,),
    "state": (
        PROBES,
        f"{EACH}memory_that_was_just_taken_is_zero_before_a_module_starts_anew",
    ),
    "transform": (
        ANOTHER_WAY,
        "properties/tests/test_rights.py::test_right_attention_is_not_accused[trainable-matrices]",
    ),
}
SHARED = {"conditions": "properties/tests/test_conditions.py"}
"""Files that next to all clauses use: asked of all of them, a mutant would take minutes."""
NARROW = "units or slightly_off or shorter_format or residue"  # what a bound that is too wide lets through


def attention(module: str, line: int) -> str | None:
    """The reference's own tests, then the verdict on what was changed, then the tests that take long."""
    return (
        tests(*TESTS_OF_ATTENTION, "-k", f"not ({SLOW})")
        or verdicts(classes_at(module, line))
        or tests(*TESTS_OF_ATTENTION, "-k", SLOW)
    )


def clauses(module: str, line: int) -> str | None:
    """The clause at that line, or all that its file serves: on right modules and on its faults."""
    if stem(module) in SHARED:
        return tests(SHARED[stem(module)])
    own = TESTS_OF_AREA.get(stem(module), ())
    specified = "properties/tests/test_clauses.py", "-k", "spec_md"
    return judged(clauses_at(module, line)) or tests(*specified) or (tests(*own) if own else None)


def bounds(module: str, line: int) -> str | None:
    """The tests of the bounds, then the clauses of every file that uses this one."""
    ids = clauses_using(module)
    narrow = tests("properties/tests/test_bounds.py", "-k", NARROW)
    idle = tests(*CALLS) if "truth/bounds" in module else None
    return narrow or idle or unused_budget(ids) or passing_fault(ids)


JUDGES: dict[str, Judge] = {
    "attention": attention,
    "clauses": clauses,
    "bounds": bounds,
}


def tests(*options: str) -> str | None:
    """The first test that fails, by pytest."""
    import pytest

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = pytest.main(["-x", "-q", "--no-header", *PYTEST, *options])
    lines = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return None if code == pytest.ExitCode.OK else (lines or [f"pytest ended with {code!r}"])[0]


def classes_at(module: str, line: int) -> list[str]:
    """The classes of the reference that a change there reaches: the one around it, or all."""
    import attention as reference

    every = [name for name in reference.__all__ if isinstance(getattr(reference, name), type)]
    around = [
        name
        for name in every
        if within(getattr(reference, name), line) and stem(module) in ("modules", "fused")
    ]
    return around or every


def verdicts(names: Iterable[str]) -> str | None:
    """The first class of the reference whose verdict is not that it conforms."""
    from properties.recognition.targets import find
    from properties.runs.runner import run

    for name in names:
        report = run(find(f"attention:{name}")[0], profile="quick", fail_fast=True)
        if not report.conforms:
            broken = [r.clause for r in report.results if r.status not in ("pass", "blocked")]
            return f"{name}: {', '.join(broken[:3])}"
    return None


def judged(ids: set[str]) -> str | None:
    """A fault that one of the clauses no longer fails, which is seen soonest; a budget that is next
    to unused; or a right module that it no longer passes.
    """
    return passing_fault(ids) or unseen(ids) or unused_budget(ids) or accused(ids)


def unseen(ids: set[str]) -> str | None:
    """The first of what one check alone sees that no longer is told, or of what is right by it."""
    from properties.tests.test_each_check import RIGHT, SEEN, as_it_should_be

    for one in (*SEEN, *RIGHT):
        if one.clause in ids and not as_it_should_be(one):
            return f"{one.clause} says something else of {one.target.__name__}"
    return None


def unused_budget(ids: set[str]) -> str | None:
    """The first of the clauses that sees next to nothing of its budget used, where some is."""
    from properties.tests import test_margins_of_calls as of_calls
    from properties.tests.test_margins import VISIBLE, comparing, used

    results = (used(id, family) for id, family in comparing() if id in ids)
    told = (result for id in ids.intersection(of_calls.laws()) for result in of_calls.used(id))
    for result in chain(results, told):
        if result.status != "pass" or not VISIBLE < (result.margin or 0.0) <= 1.0:
            return f"{result.clause}: {result.status}, {result.margin} of the budget used"
    return None


def passing_fault(ids: set[str]) -> str | None:
    """The first fault that no longer breaks each of the clauses that it is registered with."""
    from properties.recognition.targets import find
    from properties.tests.test_clauses import failing
    from properties.zoo.faults import faults

    for fault in faults().values():
        named = ids.intersection(fault.breaks)
        if named and (passed := named - failing(find(fault.module, fault.family)[0], *named)):
            return f"{min(passed)} passes {fault.name}"
    return None


def accused(ids: set[str]) -> str | None:
    """The first of the clauses that does not hold, or is vacuous, on a right module or function."""
    from properties.recognition.targets import find
    from properties.runs.runner import Run
    from properties.spec.clause import clauses as known
    from properties.spec.profiles import PROFILES
    from properties.tests.test_clauses import RIGHT
    from properties.tests.test_margins_of_calls import TARGETS, UNMET
    from properties.zoo.rights import rights

    chosen = [clause for id, clause in known().items() if id in ids and clause.level != "MAY"]
    unreduced = replace(PROFILES["quick"], reduction=0)
    square = rights()["built-by-a-factory-from-a-config"].target  # d_in is d_out
    held = [clause for clause in chosen if clause.half == "right" and clause.id not in UNMET]
    asked = [(module, chosen, family) for family, module in RIGHT.items()]
    asked += [(square, chosen, "")]
    # What lets bad input through is asked on valid input alone.
    asked += [(target, held, family or "") for target, family in TARGETS]
    for target, laws, family in asked:
        for result in Run(find(target, family or None)[0], laws, unreduced, 0).report().results:
            if result.status not in ("pass", "unsupported"):
                return f"{result.clause} is {result.status} on {target}, which is right"
    return None


def clauses_at(module: str, line: int) -> set[str]:
    """The clause whose check is there; for a helper all those of its file, and of the files using it."""
    from properties.spec.clause import clauses as known

    own = {id: check for id, check in checks().items() if file_of(check) == stem(module)}
    around = {id for id, check in own.items() if within(check, line)}
    return around or set(own) | clauses_using(module) or set(known())


def clauses_using(module: str) -> set[str]:
    """The clauses of the files that import this one; all of them for what all of them use."""
    from properties.spec.clause import clauses as known

    name = stem(module)
    using = {
        id
        for id, check in checks().items()
        if f".{name} import" in inspect.getsource(inspect.getmodule(check))
    }
    return set(known()) if "truth/bounds" in module else using


def checks() -> dict[str, Callable]:
    """The check of each clause by id."""
    from properties.spec.clause import clauses as known

    return {id: inspect.unwrap(clause.check) for id, clause in known().items()}


def within(thing: Callable | type, line: int) -> bool:
    """Whether the line is one of the definition of a function or class, its decorators included."""
    source, start = inspect.getsourcelines(thing)
    return start <= line < start + len(source)


def file_of(check: Callable) -> str:
    """The name of the file that a check is written in."""
    return stem(check.__code__.co_filename)


def stem(path: str) -> str:
    """The name of a module's file without its ending."""
    return path.rpartition("/")[2].removesuffix(".py")
