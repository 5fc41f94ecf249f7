"""Property-based verification of attention implementations.

    from properties import check
    report = check(MyAttention)

Importing this package is cheap: torch and Hypothesis are loaded by the first check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from hypothesis.database import ExampleDatabase

    from properties.compare.outcome import Comparison
    from properties.judging.judgement import Judgement
    from properties.judging.spec import Spec
    from properties.recognition.process.function import Process as Process
    from properties.runs.result import Report
    from properties.subjects.subject import Subject as Subject

DISTRIBUTION = "attention-properties"  # which of the packages of this name it is

__all__ = [
    "Comparison",
    "Config",
    "Judgement",
    "Process",
    "QuestionError",
    "Report",
    "Sizes",
    "Spec",
    "Subject",
    "Weights",
    "check",
    "diff",
    "judge",
    "parametrize",
]

_HOMES = {
    "Comparison": "properties.compare.outcome",
    "Config": "properties.subjects.subject",
    "Judgement": "properties.judging.judgement",
    "Process": "properties.recognition.process.function",
    "QuestionError": "properties.basics.errors",
    "Report": "properties.runs.result",
    "Sizes": "properties.truth.parameters",
    "Spec": "properties.judging.spec",
    "Subject": "properties.subjects.subject",
    "Weights": "properties.truth.parameters",
}


def check(
    target: Any,
    family: str | None = None,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    fail_fast: bool = False,
    waivers: str | PathLike[str] | None = None,
    strict: bool = False,
    conventions: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
    database: ExampleDatabase | str | bool = True,
) -> Report:
    """Check one attention implementation against the specification.

    target: a class, a factory, a `Subject`, or a string such as "package.module:Name",
    "path/to/file.py:Name" or "path/to/notebook.ipynb:Name", a `Process` or "process:COMMAND", which is a
    program in whatever language (see docs/protocol.md); family: one of plain, self, causal,
    wrapper, multihead where it should not be found out; profile: quick, ci or thorough; only: ids
    or areas of clauses; fail_fast: stop at the first failed MUST clause; waivers: a file of failures
    that are accepted; strict: whether bad input that is not refused, and an edge of a single size,
    decide as well; conventions: those that it is held to, whatever is found, such as
    {"mask": "hide"}; given: values by name for arguments of its constructor, or settings that this
    reads, without a known meaning; database: where failing cases are kept, to be asked first the next
    time: True for the one of Hypothesis's settings, False for none, or one by name or as an object,
    see `properties.runs.memory.opened`.

    The target runs in this process. Whatever it raises is reported, SystemExit and KeyboardInterrupt
    of its own included. What ends a process (os._exit, a crash in compiled code) or hangs ends or
    hangs this one; the command line and `pytest --attention` run it in another and report that, too.

    Raises `QuestionError` where the question cannot be asked.
    """
    from properties.recognition.targets import find_one
    from properties.runs.memory import opened
    from properties.runs.result import Report
    from properties.runs.runner import run

    Report.drawn = staticmethod(_page)
    subject = find_one(target, family, conventions, given)
    ask = partial(
        run,
        subject,
        profile=profile,
        seed=seed,
        only=only if only is None else list(only),
        fail_fast=fail_fast,
        waivers=waivers,
        strict=strict,
    )
    return opened(database).ask(subject.name, lambda entries: ask(remembered=entries))


def parametrize(
    target: Any,
    family: str | None = None,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    waivers: str | PathLike[str] | None = None,
    old: Any = None,
    strict: bool = False,
    conventions: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
    database: ExampleDatabase | str | bool = True,
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for each clause that the spec asks of the target.

        @properties.parametrize(MyAttention)
        def test_attention(check):
            check()

    The arguments are those of `check`; pytest's --hypothesis-seed goes before seed. old: an
    implementation that the target replaces; one more test, "diff", fails if more than rounding
    changed. The target runs in pytest's process, with what `check` says of that.
    """
    from properties.testing import parametrized

    return parametrized(
        target, family, profile, seed, only, waivers, old, strict, conventions, given, database
    )


def diff(
    old: Any,
    new: Any,
    mapping: Mapping[str, str] | None = None,
    family: str | None = None,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    conventions: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
    database: ExampleDatabase | str | bool = True,
) -> Comparison:
    """What a refactor changed: old against new, on the same weights and the same inputs.

    old, new, family, profile, seed: as for `check`; mapping: old names of parameters or parts to
    new ones, where names are not recognised or are meant to change; only: the clauses asked of both;
    conventions: those that both are held to; given: as for `check`, of either; database: as
    for `check`.

    Raises `QuestionError` where the two cannot be compared.
    """
    from properties.basics.interrupts import watched
    from properties.compare.compare import compare
    from properties.compare.remembering import remembering
    from properties.runs.memory import opened

    ask = partial(
        compare,
        old,
        new,
        mapping=mapping,
        family=family,
        profile=profile,
        seed=seed,
        only=only,
        conventions=conventions,
        given=given,
    )
    with watched():
        return remembering(opened(database), old, new, lambda entries: ask(remembered=entries))


def judge(candidate: str, spec: Spec, seed: int | None = None, timeout: float = 60.0) -> Judgement:
    """Judge one function that nobody has read, such as a generated kernel, by what it claims.

    candidate: "path/to/file.py:NAME", or source text, of which the last public function is taken; spec:
    what it claims, a `Spec`; seed: draws the same questions again, and is secret unless given; timeout:
    seconds that one call may take.

    What will be asked, what is right and how near is near are settled before the function is loaded, and
    stay in this process; the function runs in another. docs/judging.md says what that cannot guard against.

    Raises `QuestionError` where the candidate cannot be found.
    """
    from properties.judging.judge import judge_all

    return judge_all([candidate], spec, seed, timeout)[0]


def _page(report: Report) -> str:
    """What a notebook's cell shows of a report."""
    from properties.reports.page import in_a_frame

    return in_a_frame(report)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'properties' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
