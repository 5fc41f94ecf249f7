"""A copy of the checkout, the mutants of one part of it, and a process for each of them.

The results are kept in a cosmic-ray session, one SQLite file for each state of the sources, so a run
that was interrupted goes on where it was.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from properties.tests.mutation.judges import Judge
from properties.tests.mutation.operators import Provider

CHECKOUT = Path(__file__).resolve().parents[3]
MUTATED = ("attention", "properties")
COPIED = (*MUTATED, "conftest.py", "pyproject.toml", "SPEC.md")

cosmic_ray.plugins.OPERATOR_PROVIDERS["law"] = Provider()


@dataclass(frozen=True)
class Mutant:
    """What was changed where, in words that stay the same when lines move."""

    module: str
    function: str
    before: str
    after: str


@contextmanager
def copy_of_checkout(folder: Path) -> Iterator[Path]:
    """A copy that may be mutated; the working directory, as mutants have paths relative to it."""
    copy, here = folder / "copy", Path.cwd()
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in COPIED:
        if (CHECKOUT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(CHECKOUT / name, copy / name)
    os.chdir(copy)
    try:
        yield copy
    finally:
        os.chdir(here)


def digest() -> str:
    """Of every source that a result depends on."""
    sources = sorted(
        path
        for name in (*COPIED, "mutation")
        for path in ((CHECKOUT / name).rglob("*.py") if (CHECKOUT / name).is_dir() else [])
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


@contextmanager
def session(file: Path, modules: list[Path], operators: str) -> Iterator[WorkDB]:
    """The mutants of these modules by the operators whose names match, and what is known of them."""
    with use_db(file) as db:
        if not db.num_work_items:
            init(modules, db, {})
            unwanted = [item for item in db.work_items if not wanted(item.mutations[0], operators)]
            db.set_multiple_results(
                [item.job_id for item in unwanted], WorkResult(WorkerOutcome.SKIPPED)
            )
        yield db


def wanted(mutation: MutationSpec, operators: str) -> bool:
    """Whether the operator is asked for."""
    return re.fullmatch(operators, mutation.operator_name) is not None


def pending(db: WorkDB, sample: int | None) -> list[WorkItem]:
    """The mutants without a result in the order of the sources, or as many of them, spread evenly."""
    items = sorted(
        db.pending_work_items,
        key=lambda i: (str(i.mutations[0].module_path), i.mutations[0].start_pos, i.job_id),
    )
    if sample is None or sample >= len(items):
        return items
    return [items[number * len(items) // sample] for number in range(sample)]


def tried(item: WorkItem, judge: Judge, limit: float) -> WorkResult:
    """Mutate the copy, judge it in a process of its own, and put it right again."""
    m = item.mutations[0]
    operator = cosmic_ray.plugins.get_operator(m.operator_name)(**m.operator_args)
    with use_mutation(m.module_path, operator, m.occurrence) as (before, after):
        if after is None or same_program(before, after):
            return WorkResult(WorkerOutcome.NO_TEST)
        red = why_red(judge, str(m.module_path), m.start_pos[0], limit)
    outcome = TestOutcome.SURVIVED if red is None else TestOutcome.KILLED
    diff = "\n".join(
        difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    )
    return WorkResult(WorkerOutcome.NORMAL, red, outcome, diff)


def same_program(before: str, after: str) -> bool:
    """Whether only annotations or spaces differ, which change nothing at run time."""
    try:
        return without_annotations(before) == without_annotations(after)
    except SyntaxError:
        return False


def without_annotations(source: str) -> str:
    """The program, its annotations taken out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def why_red(judge: Judge, module: str, line: int, limit: float) -> str | None:
    """What turned red within so many seconds; None if nothing did."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=in_child, args=(judge, module, line, theirs))
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(limit) else ("red", f"no answer in {limit:.0f} s")
    except EOFError:
        answer = ("red", "the process died")
    end(process)
    kind, text = answer
    if kind == "ours":
        raise RuntimeError(text)
    return text if kind == "red" else None


def in_child(judge: Judge, module: str, line: int, wire: Connection) -> None:
    """Judge, importing from the copy; what a mutant raises on its way is red as well."""
    os.setsid()
    copy = os.getcwd()
    sys.dont_write_bytecode = True
    sys.path.insert(0, copy)
    os.environ |= {"PYTHONPATH": copy, "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [name for name in sys.modules if name.partition(".")[0] in MUTATED]:
        del sys.modules[name]  # this file's own package, which is to be that of the copy
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        found = judge(module, line)
    except (
        BaseException
    ) as error:  # whatever it is, it is the mutant's: the unmutated copy is green
        wire.send(("red", f"{type(error).__name__}: {error}"[:200]))
    else:
        strangers = [
            name
            for name in MUTATED
            if name in sys.modules and not str(sys.modules[name].__file__).startswith(copy)
        ]
        if strangers:
            wire.send(("ours", f"{strangers} was not imported from {copy}"))
        else:
            wire.send(("green", None) if found is None else ("red", found))
    wire.close()
    os._exit(0)


def end(process: multiprocessing.process.BaseProcess) -> None:
    """The process and what it started."""
    process.join(1.0)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def described(item: WorkItem, diff: str) -> Mutant:
    """The mutant in words."""
    m = item.mutations[0]
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Mutant(str(m.module_path), m.definition_name or "", before, after)


def timed(function: Callable[[], str | None]) -> tuple[str | None, float]:
    """The result and the seconds it took."""
    start = time.monotonic()
    return function(), time.monotonic() - start
