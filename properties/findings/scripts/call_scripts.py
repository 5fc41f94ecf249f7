"""Scripts of what calls show to be wrong: the calls alone, after those before them, after everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.call_tape import Asked, CallTape, listened
from properties.findings.scripts import text
from properties.findings.scripts.call_findings import CallFinding, backward, findings
from properties.findings.scripts.call_places import place
from properties.findings.scripts.call_source import CallScript, Told, manner_of
from properties.spec.clause import Clause
from properties.spec.clauses.call_errors import Unrefused
from properties.truth.oracle import split

REFUSED = "raise AssertionError(f'expected an answer to a valid call, got {error!r}') from error"


def call_scripts(clause: Clause, case: Case) -> Iterator[CallScript]:
    """Scripts that may show what the clause's check has seen in calls, the best first."""
    if case.call is None or manner_of(case.subject) is None:
        return
    if clause.area == "error":
        yield from to_be_refused(clause, case)
        return
    tape = listened(clause, case)
    if not tape.calls:
        return
    for finding in findings(clause, tape):
        yield from replays(finding, tape, case)


def replays(finding: CallFinding, tape: CallTape, case: Case) -> Iterator[CallScript]:
    """Scripts of a finding, the shortest first."""
    until = tape.calls[: tape.calls.index(finding.calls[-1]) + 1]
    modules = {id(call.module) for call in finding.calls}
    own = [call for call in until if id(call.module) in modules]
    for calls, apart in ((finding.calls, False), (own, True), (until, True)):
        script = CallScript(case.subject, tape=tape, apart=apart)
        replayed(script, calls, finding)
        yield script


def replayed(script: CallScript, calls: list[Asked], finding: CallFinding) -> None:
    """The calls written down, and what is wrong at the end."""
    wanted: list[Told] = []
    for call in calls:
        if finding.says is None and call is calls[-1]:
            refused(script, call)
            return
        told = script.ask(call, attempt=call.error is not None)
        wanted += [told] if call in finding.calls else []
    assert finding.says is not None
    finding.says(script, wanted)


def refused(script: CallScript, call: Asked) -> None:
    """A call that is to be answered."""
    _, made = attempted(script, call)
    script.lines += [
        "try:",
        *made,
        "except (Exception, SystemExit) as error:",
        f"    {REFUSED}",
    ]


def to_be_refused(clause: Clause, case: Case) -> Iterator[CallScript]:
    """A call that no reading makes right is answered, or one that has readings by none of them."""
    tape = listened(clause, case)
    failure = tape.failure
    if not tape.calls or not isinstance(failure, Violation):
        return
    script = CallScript(case.subject, tape=tape)
    told, made = attempted(script, tape.calls[-1])
    raised = ["except Exception as error:", '    print(f"refused: {error!r}")']
    expected = f"expected {failure.expected}, got an answer"
    if isinstance(failure, Unrefused):
        made += ["    answer = " + told.output + place(script, told, "output")]
        script.lines += ["answer = None", "try:", *made, *raised]
        script.lines += one_of(failure.rights, told.call.question)
    elif failure.expected.endswith(" refused"):
        raised += ["else:", f"    raise AssertionError({expected!r})"]
        script.lines += ["try:", *made, *raised]
    else:
        return
    yield script


def one_of(rights: Sequence[tuple[Array, Array]], asked: Question) -> list[str]:
    """The lines that hold an answer against those that would be right."""
    lines = ["if answer is not None:  # refused would be right, too", "    rights = ["]
    for right, allowed in rights:
        if asked.function:
            right, allowed = (split(part, asked.shape[1]) for part in (right, allowed))
        lines.append(f"        ({text.tensor(right)}, {text.slack(allowed)}),")
    return [*lines, "    ]", "    near_one(answer, rights)"]


def attempted(script: CallScript, call: Asked) -> tuple[Told, list[str]]:
    """A call, and its lines that stand under a `try`; what goes before them is written."""
    start = len(script.lines)
    told = script.ask(call)
    if call.upstream is not None:
        script.lines += backward(call, told.output + script.turned)
    first = next(n for n in range(start, len(script.lines)) if told.output in script.lines[n])
    first -= script.lines[first - 1].startswith("with ")
    made = [f"    {line}" for line in script.lines[first:]]
    del script.lines[first:]
    return told, made
